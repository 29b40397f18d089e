//! The event `campaign.rerun_suggested`.

use rerun_core::outlook::QUIET;
use rerun_generate::{Previews, Shutdown};
use serde_json::{Value, json};

use crate::support::openapi::DOCUMENT;
use crate::support::{Api, SPRING, SUMMER, Server, body_of, on_both_stores};

on_both_stores!(
    an_import_that_would_change_a_rerun_is_an_event,
    a_campaign_can_do_without_suggestions,
    previews_are_counted,
);

async fn suggestions(api: &Api) -> Vec<Value> {
    let types = json!({ "types": ["campaign.rerun_suggested"] });
    body_of(&api.ok("event/list", types).await, "events")
}

/// Has the previews made that are due when no more is imported; returns how many reruns were
/// suggested.
async fn preview(server: &Server) -> u32 {
    server.clock.advance(QUIET);
    let mut suggested = 0;
    while let Some(previewed) = server
        .engine
        .rerun_suggestions
        .preview_next()
        .await
        .unwrap()
    {
        assert_eq!((previewed.failed, previewed.refused), (0, 0));
        suggested += previewed.suggested;
    }
    suggested
}

async fn an_import_that_would_change_a_rerun_is_an_event(server: &Server) {
    let (api, other) = (server.account(), server.account());
    let campaign = server.published(&api).await;
    let group = api.campaign(&campaign).await["customer_group_id"].clone();
    let group = group.as_str().unwrap();
    assert_eq!(preview(server).await, 0);
    api.import(group, "customer_ref,country,tier\nz,IT,\n")
        .await
        .ok();
    let replaced = format!("{group}&mode=replace");
    api.import(&replaced, SUMMER).await.ok();
    assert_eq!(preview(server).await, 1, "once for both imports");
    let events = suggestions(&api).await;
    let [event] = events.as_slice() else {
        panic!("{events:?}");
    };
    let data = json!({
        "campaign_id": campaign,
        "run_number": 1,
        "customer_group_id": group,
        "segments": { "matched": 2, "new": 2, "gone": 1 },
        "customers": { "matched": 2, "new": 3, "gone": 1 },
        "actor": null,
    });
    assert_eq!(event["data"], data);
    DOCUMENT.holds_event(event);
    assert!(suggestions(&other).await.is_empty());
    let filter = json!({ "action": "campaign.rerun_suggested", "campaign_id": campaign });
    let page = api.ok("audit/list", filter).await;
    let entries = body_of(&page, "entries");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["user_id"], Value::Null);
    // What was suggested is what the preview and the rerun then do.
    let rerun = json!({ "campaign_id": campaign, "new_customer_group_id": group });
    let segments = json!({ "total": 4, "matched": 2, "new": 2 });
    let previewed = api.ok("campaign/rerun/preview", rerun.clone()).await;
    assert_eq!(previewed["segments"], segments);
    let started = api.ok("campaign/rerun/initiate", rerun).await;
    assert_eq!(started["segments"], segments);
}

async fn a_campaign_can_do_without_suggestions(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let found = api.campaign(&campaign).await;
    assert_eq!(found["suggest_reruns"], json!(true), "by default");
    let group = found["customer_group_id"].as_str().unwrap();
    let without = json!({ "campaign_id": campaign, "suggest_reruns": false });
    let updated = api.ok("campaign/update", without).await;
    assert_eq!(updated["suggest_reruns"], json!(false));
    api.import(group, SUMMER).await.ok();
    assert_eq!(preview(server).await, 0);
    assert!(suggestions(&api).await.is_empty());
    let draft = json!({
        "name": "Hello", "customer_group_id": group, "segment_by": ["country"],
        "template": { "subject": "s", "body": "b" }, "suggest_reruns": false,
    });
    let made = api.ok("campaign/create", draft).await;
    assert_eq!(made["suggest_reruns"], json!(false));
}

async fn previews_are_counted(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let found = api.campaign(&campaign).await;
    let group = found["customer_group_id"].as_str().unwrap();
    preview(server).await;
    api.import(group, SUMMER).await.ok();
    api.group("Another", SPRING).await;
    server.clock.advance(QUIET);
    let head = api.ok("event/list", json!({})).await["head_sequence"].clone();
    let (trigger, shutdown) = Shutdown::new();
    let previews = Previews::new(server.engine.rerun_suggestions.clone());
    let previews = previews.observed_by(server.counted());
    let read = async {
        let next = json!({ "after_sequence": head, "wait_seconds": 20 });
        let page = api.ok("event/list", next).await;
        trigger.request();
        page
    };
    let ((), page) = tokio::join!(previews.run(&shutdown), read);
    assert_eq!(page["events"][0]["type"], "campaign.rerun_suggested");
    let metrics = api.get("/metrics").await.text;
    let counted = "rerun_rerun_previews_total{outcome=\"suggested\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}
