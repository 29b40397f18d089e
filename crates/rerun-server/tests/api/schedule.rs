//! `/v1/schedule/…`.

use serde_json::{Value, json};

use crate::support::refusal::{IN_USE, SCHEDULE_NOT_FOUND};
use crate::support::{SUMMER, Server, body_of, on_both_stores};

on_both_stores!(
    a_schedule_is_made_changed_and_deleted,
    a_time_starts_a_rerun_that_nobody_published,
    a_pattern_is_previewed,
    bad_schedules_are_refused,
    a_group_of_a_schedule_is_in_use,
);

async fn a_schedule_is_made_changed_and_deleted(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let create = json!({
        "campaign_id": campaign, "name": "Mondays", "cron": "0 9 * * MON",
        "time_zone": "Europe/Berlin",
    });
    let made = api.ok("schedule/create", create).await;
    assert_eq!(made["status"], "active");
    assert_eq!(
        (&made["when"], &made["overlap"]),
        (&json!("group_changed"), &json!("skip"))
    );
    assert_eq!(made["catch_up_seconds"], 86_400);
    assert_eq!(made["created_by"], json!(api.user));
    let said = made["description"].as_str().unwrap();
    assert!(
        said.contains("09:00") && said.contains("Europe/Berlin"),
        "{said}"
    );
    assert_eq!(made["next_times"].as_array().unwrap().len(), 5);
    assert_eq!(made["last_firing"], Value::Null);
    let this = json!({ "schedule_id": made["id"] });
    assert_eq!(api.ok("schedule/get", this.clone()).await, made);
    let listed = api.ok("schedule/list", json!({})).await;
    assert_eq!(body_of(&listed, "schedules"), std::slice::from_ref(&made));
    let update = json!({ "schedule_id": made["id"], "at": "2999-01-01T00:00:00+01:00" });
    let updated = api.ok("schedule/update", update).await;
    assert_eq!(updated["cron"], Value::Null);
    assert_eq!(updated["next_times"], json!(["2998-12-31T23:00:00.000Z"]));
    let pause = json!({ "schedule_id": made["id"], "note": "Holidays" });
    let paused = api.ok("schedule/pause", pause).await;
    assert_eq!(
        (&paused["status"], &paused["note"]),
        (&json!("paused"), &json!("Holidays"))
    );
    let resumed = api.ok("schedule/resume", this.clone()).await;
    assert_eq!(resumed["status"], "active");
    api.ok("schedule/delete", this.clone()).await;
    api.refused("schedule/get", this, &SCHEDULE_NOT_FOUND).await;
    let entries = api.audit().await;
    let newest: Vec<&str> = entries
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .take(5)
        .collect();
    let expected = [
        "schedule.deleted",
        "schedule.resumed",
        "schedule.paused",
        "schedule.updated",
        "schedule.created",
    ];
    assert_eq!(newest, expected);
}

