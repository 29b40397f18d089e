//! `/v1/event/list`.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::openapi::DOCUMENT;
use crate::support::{IP, NAME, SUMMER, Server, body_of, on_both_stores};

on_both_stores!(
    events_are_the_log_oldest_first,
    a_reader_goes_on_where_it_was,
    events_are_filtered,
    what_cannot_be_asked_for_is_refused,
    a_reader_waits_for_the_next_event,
    a_wait_ends_without_an_event,
    those_who_send_events_hear_of_each_at_once,
);

fn sequences(page: &Value) -> Vec<i64> {
    let events = page["events"].as_array().unwrap().iter();
    events
        .map(|event| event["sequence"].as_i64().unwrap())
        .collect()
}

async fn events_are_the_log_oldest_first(server: &Server) {
    let api = server.account();
    let secret = "nobody else may read this";
    let campaign = server.published(&api).await;
    server.rerun(&api, &campaign, SUMMER).await;
    let group = api.group("Next", SUMMER).await;
    api.initiate(&campaign, &group).await.ok();
    let reject = json!({
        "campaign_id": campaign, "decision": "reject", "reason": secret, "all": true,
    });
    api.post("campaign/messages/review", reject).await;
    let cancel = json!({ "campaign_id": campaign, "reason": secret });
    api.ok("campaign/rerun/cancel", cancel).await;
    let update = json!({ "campaign_id": campaign, "brief": secret });
    api.ok("campaign/update", update).await;
    let page = api.ok("event/list", json!({})).await;
    let events = body_of(&page, "events");
    let mut entries = api.audit().await;
    entries.reverse();
    assert!(entries.len() > 15, "{}", entries.len());
    assert_eq!(events.len(), entries.len());
    for (number, (event, entry)) in (1..).zip(events.iter().zip(&entries)) {
        assert_eq!(event["sequence"], number);
        assert_eq!(event["id"], entry["id"]);
        assert_eq!(event["type"], entry["action"]);
        assert_eq!(event["timestamp"], entry["created_at"]);
        assert_eq!(event["account_id"], json!(api.account));
        let data = &event["data"];
        if entry["campaign_id"].is_string() {
            assert_eq!(data["campaign_id"], entry["campaign_id"]);
        }
        if entry["user_id"].is_null() {
            assert_eq!(data["actor"], Value::Null);
        } else {
            let actor = json!({ "user_id": api.user, "user_name": NAME, "role_code": "ADMIN" });
            assert_eq!(data["actor"], actor);
        }
        DOCUMENT.holds_event(event);
    }
    let text = page.to_string();
    assert!(!text.contains(IP) && !text.contains(secret), "{text}");
    let head = json!(entries.len());
    assert_eq!(
        (&page["next_sequence"], &page["head_sequence"]),
        (&head, &head)
    );
}

async fn a_reader_goes_on_where_it_was(server: &Server) {
    let api = server.account();
    let nothing = api.ok("event/list", json!({})).await;
    let empty = json!({ "events": [], "next_sequence": 0, "head_sequence": 0 });
    assert_eq!(nothing, empty);
    server.published(&api).await;
    let all = sequences(&api.ok("event/list", json!({})).await);
    let (mut read, mut after) = (Vec::new(), json!(0));
    loop {
        let body = json!({ "after_sequence": after, "limit": 2 });
        let page = api.ok("event/list", body).await;
        assert_eq!(page["head_sequence"], json!(all.len()));
        if page["events"] == json!([]) {
            assert_eq!(page["next_sequence"], after);
            break;
        }
        read.extend(sequences(&page));
        let next = page["next_sequence"].clone();
        assert!(next.as_i64() > after.as_i64(), "{next} after {after}");
        after = next;
    }
    assert_eq!(read, all);
    api.empty_group("New").await;
    let next = api
        .ok("event/list", json!({ "after_sequence": after }))
        .await;
    assert_eq!(next["events"][0]["type"], "customer_group.created");
    assert_eq!(sequences(&next), [i64::try_from(all.len()).unwrap() + 1]);
    let beyond = api
        .ok("event/list", json!({ "after_sequence": 1_000 }))
        .await;
    assert_eq!(
        (&beyond["events"], &beyond["next_sequence"]),
        (&json!([]), &json!(1_000))
    );
}

