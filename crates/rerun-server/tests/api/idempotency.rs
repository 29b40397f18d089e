//! Each endpoint that writes does so once for each `idempotency-key`.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::bodies::gzip;
use crate::support::endpoints::EXPECTED;
use crate::support::refusal::IDEMPOTENCY_KEY_REUSED;
use crate::support::{Answer, Api, Raw, SPRING, SUMMER, Server, ids, on_both_stores};

on_both_stores!(
    every_endpoint_that_writes_takes_a_key,
    a_review_repeated_after_a_lost_answer_passes_one_stage,
    a_key_may_have_spaces,
    an_import_is_done_once_for_each_key,
    a_repeated_import_does_not_bring_back_an_old_file,
);

const UNKNOWN_ID: &str = "00000000-0000-4000-8000-000000000000";

/// Calls an endpoint many times at once with one key, then again, then with the key of another
/// request. It writes once: the first time.
async fn once(api: &Api, called: &mut BTreeSet<String>, path: &str, body: Value) -> Value {
    let entries = api.audit().await.len();
    let answers = join_all((0..16).map(|_| api.keyed(path, path, body.clone()))).await;
    let made = answers[0].ok();
    let done = answers.iter().filter(|answer| !answer.replayed()).count();
    assert_eq!(done, 1, "{path}: requests that were done");
    for answer in &answers {
        assert_eq!(answer.ok(), made, "{path}: one response");
    }
    // Neither writes an entry: archived messages are archived already, and a replay sends events
    // again without changing any of them.
    let unlogged = ["campaign/rerun/archive", "webhook/replay"].contains(&path);
    let written = usize::from(!unlogged);
    assert_eq!(api.audit().await.len(), entries + written, "{path}");
    api.unchanged(async || {
        let again = api.colleague().keyed(path, path, body.clone()).await;
        assert_eq!(
            (again.ok(), again.replayed()),
            (made.clone(), true),
            "{path}"
        );
        let mut other = body.clone();
        let field = if path == "customer/erase" {
            "customer_ref"
        } else if path.starts_with("customer/") || path == "customer-group/delete" {
            "customer_group_id"
        } else if path.starts_with("customer-group/") {
            "name"
        } else if path.starts_with("schedule/") && path != "schedule/create" {
            "schedule_id"
        } else if path == "campaign/create" {
            "customer_group_id"
        } else if path == "webhook/create" {
            "url"
        } else if path.starts_with("webhook/") {
            "webhook_id"
        } else {
            "campaign_id"
        };
        other[field] = json!(UNKNOWN_ID);
        let refused = api.keyed(path, path, other).await;
        refused.is(&IDEMPOTENCY_KEY_REUSED);
        let elsewhere = if path == "campaign/publish" {
            "campaign/launch"
        } else {
            "campaign/publish"
        };
        let body = json!({ "campaign_id": body["campaign_id"].as_str().unwrap_or(UNKNOWN_ID) });
        let refused = api.keyed(path, elsewhere, body).await;
        refused.is(&IDEMPOTENCY_KEY_REUSED);
    })
    .await;
    called.insert(format!("/v1/{path}"));
    made
}

