use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Api, SPRING, SUMMER, SUMMER_AGAIN, Server, body_of, on_both_stores};

on_both_stores!(
    a_rerun_is_taken_back_at_every_status,
    cancelling_the_first_run_leads_back_to_a_draft,
    a_run_is_published_or_taken_back,
    a_reason_is_kept,
    what_was_generated_for_a_cancelled_run_is_dropped,
);

/// What a cancelled rerun must give back: everything about the previous run.
async fn previous(api: &Api, campaign: &str) -> (Value, Vec<Value>, Value) {
    let runs = api.runs(campaign).await;
    let run = runs.into_iter().find(|run| run["run_number"] == 1).unwrap();
    let active = api.messages(campaign).await;
    assert_eq!(active, api.messages_of(campaign, 1).await);
    let mut found = api.campaign(campaign).await;
    found["updated_at"] = Value::Null;
    (run, active, found)
}

async fn a_rerun_is_taken_back_at_every_status(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    let before = previous(&api, &campaign).await;
    let mut number = 1;
    for status in [
        "Processing",
        "Generation failed",
        "Ready for review",
        "Ready to publish",
    ] {
        number += 1;
        let started = api.initiate(&campaign, &summer).await.ok();
        assert_eq!(started["run_number"], number);
        if status != "Processing" {
            server.fail_for(if status == "Generation failed" {
                &["ES"]
            } else {
                &[]
            });
            server.generate(&api, &campaign).await;
        }
        if status == "Ready to publish" {
            api.approve_all(&campaign).await;
        }
        assert_eq!(api.campaign(&campaign).await["status"], status);
        assert_eq!(
            api.cancel(&campaign).await,
            json!({
                "campaign_id": campaign, "run_number": number, "campaign_status": "Published",
                "current_run_number": 1,
            }),
        );
        assert_eq!(previous(&api, &campaign).await, before, "{status}");
        let run = &api.runs(&campaign).await[0];
        assert_eq!(
            (&run["status"], &run["is_current"]),
            (&json!("Cancelled"), &json!(false))
        );
        assert!(run["completed_at"].is_string());
        for message in api.messages_of(&campaign, number).await {
            assert_eq!(message["archived"], true);
        }
        api.post("campaign/rerun/cancel", json!({ "campaign_id": campaign }))
            .await
            .conflicts("cannot cancel a campaign that is `Published`");
    }
    let done = api.initiate(&campaign, &summer).await.ok();
    assert_eq!(done["run_number"], number + 1);
    assert_eq!(
        done["segments"],
        json!({ "total": 4, "matched": 2, "new": 2 })
    );
    server.finish(&api, &campaign).await;
    assert_eq!(api.messages_of(&campaign, 1).await.len(), before.1.len());
}

async fn cancelling_the_first_run_leads_back_to_a_draft(server: &Server) {
    let api = server.account();
    let campaign = api.launched().await;
    assert_eq!(
        api.cancel(&campaign).await,
        json!({
            "campaign_id": campaign, "run_number": 1, "campaign_status": "Draft",
            "current_run_number": null,
        }),
    );
    assert!(api.messages(&campaign).await.is_empty());
    assert_eq!(api.messages_of(&campaign, 1).await.len(), 3);
    let history = api.history(&campaign).await;
    assert_eq!(
        (
            &history["current_run_number"],
            body_of(&history, "runs").len()
        ),
        (&Value::Null, 1)
    );
    api.post("campaign/rerun/cancel", json!({ "campaign_id": campaign }))
        .await
        .conflicts("cannot cancel a campaign that is `Draft`");
    let started = api
        .ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    assert_eq!(
        (&started["run_number"], &started["archived_messages"]),
        (&json!(2), &json!(0))
    );
    server.finish(&api, &campaign).await;
    server.rerun(&api, &campaign, SUMMER).await;
    assert_eq!(api.history(&campaign).await["current_run_number"], 3);
}

/// Of any number of publishers and cancellers at once one gets through.
async fn a_run_is_published_or_taken_back(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let again = api.group("Again", SUMMER_AGAIN).await;
    api.initiate(&campaign, &again).await.ok();
    server.generate(&api, &campaign).await;
    api.approve_all(&campaign).await;
    let entries = api.audit().await.len();
    let this = json!({ "campaign_id": campaign });
    let calls = (0..16).map(|call| {
        let path = if call % 2 == 0 {
            "campaign/publish"
        } else {
            "campaign/rerun/cancel"
        };
        api.post(path, this.clone())
    });
    let answers = join_all(calls).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
    assert_eq!(done.len(), 1);
    for answer in refused {
        answer.says(409, "invalid_transition", "a campaign that is `Published`");
    }
    assert_eq!(api.audit().await.len(), entries + 1);
    let current = if done[0].path.ends_with("/publish") {
        2
    } else {
        1
    };
    let history = api.history(&campaign).await;
    assert_eq!(history["campaign_status"], "Published");
    assert_eq!(history["current_run_number"], current);
    for message in api.messages(&campaign).await {
        assert_eq!(message["review_status"], "Published");
    }
}

async fn a_reason_is_kept(server: &Server) {
    let api = server.account();
    let campaign = api.launched().await;
    let with = |reason: Value| json!({ "campaign_id": campaign, "reason": reason });
    api.unchanged(async || {
        for (reason, said) in [("\u{2003}", "blank"), (&*"r".repeat(2_001), "2000")] {
            api.post("campaign/rerun/cancel", with(json!(reason)))
                .await
                .is_invalid(said);
        }
    })
    .await;
    api.ok("campaign/rerun/cancel", with(json!(" wrong\tgroup ")))
        .await;
    assert_eq!(
        api.runs(&campaign).await[0]["cancel_reason"],
        "wrong\tgroup"
    );
    assert_eq!(api.audit().await[0]["details"]["reason"], "wrong\tgroup");
}

/// Tasks of a cancelled run are gone: the worker makes nothing for it, and says nothing of it.
async fn what_was_generated_for_a_cancelled_run_is_dropped(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    api.cancel(&campaign).await;
    let spring = api.group("Spring", SPRING).await;
    let other = api.draft(&spring).await;
    api.ok("campaign/launch", json!({ "campaign_id": other }))
        .await;
    let cancelled = api.messages_of(&campaign, 2).await;
    server.generate(&api, &other).await;
    assert_eq!(api.messages_of(&campaign, 2).await, cancelled);
    assert_eq!(api.runs(&campaign).await[0]["status"], "Cancelled");
    let again = api.group("Again", SUMMER_AGAIN).await;
    api.initiate(&campaign, &again).await.ok();
}
