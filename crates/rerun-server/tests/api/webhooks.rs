//! `/v1/webhook/…`.

use std::time::Duration;

use rerun_core::delivery::{Outcome, Response};
use serde_json::{Value, json};

use crate::support::refusal::WEBHOOK_NOT_FOUND;
use crate::support::{Api, SUMMER, Server, body_of, on_both_stores};

on_both_stores!(
    a_webhook_from_creation_to_deletion,
    what_cannot_be_a_webhook_is_refused,
    a_webhook_that_is_not_there,
    deliveries_are_listed_with_their_attempts,
    events_are_sent_again,
    no_event_is_sent_with_what_is_private,
    a_secret_is_shown_once,
    an_account_has_twenty,
);

const URL: &str = "https://receiver.example/hook?token=of-the-receiver";

async fn create(api: &Api, more: Value) -> Value {
    let mut body = json!({ "url": URL });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    api.ok("webhook/create", body).await
}

fn id_of(webhook: &Value) -> &str {
    webhook["id"].as_str().unwrap()
}

/// Sends all that is due, as a sender does, to a receiver that responds with this status; returns
/// what was sent.
async fn send(server: &Server, status: u16) -> Vec<Value> {
    let deliveries = &server.engine.deliveries;
    while deliveries.fan_out().await.unwrap().more {}
    let response = Ok(Response {
        status,
        retry_after: None,
    });
    let outcome = Outcome {
        response,
        duration: Duration::from_millis(7),
    };
    let mut sent = Vec::new();
    loop {
        let leased = deliveries.lease(50).await.unwrap();
        if leased.parcels.is_empty() {
            return sent;
        }
        for parcel in leased.parcels {
            deliveries.settle(&parcel, &outcome).await.unwrap();
            sent.push(json!(parcel.event));
        }
    }
}

async fn a_webhook_from_creation_to_deletion(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let types = json!(["run.failed", "campaign.published", "run.failed"]);
    let made = create(
        &api,
        json!({ "types": types, "campaign_id": campaign, "description": "ours", "ordered": true }),
    )
    .await;
    let mut expected = json!({
        "id": made["id"], "url": URL, "types": ["campaign.published", "run.failed"],
        "campaign_id": campaign, "description": "ours", "ordered": true, "status": "enabled",
        "disabled_reason": null, "failing_since": null, "pending": 0,
        "delivered_sequence": made["delivered_sequence"],
        "created_at": made["created_at"], "updated_at": made["created_at"],
        "secret": made["secret"],
    });
    assert_eq!(made, expected);
    expected.as_object_mut().unwrap().remove("secret");
    let this = json!({ "webhook_id": made["id"] });
    assert_eq!(api.ok("webhook/get", this.clone()).await, expected);
    let other = create(&api, json!({})).await;
    let listed = api.ok("webhook/list", json!({})).await;
    assert_eq!(body_of(&listed, "webhooks").len(), 2);
    assert_eq!(listed["webhooks"][0]["id"], other["id"], "newest first");
    assert_eq!(listed["webhooks"][1], expected);
    let changed = json!({
        "webhook_id": made["id"], "types": [], "campaign_id": "", "description": "",
        "status": "disabled", "url": "https://elsewhere.example",
    });
    let changed = api.ok("webhook/update", changed).await;
    for (field, value) in [
        ("types", json!(null)),
        ("campaign_id", json!(null)),
        ("description", json!(null)),
        ("ordered", json!(true)),
        ("status", json!("disabled")),
        ("disabled_reason", json!("requested")),
        ("url", json!("https://elsewhere.example")),
    ] {
        assert_eq!(changed[field], value, "{field}");
    }
    let replay = json!({ "webhook_id": made["id"], "failed": true });
    let refused = api.post("webhook/replay", replay).await;
    refused.conflicts("cannot replay events to a webhook that is `disabled`: enable it first");
    let enabled = json!({ "webhook_id": made["id"], "status": "enabled", "after_sequence": 1 });
    let enabled = api.ok("webhook/update", enabled).await;
    assert_eq!(
        (&enabled["status"], &enabled["delivered_sequence"]),
        (&json!("enabled"), &json!(1))
    );
    let tested = api.ok("webhook/test", this.clone()).await;
    let expected = json!({ "delivered": true, "status": 204, "duration_ms": 5, "error": null });
    assert_eq!(tested, expected);
    let deleted = api.ok("webhook/delete", this.clone()).await;
    assert_eq!(deleted["id"], made["id"]);
    api.refused("webhook/get", this, &WEBHOOK_NOT_FOUND).await;
    let listed = api.ok("webhook/list", json!({})).await;
    assert_eq!(body_of(&listed, "webhooks").len(), 1);
    let actions: Vec<Value> = api
        .audit()
        .await
        .iter()
        .map(|e| e["action"].clone())
        .collect();
    let expected = [
        "webhook.deleted",
        "webhook.updated",
        "webhook.updated",
        "webhook.created",
        "webhook.created",
    ];
    assert_eq!(actions[..5], expected);
}