#[expect(clippy::too_many_lines, reason = "a story")]
async fn every_endpoint_that_writes_takes_a_key(server: &Server) {
    let api = server.account();
    let mut called = BTreeSet::new();
    let mut call = async |path: &str, body: Value| once(&api, &mut called, path, body).await;
    let group = call("customer-group/create", json!({ "name": " Spring " })).await;
    let group = group["id"].as_str().unwrap();
    api.import(group, SPRING).await.ok();
    let name = json!({ "customer_group_id": group, "name": "Summer" });
    let renamed = call("customer-group/update", name).await;
    assert_eq!(
        (&renamed["id"], &renamed["name"]),
        (&json!(group), &json!("Summer"))
    );
    let new = json!({
        "name": "Hello", "customer_group_id": group, "segment_by": ["country", "tier"],
        "template": { "subject": "To {{ country }}", "body": "Dear {{ tier }} customer" },
        "approval_stages": ["Draft", "Legal"], "brief": null,
    });
    let made = call("campaign/create", new).await;
    let campaign = made["id"].as_str().unwrap();
    let this = json!({ "campaign_id": campaign });
    let other = json!({ "campaign_id": campaign, "name": "Good morning", "brief": "Be kind." });
    let updated = call("campaign/update", other).await;
    assert_eq!(updated, api.campaign(campaign).await);
    let rules = json!({ "campaign_id": campaign, "dry_run": false,
        "segment_by": [{ "field": "country", "normalise": ["casefold"] }, "tier"] });
    let segmentation = call("campaign/segmentation/update", rules).await;
    assert_eq!(segmentation["conflicts"], json!([]));
    call("campaign/launch", this.clone()).await;
    server.fail_for(&["DE"]);
    assert_eq!(server.generate(&api, campaign).await, "Generation failed");
    server.fail_for(&[]);
    call("campaign/rerun/retry", this.clone()).await;
    assert_eq!(server.generate(&api, campaign).await, "Ready for review");
    let message = ids(&api.messages(campaign).await).swap_remove(0);
    let edit = json!({ "campaign_id": campaign, "message_id": message,
        "content": { "subject": "By hand", "body": "<p>Hello</p>" } });
    let edited = call("campaign/messages/edit", edit).await;
    assert_eq!(edited["content"]["subject"], "By hand");
    assert_eq!(edited, api.messages(campaign).await[0]);
    let these = json!({ "campaign_id": campaign, "message_ids": [message] });
    call("campaign/messages/regenerate", these).await;
    assert_eq!(server.generate(&api, campaign).await, "Ready for review");
    // Texts that speak of no segment can be suggested for another one.
    for message in ids(&api.messages(campaign).await) {
        let edit = json!({ "campaign_id": campaign, "message_id": message,
            "content": { "subject": "By hand", "body": "For everybody" } });
        api.ok("campaign/messages/edit", edit).await;
    }
    let approve = json!({ "campaign_id": campaign, "decision": "approve", "all": true });
    call("campaign/messages/review", approve).await;
    for message in api.messages(campaign).await {
        assert_eq!(message["approval_stage"], "Legal", "{message}");
    }
    api.approve_all(campaign).await;
    call("campaign/publish", this.clone()).await;
    let summer = api.empty_group("Summer").await;
    import_once(&api, &summer).await;
    called.insert("/v1/customer-group/import".to_owned());
    let mut call = async |path: &str, body: Value| once(&api, &mut called, path, body).await;
    let rerun = json!({ "campaign_id": campaign, "new_customer_group_id": summer });
    call("campaign/rerun/initiate", rerun).await;
    assert_eq!(server.generate(&api, campaign).await, "Ready for review");
    let messages = api.messages(campaign).await;
    let new = messages
        .iter()
        .find(|m| m["suggestion"].is_object())
        .unwrap();
    let adopt = json!({ "campaign_id": campaign, "message_id": new["id"],
        "content_id": new["content_id"] });
    let adopted = call("campaign/messages/adopt", adopt).await;
    assert_eq!(adopted["source"], "suggested");
    assert_eq!(adopted["content"]["body"], "For everybody");
    let made = call(
        "webhook/create",
        json!({ "url": "https://receiver.example" }),
    )
    .await;
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let webhook = made["id"].as_str().unwrap();
    let ordered = json!({ "webhook_id": webhook, "ordered": true });
    assert_eq!(call("webhook/update", ordered).await["ordered"], true);
    let this_webhook = json!({ "webhook_id": webhook });
    let rotated = call("webhook/rotate-secret", this_webhook.clone()).await;
    assert_ne!(rotated["secret"], made["secret"]);
    let range = json!({ "webhook_id": webhook, "from_sequence": 1, "to_sequence": 3 });
    assert_eq!(call("webhook/replay", range).await, json!({ "queued": 3 }));
    assert_eq!(call("webhook/delete", this_webhook).await["id"], made["id"]);
    let first = json!({ "campaign_id": campaign, "run_number": 1 });
    call("campaign/rerun/archive", first).await;
    call("campaign/rerun/cancel", this.clone()).await;
    let schedule = json!({
        "campaign_id": campaign, "name": "Mondays", "cron": "0 9 * * MON", "when": "always",
    });
    let schedule = call("schedule/create", schedule).await;
    let of = json!({ "schedule_id": schedule["id"] });
    let other = json!({ "schedule_id": schedule["id"], "name": "Tuesdays", "cron": "0 9 * * TUE" });
    assert_eq!(call("schedule/update", other).await["name"], "Tuesdays");
    assert_eq!(call("schedule/pause", of.clone()).await["status"], "paused");
    assert_eq!(
        call("schedule/resume", of.clone()).await["status"],
        "active"
    );
    let fired = call("schedule/trigger", of.clone()).await;
    assert_eq!(fired["outcome"], "started", "{fired}");
    assert_eq!(call("schedule/delete", of.clone()).await, of);
    api.ok("campaign/rerun/cancel", this.clone()).await;
    let deleted = call("campaign/delete", this).await;
    assert!(deleted["deleted_messages"].as_u64() > Some(0), "{deleted}");
    let these = json!({ "customer_group_id": group, "customer_refs": ["a", "nobody"] });
    let deleted = call("customer/delete", these).await;
    assert_eq!(deleted, json!({ "deleted_customers": 1, "total": 3 }));
    let erased = call("customer/erase", json!({ "customer_ref": "b" })).await;
    assert!(erased["erased_groups"].as_u64() > Some(0), "{erased}");
    let this = json!({ "customer_group_id": group });
    let deleted = call("customer-group/delete", this).await;
    assert_eq!(deleted, json!({ "deleted_customers": 2 }));

    let writing = EXPECTED.iter().filter(|expected| expected.writes);
    let writing: BTreeSet<String> = writing.map(|expected| expected.path.to_owned()).collect();
    assert_eq!(
        called, writing,
        "endpoints that write, and that were called with a key"
    );
}