/// Whatever starts a run: nothing is published by it, although every message is approved.
async fn a_time_starts_a_rerun_that_nobody_published(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let id = api.schedule(&campaign, json!({ "when": "always" })).await;
    let this = json!({ "schedule_id": id });
    let fired = api.ok("schedule/trigger", this.clone()).await;
    assert_eq!(fired["outcome"], "started", "{fired}");
    assert_eq!(fired["run_number"], 2);
    let read = api
        .ok("campaign/get", json!({ "campaign_id": campaign }))
        .await;
    assert_eq!(read["status"], "Ready to publish");
    let history = api
        .ok("campaign/rerun/history", json!({ "campaign_id": campaign }))
        .await;
    assert_eq!(history["runs"][0]["schedule_id"], json!(id));
    assert_eq!(history["runs"][0]["initiated_by"], json!(api.user));
    assert_eq!(history["runs"][1]["schedule_id"], Value::Null);
    let event = api
        .ok("event/list", json!({ "types": ["rerun.initiated"] }))
        .await;
    assert_eq!(event["events"][0]["data"]["schedule_id"], json!(id));
    let again = api.ok("schedule/trigger", this.clone()).await;
    assert_eq!(again["outcome"], "skipped_overlap");
    let firings = api.ok("schedule/firings", this).await;
    let outcomes: Vec<Value> = body_of(&firings, "firings")
        .iter()
        .map(|firing| firing["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["skipped_overlap", "started"]);
    let one = json!({ "schedule_id": id, "outcome": "started", "limit": 1 });
    let page = api.ok("schedule/firings", one).await;
    assert_eq!(body_of(&page, "firings"), [fired]);
    let skipped = api
        .ok("event/list", json!({ "types": ["schedule.skipped"] }))
        .await;
    assert_eq!(skipped["events"][0]["data"]["outcome"], "skipped_overlap");
    let publications = api
        .ok("audit/list", json!({ "action": "campaign.published" }))
        .await;
    assert_eq!(body_of(&publications, "entries").len(), 1, "a person's");
}

async fn a_pattern_is_previewed(server: &Server) {
    let api = server.account();
    let preview = json!({
        "cron": "30 2 * * *", "time_zone": "Europe/Berlin", "from": "2026-03-28T12:00:00Z", "limit": 2,
    });
    let times = api.ok("schedule/preview", preview).await;
    assert_eq!(
        times["times"],
        json!([
            { "at": "2026-03-29T01:00:00.000Z", "local": "2026-03-29T03:00:00+02:00",
              "clock_change": "skipped" },
            { "at": "2026-03-30T00:30:00.000Z", "local": "2026-03-30T02:30:00+02:00",
              "clock_change": null },
        ])
    );
    let from = json!({ "cron": "0 9 * * *", "from": "2026-03-28T09:00:00Z", "limit": 1 });
    let times = api.ok("schedule/preview", from).await;
    assert_eq!(
        times["times"][0]["at"], "2026-03-29T09:00:00.000Z",
        "`from` is exclusive"
    );
}

async fn bad_schedules_are_refused(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let (cron, at) = ("0 9 * * *", "2999-01-01T00:00:00Z");
    api.unchanged(async || {
        for (body, said) in [
            (json!({ "cron": cron, "at": at }), "not both"),
            (json!({ "cron": "* * * * *" }), "15 minutes apart"),
            (json!({ "cron": "0 0 30 2 *" }), "never fires"),
            (json!({ "cron": "nonsense" }), "five fields"),
            (
                json!({ "cron": cron, "time_zone": "Mars/Olympus" }),
                "`time_zone`",
            ),
            (json!({ "at": "2020-01-01T00:00:00Z" }), "in the future"),
            (json!({ "at": "2999-01-01T00:00:00" }), "`at`"),
            (
                json!({ "cron": cron, "ends_at": "2020-01-01T00:00:00Z" }),
                "`ends_at`",
            ),
            (json!({ "cron": cron, "when": "never" }), "`when`"),
            (json!({ "cron": cron, "overlap": "queue" }), "`overlap`"),
            (json!({ "cron": cron, "reuse_from": "x" }), "`reuse_from`"),
            (
                json!({ "cron": cron, "catch_up_seconds": -1 }),
                "`catch_up_seconds`",
            ),
            (
                json!({ "cron": cron, "jitter_seconds": 86_401 }),
                "`jitter_seconds`",
            ),
            (json!({ "cron": cron, "name": "a\0b" }), "NUL"),
        ] {
            let mut whole = json!({ "campaign_id": campaign, "name": "n" });
            for (name, value) in body.as_object().unwrap() {
                whole[name] = value.clone();
            }
            api.post("schedule/create", whole).await.is_invalid(said);
        }
    })
    .await;
    let neither = json!({ "campaign_id": campaign, "name": "n" });
    api.post("schedule/create", neither).await.misses(&["cron"]);
}

async fn a_group_of_a_schedule_is_in_use(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let group = api.group("Next", SUMMER).await;
    let with = json!({ "customer_group_id": group });
    let id = api.schedule(&campaign, with.clone()).await;
    api.refused("customer-group/delete", with.clone(), &IN_USE)
        .await;
    api.ok("schedule/delete", json!({ "schedule_id": id }))
        .await;
    api.ok("customer-group/delete", with).await;
}
