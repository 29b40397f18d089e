//! `/v1/campaign/delete`.

use serde_json::{Value, json};

use crate::support::refusal::CAMPAIGN_NOT_FOUND;
use crate::support::{SPRING, SUMMER, Server, ids, on_both_stores};

on_both_stores!(
    a_deleted_campaign_is_gone,
    nothing_is_left_of_a_deleted_campaign,
    a_campaign_that_is_generated_is_not_deleted,
    a_campaign_is_deleted_in_every_other_status,
);

const PATH: &str = "campaign/delete";

async fn a_deleted_campaign_is_gone(server: &Server) {
    let api = server.account();
    let kept = server.published(&api).await;
    let campaign = server.published(&api).await;
    server.rerun(&api, &campaign, SUMMER).await;
    let this = json!({ "campaign_id": campaign });
    let messages = ids(&api.messages(&campaign).await);
    let edit = json!({ "campaign_id": campaign, "message_id": messages[0],
                       "content": { "subject": "s", "body": "b" } });
    // A response about the campaign that is kept under a key.
    let renamed = json!({ "campaign_id": campaign, "name": "Hello again" });
    api.keyed("k", "campaign/update", renamed.clone())
        .await
        .ok();
    let (others, entries) = (api.messages(&kept).await, api.audit().await);
    let deleted = api.ok(PATH, this.clone()).await;
    assert_eq!(deleted, json!({ "deleted_messages": 7 }));
    for path in [
        PATH,
        "campaign/get",
        "campaign/launch",
        "campaign/publish",
        "campaign/rerun/history",
        "campaign/rerun/messages",
        "campaign/rerun/cancel",
        "campaign/rerun/retry",
        "audit/list",
        "event/list",
    ] {
        api.refused(path, this.clone(), &CAMPAIGN_NOT_FOUND).await;
    }
    api.refused("campaign/messages/edit", edit, &CAMPAIGN_NOT_FOUND)
        .await;
    let again = api.keyed("k", "campaign/update", renamed).await;
    again.is(&CAMPAIGN_NOT_FOUND);
    // What was recorded stays, and what others have.
    let log = api.audit().await;
    assert_eq!(log[1..], entries);
    assert_eq!(
        (
            &log[0]["action"],
            &log[0]["campaign_id"],
            &log[0]["run_number"]
        ),
        (&json!("campaign.deleted"), &json!(campaign), &Value::Null),
    );
    let details =
        json!({ "name": log[0]["details"]["name"], "before": "Published", "messages": 7 });
    assert_eq!(log[0]["details"], details);
    assert_eq!(api.messages(&kept).await, others);
    server.engine.campaigns.sweep_deleted().await.unwrap();
    assert_eq!(api.messages(&kept).await, others);
    server.rerun(&api, &kept, SUMMER).await;
    let account = rerun_core::ids::AccountId::parse(&api.account).unwrap();
    let whole = server.engine.audit.verify(account).await.unwrap();
    assert!(whole.is_ok(), "{whole:?}");
}

async fn nothing_is_left_of_a_deleted_campaign(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    // Content that was replaced: by hand, and by a generator.
    let messages = ids(&api.messages(&campaign).await);
    for subject in ["one", "two"] {
        let edit = json!({ "campaign_id": campaign, "message_id": messages[0],
                           "content": { "subject": subject, "body": "b" } });
        api.ok("campaign/messages/edit", edit).await;
    }
    let again = json!({ "campaign_id": campaign, "message_ids": messages });
    api.ok("campaign/messages/regenerate", again).await;
    server.finish(&api, &campaign).await;
    server.rerun(&api, &campaign, SUMMER).await;
    let this = json!({ "campaign_id": campaign });
    api.keyed("k", PATH, this).await.ok();
    server.engine.campaigns.sweep_deleted().await.unwrap();
    for table in [
        "campaigns",
        "runs",
        "messages",
        "contents",
        "segments",
        "generation_tasks",
        "deleted_campaigns",
    ] {
        server.database.execute(&format!(
            "CREATE TABLE none_left (number integer CHECK (number = 0)); \
             INSERT INTO none_left SELECT count(*) FROM {table}; DROP TABLE none_left"
        ));
    }
}

async fn a_campaign_that_is_generated_is_not_deleted(server: &Server) {
    let api = server.account();
    let campaign = api.launched().await;
    let this = json!({ "campaign_id": campaign });
    api.unchanged(async || {
        let answer = api.post(PATH, this.clone()).await;
        answer.conflicts("cannot delete a campaign that is `Processing`");
        for id in ["x", "00000000-0000-4000-8000-000000000000"] {
            api.refused(PATH, json!({ "campaign_id": id }), &CAMPAIGN_NOT_FOUND)
                .await;
        }
    })
    .await;
    server.generate(&api, &campaign).await;
    assert_eq!(api.ok(PATH, this).await["deleted_messages"], 3);
}

async fn a_campaign_is_deleted_in_every_other_status(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    for status in [
        "Draft",
        "Generation failed",
        "Ready for review",
        "Ready to publish",
    ] {
        let campaign = api.draft(&group).await;
        let this = json!({ "campaign_id": campaign });
        if status != "Draft" {
            api.ok("campaign/launch", this.clone()).await;
            let failing: &[&str] = if status == "Generation failed" {
                &["DE"]
            } else {
                &[]
            };
            server.fail_for(failing);
            server.generate(&api, &campaign).await;
        }
        if status == "Ready to publish" {
            api.approve_all(&campaign).await;
        }
        assert_eq!(api.campaign(&campaign).await["status"], status);
        let expected = if status == "Draft" { 0 } else { 3 };
        let deleted = api.ok(PATH, this).await;
        assert_eq!(deleted["deleted_messages"], expected, "{status}");
    }
    server.engine.campaigns.sweep_deleted().await.unwrap();
}