async fn what_cannot_be_a_webhook_is_refused(server: &Server) {
    let api = server.account();
    let made = create(&api, json!({})).await;
    let long = format!("https://long.example/{}", "x".repeat(2_000));
    let of = |field: &str, value: Value| {
        let mut body = json!({ "url": URL, "webhook_id": made["id"], "status": "enabled" });
        body[field] = value;
        body
    };
    api.unchanged(async || {
        for (field, value, said) in [
            ("url", json!("http://plain.example"), "`url`"),
            ("url", json!(long), "2000 bytes"),
            ("url", json!("https://a.example/\n"), "`url`"),
            ("types", json!(["campaign.exploded"]), "`types`"),
            ("types", json!("run.failed"), "`types`"),
            ("description", json!("x".repeat(1_001)), "1000 characters"),
            ("description", json!("\0"), "NUL"),
            ("after_sequence", json!(-1), "`after_sequence`"),
            ("ordered", json!("yes"), "`ordered`"),
        ] {
            for path in ["webhook/create", "webhook/update"] {
                let refused = api.post(path, of(field, value.clone())).await;
                refused.is_invalid(said);
            }
        }
        let none = json!({ "url": URL, "types": [] });
        api.post("webhook/create", none)
            .await
            .is_invalid("at least one");
        let nothing = json!({ "webhook_id": made["id"] });
        let refused = api.post("webhook/update", nothing.clone()).await;
        refused.is_invalid("nothing to change");
        let mut ahead = nothing;
        ahead["after_sequence"] = json!(3);
        let refused = api.post("webhook/update", ahead.clone()).await;
        refused.is_invalid("`after_sequence`");
        ahead["status"] = json!("asleep");
        let refused = api.post("webhook/update", ahead.clone()).await;
        refused.is_invalid("`status`");
        ahead["keep_previous_seconds"] = json!(604_801);
        let refused = api.post("webhook/rotate-secret", ahead.clone()).await;
        refused.is_invalid("`keep_previous_seconds`");
        ahead["state"] = json!("lost");
        let refused = api.post("webhook/deliveries", ahead.clone()).await;
        refused.is_invalid("`state`");
        for (from, to, failed, said) in [
            (3, 2, false, "`to_sequence`"),
            (-1, 2, false, "`from_sequence`"),
            (1, 2, true, "not both"),
        ] {
            let body = json!({ "webhook_id": made["id"], "from_sequence": from,
                "to_sequence": to, "failed": failed });
            api.post("webhook/replay", body).await.is_invalid(said);
        }
    })
    .await;
}