async fn a_review_repeated_after_a_lost_answer_passes_one_stage(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    let stages = ["1", "2", "3", "4", "5"];
    let campaign = api.draft_with(&group, &stages).await;
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.generate(&api, &campaign).await;
    let path = "campaign/messages/review";
    let body = json!({ "campaign_id": campaign, "decision": "approve", "all": true });
    for next in &stages[1..] {
        let headers = api.headers().with("idempotency-key", *next);
        let headers = headers.with("content-length", body.to_string().len().to_string());
        let mut raw = Raw::post(server.address, &format!("/v1/{path}"), &headers);
        raw.send(body.to_string().as_bytes());
        raw.hang_up();
        // Whether the first request got through or was broken off: one stage is passed.
        let answers = join_all((0..4).map(|_| api.keyed(next, path, body.clone()))).await;
        for answer in &answers {
            assert_eq!(answer.ok(), answers[0].ok());
        }
        for message in api.messages(&campaign).await {
            assert_eq!(message["approval_stage"], *next, "{message}");
        }
    }
}

async fn a_key_may_have_spaces(server: &Server) {
    let api = server.account();
    let path = "customer-group/create";
    let body = json!({ "name": "Spring" });
    let first = api.keyed("two  words", path, body.clone()).await;
    assert!(!first.replayed());
    let again = api.keyed("two  words", path, body.clone()).await;
    assert_eq!((again.ok(), again.replayed()), (first.ok(), true));
    assert!(!api.keyed("two words", path, body).await.replayed());
}

async fn import(api: &Api, key: &str, query: &str, csv: &str) -> Answer {
    let headers = api.headers().with("content-type", "text/csv");
    let headers = headers.with("idempotency-key", key);
    let path = format!("/v1/customer-group/import?{query}");
    api.send(reqwest::Method::POST, &path, &headers, csv.to_owned())
        .await
}

/// Imports [`SUMMER`] many times at once with one key, then again, then with the key of another
/// request. It is done once: the first time.
async fn import_once(api: &Api, group: &str) {
    let query = format!("customer_group_id={group}");
    let entries = api.audit().await.len();
    let answers = join_all((0..16).map(|_| import(api, "import", &query, SUMMER))).await;
    let done = answers.iter().filter(|answer| !answer.replayed()).count();
    assert_eq!(done, 1, "imports that were done");
    for answer in &answers {
        assert_eq!(answer.ok(), answers[0].ok(), "one response");
    }
    assert_eq!(api.audit().await.len(), entries + 1);
    api.unchanged(async || {
        let stated = format!("mode=merge&{query}&ref_column=customer_ref");
        for query in [query.clone(), stated] {
            let again = import(api, "import", &query, SUMMER).await;
            assert_eq!(
                (again.ok(), again.replayed()),
                (answers[0].ok(), true),
                "{query}"
            );
        }
        let other = import(api, "import", &query, SPRING).await;
        other.is(&IDEMPOTENCY_KEY_REUSED);
        for other in ["mode=replace", "delimiter=,"] {
            let other = import(api, "import", &format!("{query}&{other}"), SUMMER).await;
            other.is(&IDEMPOTENCY_KEY_REUSED);
        }
        let other = api.keyed("import", "customer-group/create", json!({ "name": "x" }));
        other.await.is(&IDEMPOTENCY_KEY_REUSED);
    })
    .await;
}

async fn an_import_is_done_once_for_each_key(server: &Server) {
    let api = server.account();
    let group = api.empty_group("Summer").await;
    import_once(&api, &group).await;
    let query = format!("customer_group_id={group}");
    // What counts is the decoded file.
    let headers = api.headers().with("content-type", "text/csv");
    let headers = headers.with("content-encoding", "gzip");
    let headers = headers.with("idempotency-key", "import");
    let path = format!("/v1/customer-group/import?{query}");
    let zipped = gzip(SUMMER.as_bytes());
    let zipped = api.send(reqwest::Method::POST, &path, &headers, zipped);
    assert!(zipped.await.replayed());
    // Refusals are not remembered.
    let bad = import(&api, "bad", &query, "customer_ref\na\n\0\n").await;
    bad.is_invalid("NUL");
    let good = import(&api, "bad", &query, SPRING).await;
    assert!(!good.replayed());
    good.ok();
}

async fn a_repeated_import_does_not_bring_back_an_old_file(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    let query = format!("customer_group_id={group}&mode=replace");
    // It changes nothing, and is remembered all the same.
    let first = import(&api, "k", &query, SPRING).await;
    assert_eq!(
        (&first.ok()["updated"], first.replayed()),
        (&json!(0), false)
    );
    import(&api, "l", &query, SUMMER).await.ok();
    api.unchanged(async || {
        let again = import(&api, "k", &query, SPRING).await;
        assert_eq!((again.ok(), again.replayed()), (first.ok(), true));
    })
    .await;
}