async fn events_are_filtered(server: &Server) {
    let api = server.account();
    let first = server.published(&api).await;
    let second = server.published(&api).await;
    let types = async |filter: Value| -> Vec<(Value, String)> {
        let page = api.ok("event/list", filter).await;
        assert_eq!(
            page["next_sequence"], page["head_sequence"],
            "past what is left out"
        );
        let events = body_of(&page, "events");
        let events = events.iter().map(|event| {
            let kind = event["type"].as_str().unwrap().to_owned();
            (event["data"]["campaign_id"].clone(), kind)
        });
        events.collect()
    };
    let published = |campaign: &str| (json!(campaign), "campaign.published".to_owned());
    let both = json!({ "types": ["campaign.published", "rerun.initiated"] });
    assert_eq!(types(both).await, [published(&first), published(&second)]);
    let twice = json!({ "types": ["campaign.published", "campaign.published"] });
    assert_eq!(types(twice).await, [published(&first), published(&second)]);
    let one = json!({ "types": ["campaign.published"], "campaign_id": second });
    assert_eq!(types(one).await, [published(&second)]);
    assert_eq!(types(json!({ "campaign_id": first })).await.len(), 5);
    assert_eq!(types(json!({ "types": ["run.failed"] })).await, []);
}

async fn what_cannot_be_asked_for_is_refused(server: &Server) {
    let api = server.account();
    for (body, said) in [
        (json!({ "after_sequence": -1 }), "`after_sequence`"),
        (json!({ "types": [] }), "`types`"),
        (json!({ "types": ["campaign.exploded"] }), "`types`"),
        (json!({ "limit": 0 }), "`limit`"),
        (json!({ "limit": 10_001 }), "`limit`"),
        (json!({ "wait_seconds": 21 }), "`wait_seconds`"),
        (json!({ "wait_seconds": -1 }), "`wait_seconds`"),
        (json!({ "wait_seconds": 1e300 }), "`wait_seconds`"),
    ] {
        api.post("event/list", body).await.is_invalid(said);
    }
}

async fn a_reader_waits_for_the_next_event(server: &Server) {
    let (api, other) = (server.account(), server.account());
    let group = api.empty_group("One").await;
    let started = Instant::now();
    let wait = async |body: Value| {
        let page = api.ok("event/list", body).await;
        (sequences(&page), page["next_sequence"].clone())
    };
    let any = json!({ "after_sequence": 1, "wait_seconds": 20 });
    let imports = json!({
        "after_sequence": 1, "wait_seconds": 20, "types": ["customer_group.imported"],
    });
    let write = async {
        other.empty_group("Theirs").await;
        api.empty_group("Two").await;
        api.import(&group, SUMMER).await.ok();
    };
    let (any, imported, ()) = tokio::join!(wait(any), wait(imports), write);
    assert!(any.0.starts_with(&[2]), "{any:?}");
    assert_eq!(imported, (vec![3], json!(3)));
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

async fn a_wait_ends_without_an_event(server: &Server) {
    let api = server.account();
    let started = Instant::now();
    let wait = json!({ "wait_seconds": 1 });
    let page = api.ok("event/list", wait).await;
    assert_eq!(
        page,
        json!({ "events": [], "next_sequence": 0, "head_sequence": 0 })
    );
    assert!(started.elapsed() >= Duration::from_secs(1));
    // A server that stops has nobody wait.
    server.readiness.set(false);
    let started = Instant::now();
    api.ok("event/list", json!({ "wait_seconds": 20 })).await;
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// A dispatcher in the process need not look again and again. What leaves no event wakes nobody.
async fn those_who_send_events_hear_of_each_at_once(server: &Server) {
    let api = server.account();
    let heard = || {
        let told = |news: &Notify| news.notified().now_or_never().is_some();
        let (dispatcher, publisher) = (&server.news.dispatcher, &server.news.publisher);
        (told(dispatcher), told(publisher))
    };
    assert_eq!(heard(), (false, false));
    let group = api.group("Heard", SUMMER).await;
    assert_eq!(heard(), (true, true));
    api.ok("event/list", json!({})).await;
    let rename = json!({ "customer_group_id": group, "name": "Heard" });
    api.ok("customer-group/update", rename).await;
    assert_eq!(heard(), (false, false), "the name is the same");
    let campaign = api.launched().await;
    assert_eq!(heard(), (true, true));
    server.generate(&api, &campaign).await;
    assert_eq!(heard(), (true, true), "the worker ends the run");
}