async fn a_webhook_that_is_not_there(server: &Server) {
    let (api, other) = (server.account(), server.account());
    let theirs = create(&other, json!({})).await;
    api.unchanged(async || {
        for id in [
            id_of(&theirs),
            "0193ed20-7b3c-7000-8000-0000000000ff",
            "x",
            "a\0b",
            " ",
        ] {
            for path in [
                "get",
                "update",
                "delete",
                "rotate-secret",
                "test",
                "deliveries",
                "replay",
            ] {
                let body = json!({ "webhook_id": id, "ordered": true, "from_sequence": 1,
                    "to_sequence": 1, "url": "http://not.allowed" });
                let path = format!("webhook/{path}");
                api.refused(&path, body, &WEBHOOK_NOT_FOUND).await;
            }
        }
    })
    .await;
}

async fn deliveries_are_listed_with_their_attempts(server: &Server) {
    let api = server.account();
    let made = create(&api, json!({})).await;
    let this = json!({ "webhook_id": made["id"] });
    for name in ["one", "two", "three"] {
        api.empty_group(name).await;
    }
    send(server, 503).await;
    let listed = api.ok("webhook/deliveries", this.clone()).await;
    let events = api.ok("event/list", json!({ "after_sequence": 1 })).await;
    let mut events = body_of(&events, "events").clone();
    events.reverse();
    let deliveries = body_of(&listed, "deliveries");
    assert_eq!(deliveries.len(), 3);
    for (delivery, event) in deliveries.iter().zip(&events) {
        assert_eq!(delivery["event_id"], event["id"]);
        assert_eq!(delivery["type"], "customer_group.created");
        assert_eq!(delivery["sequence"], event["sequence"]);
        assert_eq!(delivery["state"], "pending");
        assert!(delivery["next_attempt_at"].is_string());
        // The first retry follows at once.
        let attempts = delivery["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 2);
        for attempt in attempts {
            assert_eq!(attempt["status"], 503);
            assert_eq!(
                (&attempt["duration_ms"], &attempt["error"]),
                (&json!(7), &json!(null))
            );
        }
    }
    let webhook = api.ok("webhook/get", this.clone()).await;
    assert_eq!(
        (&webhook["pending"], &webhook["delivered_sequence"]),
        (&json!(3), &json!(1))
    );
    assert!(webhook["failing_since"].is_string());
    server.clock.advance(Duration::from_secs(6));
    send(server, 200).await;
    let webhook = api.ok("webhook/get", this.clone()).await;
    assert_eq!(
        (&webhook["pending"], &webhook["delivered_sequence"]),
        (&json!(0), &json!(4))
    );
    assert_eq!(webhook["failing_since"], json!(null));
    let mut page = this.clone();
    page["state"] = json!("delivered");
    page["limit"] = json!(2);
    let first = api.ok("webhook/deliveries", page.clone()).await;
    page["cursor"] = first["next_cursor"].clone();
    let second = api.ok("webhook/deliveries", page.clone()).await;
    assert_eq!(body_of(&first, "deliveries").len(), 2);
    assert_eq!(body_of(&second, "deliveries").len(), 1);
    assert_eq!(second["next_cursor"], json!(null));
    // A cursor is for its own list.
    page["state"] = json!("failed");
    api.post("webhook/deliveries", page)
        .await
        .is_invalid("cursor");
    // A receiver that is gone.
    api.empty_group("four").await;
    send(server, 410).await;
    let webhook = api.ok("webhook/get", this.clone()).await;
    assert_eq!(
        (&webhook["status"], &webhook["disabled_reason"]),
        (&json!("disabled"), &json!("gone"))
    );
    let mut pending = this;
    pending["state"] = json!("pending");
    let pending = api.ok("webhook/deliveries", pending).await;
    assert_eq!(pending["deliveries"][0]["next_attempt_at"], json!(null));
    let entry = &api.audit().await[0];
    assert_eq!(
        (&entry["action"], &entry["user_id"]),
        (&json!("webhook.disabled"), &json!(null))
    );
}

async fn events_are_sent_again(server: &Server) {
    let api = server.account();
    let made = create(&api, json!({})).await;
    for name in ["one", "two"] {
        api.empty_group(name).await;
    }
    let first = send(server, 204).await;
    let range = json!({ "webhook_id": made["id"], "from_sequence": 2, "to_sequence": 99 });
    let queued = api.ok("webhook/replay", range).await;
    assert_eq!(queued, json!({ "queued": 2 }));
    assert_eq!(send(server, 204).await, first);
    let failed = json!({ "webhook_id": made["id"], "failed": true });
    assert_eq!(
        api.ok("webhook/replay", failed).await,
        json!({ "queued": 0 })
    );
}

async fn no_event_is_sent_with_what_is_private(server: &Server) {
    let api = server.account();
    create(&api, json!({ "after_sequence": 0 })).await;
    let secret = "nobody else may read this";
    let campaign = server.published(&api).await;
    server.rerun(&api, &campaign, SUMMER).await;
    let update = json!({ "campaign_id": campaign, "brief": secret });
    api.ok("campaign/update", update).await;
    let other = create(&api, json!({ "description": secret })).await;
    let rotate = json!({ "webhook_id": other["id"] });
    let rotated = api.ok("webhook/rotate-secret", rotate).await;
    let sent = send(server, 204).await;
    let events = api.ok("event/list", json!({})).await;
    for event in &sent {
        assert!(body_of(&events, "events").contains(event), "{event}");
    }
    assert!(sent.len() > 10, "{}", sent.len());
    let text = json!(sent).to_string();
    for private in [
        secret,
        crate::support::IP,
        "of-the-receiver",
        other["secret"].as_str().unwrap(),
        rotated["secret"].as_str().unwrap(),
    ] {
        assert!(!text.contains(private), "{private}");
    }
}

/// The two responses that have a secret are the only place where it is, even when they are kept to be
/// given again.
async fn a_secret_is_shown_once(server: &Server) {
    let api = server.account();
    let made = api
        .keyed("made", "webhook/create", json!({ "url": URL }))
        .await;
    let made = made.ok();
    let this = json!({ "webhook_id": made["id"] });
    let path = "webhook/rotate-secret";
    let rotated = api.keyed("rotated", path, this.clone()).await.ok();
    assert_eq!(rotated["webhook_id"], made["id"]);
    assert_ne!(rotated["secret"], made["secret"]);
    assert!(rotated["previous_secret_until"].is_string());
    let at_once = json!({ "webhook_id": made["id"], "keep_previous_seconds": 0 });
    let at_once = api.ok("webhook/rotate-secret", at_once).await;
    assert_eq!(at_once["previous_secret_until"], json!(null));
    api.empty_group("one").await;
    send(server, 503).await;
    let secrets = [&made, &rotated, &at_once].map(|shown| {
        let secret = shown["secret"].as_str().unwrap();
        secret.strip_prefix("whsec_").unwrap()
    });
    let range = json!({ "webhook_id": made["id"], "from_sequence": 1, "to_sequence": 9 });
    for (path, body) in [
        ("webhook/get", this.clone()),
        ("webhook/list", json!({})),
        ("webhook/deliveries", this.clone()),
        (
            "webhook/update",
            json!({ "webhook_id": made["id"], "ordered": true }),
        ),
        ("webhook/test", this.clone()),
        ("webhook/replay", range),
        ("audit/list", json!({})),
        ("event/list", json!({})),
        ("webhook/delete", this),
    ] {
        let text = api.ok(path, body).await.to_string();
        assert!(!text.contains("whsec_"), "{path}: {text}");
        let none = secrets.iter().all(|secret| !text.contains(secret));
        assert!(none, "{path}: {text}");
    }
    assert!(
        server.database.holds("of-the-receiver"),
        "the search finds it"
    );
    assert!(!server.database.holds("whsec_"));
    for secret in secrets {
        assert!(!server.database.holds(secret));
    }
}

async fn an_account_has_twenty(server: &Server) {
    let api = server.account();
    for _ in 0..20 {
        create(&api, json!({})).await;
    }
    api.unchanged(async || {
        let refused = api.post("webhook/create", json!({ "url": URL })).await;
        refused.is_invalid("20 webhooks");
    })
    .await;
}
