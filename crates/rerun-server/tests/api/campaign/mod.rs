//! `/v1/campaign/*`: create, list, get, launch, publish.

mod delete;
mod messages;
mod recipients;
mod rerun;
mod rerun_suggestions;
mod segment_fields;
mod segmentation;
mod suggestions;
mod template_preview;
mod update;
mod value_rules;

use serde_json::{Value, json};

use crate::support::{
    SPRING, SUMMER, Server, assert_shape, body_of, ids, on_both_stores, segment_of,
};

on_both_stores!(
    a_campaign_is_made_as_it_was_asked_for,
    campaigns_are_listed_by_status,
    a_launch_makes_a_message_for_each_segment,
    a_launch_wakes_the_worker,
    a_run_is_published_whole,
    the_whole_life_of_a_campaign,
);

async fn a_campaign_is_made_as_it_was_asked_for(server: &Server) {
    let api = server.account();
    let group = api.empty_group("Spring").await;
    let asked = json!({
        "name": "  Hello \u{2003}",
        "customer_group_id": group.to_uppercase(),
        "segment_by": ["tier", " cafe\u{301} "],
        "template": { "subject": "For {{ café }}", "body": "{{ tier | upper }} {{ \"{{\" }}" },
        "brief": "Be kind.\nBe short.",
        "approval_stages": ["Editorial", "Legal"],
    });
    let made = api.ok("campaign/create", asked).await;
    assert_shape(
        &made,
        &json!({
            "id": "uuid", "name": "=Hello", "status": "=Draft", "customer_group_id": "uuid",
            "segment_by": ["text"], "template": { "subject": "text", "body": "text" },
            "brief": "text", "approval_stages": ["text"], "distinct_reviewers": "bool",
            "suggest_reruns": true,
            "current_run_number": null,
            "created_by": "uuid", "created_at": "time", "updated_at": "time",
        }),
    );
    assert_eq!(made["customer_group_id"], group);
    assert_eq!(made["segment_by"], json!(["tier", "café"]));
    assert_eq!(made["approval_stages"], json!(["Editorial", "Legal"]));
    assert_eq!(made["template"]["body"], "{{ tier | upper }} {{ \"{{\" }}");
    assert_eq!(made["created_by"], api.user);
    let id = made["id"].as_str().unwrap();
    assert_eq!(api.campaign(id).await, made);
    // Ids are the same in whatever case they come.
    assert_eq!(api.campaign(&id.to_uppercase()).await, made);

    let plain = api.campaign(&api.draft(&group).await).await;
    assert_eq!(
        (&plain["brief"], &plain["approval_stages"]),
        (&Value::Null, &json!(["Review"]))
    );
    let history = api.history(id).await;
    assert_eq!(
        history,
        json!({
            "campaign_id": id, "campaign_status": "Draft", "current_run_number": null,
            "runs": [], "next_cursor": null,
        }),
    );
    assert!(api.messages(id).await.is_empty());
}

async fn campaigns_are_listed_by_status(server: &Server) {
    let api = server.account();
    let published = server.published(&api).await;
    let draft = api.draft(&api.empty_group("Empty").await).await;
    let processing = api.launched().await;
    let listed = async |filter: Value| {
        let page = api.ok("campaign/list", filter).await;
        assert_eq!(page["next_cursor"], Value::Null);
        body_of(&page, "campaigns")
    };
    let all = listed(json!({})).await;
    assert_eq!(ids(&all), [&*processing, &*draft, &*published]);
    assert_eq!(all[2], api.campaign(&published).await);
    for (status, expected) in [
        ("Draft", vec![&*draft]),
        ("Processing", vec![&*processing]),
        ("Published", vec![&*published]),
        ("Generation failed", vec![]),
        ("Ready for review", vec![]),
        ("Ready to publish", vec![]),
    ] {
        assert_eq!(
            ids(&listed(json!({ "status": status })).await),
            expected,
            "{status}"
        );
    }
    assert!(
        body_of(
            &server.account().ok("campaign/list", json!({})).await,
            "campaigns"
        )
        .is_empty()
    );
}

async fn a_launch_makes_a_message_for_each_segment(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    let campaign = api.draft(&group).await;
    let started = api
        .ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    assert_shape(
        &started,
        &json!({
            "campaign_id": format!("={campaign}"), "run_number": 1, "job_uid": "uuid",
            "run_status": "=Queued", "campaign_status": "=Processing",
            "resulting_status": "=Ready for review",
            "customer_group": { "id": format!("={group}"), "name": "=Spring" },
            "customer_count": 4, "segments": { "total": 3, "matched": 0, "new": 3 },
            "archived_messages": 0, "started_at": "time", "completed_at": null,
        }),
    );
    let messages = api.messages(&campaign).await;
    let mut segments: Vec<_> = messages
        .iter()
        .map(|m| {
            (
                segment_of(m),
                m["segment"]["customer_count"].as_u64().unwrap(),
            )
        })
        .collect();
    segments.sort();
    assert_eq!(
        segments,
        [
            ("DE/gold".into(), 2),
            ("FR/".into(), 1),
            ("FR/silver".into(), 1)
        ]
    );
    for message in &messages {
        assert_eq!(message["review_status"], "Generating");
        assert_eq!(
            (&message["content"], &message["source"]),
            (&Value::Null, &json!("generated"))
        );
    }

    assert_eq!(server.generate(&api, &campaign).await, "Ready for review");
    let message = api.message(&campaign, "FR/").await;
    assert_eq!(message["review_status"], "Pending review");
    assert_eq!(message["approval_stage"], "Review");
    // A missing value prints as nothing.
    assert_eq!(
        message["content"],
        json!({ "subject": "To FR", "body": "Dear  customer" })
    );
    let run = &api.runs(&campaign).await[0];
    assert_eq!(
        (&run["status"], &run["error"]),
        (&json!("Completed"), &Value::Null)
    );
    assert!(run["completed_at"].as_str() >= run["started_at"].as_str());
}

/// Left to itself the worker would look for work once an hour.
async fn a_launch_wakes_the_worker(server: &Server) {
    let api = server.account();
    let status = server
        .working(std::time::Duration::from_hours(1), async || {
            // The worker has found nothing by the time that everything below is there.
            let campaign = api.launched().await;
            crate::support::settled(&api, &campaign).await
        })
        .await;
    assert_eq!(status, "Ready for review");
}

async fn a_run_is_published_whole(server: &Server) {
    let api = server.account();
    let campaign = server.generated(&api).await;
    api.approve_all(&campaign).await;
    let this = json!({ "campaign_id": campaign });
    let first = api.keyed("p", "campaign/publish", this.clone()).await;
    assert_eq!(
        first.ok(),
        json!({
            "campaign_id": campaign, "run_number": 1, "campaign_status": "Published",
            "published_messages": 3,
        }),
    );
    let again = api.keyed("p", "campaign/publish", this.clone()).await;
    assert_eq!((again.ok(), again.replayed()), (first.ok(), true));
    api.post("campaign/publish", this)
        .await
        .conflicts("cannot publish a campaign that is `Published`");
    for message in api.messages(&campaign).await {
        assert_eq!(message["review_status"], "Published");
        assert_eq!(
            (&message["approval_stage"], &message["archived"]),
            (&Value::Null, &json!(false))
        );
    }
}

/// Draft to rerun to cancelled rerun to rerun, with every change on the way.
#[expect(clippy::too_many_lines, reason = "a story")]
async fn the_whole_life_of_a_campaign(server: &Server) {
    let api = server.account();
    let editor = api.colleague();
    let spring = api.group("Spring", SPRING).await;
    let campaign = api.draft_with(&spring, &["Editorial", "Legal"]).await;
    let this = json!({ "campaign_id": campaign });
    api.ok("campaign/launch", this.clone()).await;
    assert_eq!(server.generate(&api, &campaign).await, "Ready for review");

    // Two stages, then a rejection of what had passed both.
    let review = |more: Value| {
        let mut body = this.clone();
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let approve = review(json!({ "decision": "approve", "all": true }));
    let reviewed = editor.ok("campaign/messages/review", approve.clone()).await;
    assert_eq!(
        reviewed,
        json!({
            "campaign_id": campaign, "run_number": 1, "campaign_status": "Ready for review",
            "reviewed_messages": 3,
        }),
    );
    for message in api.messages(&campaign).await {
        assert_eq!(message["approval_stage"], "Legal");
    }
    let reviewed = editor.ok("campaign/messages/review", approve.clone()).await;
    assert_eq!(reviewed["campaign_status"], "Ready to publish");
    let german = api.message(&campaign, "DE/gold").await["id"].clone();
    let reject =
        review(json!({ "decision": "reject", "reason": "too dear", "message_ids": [german] }));
    let rejected = editor.ok("campaign/messages/review", reject).await;
    assert_eq!(rejected["campaign_status"], "Ready for review");
    let message = api.message(&campaign, "DE/gold").await;
    assert_eq!(message["review_status"], "Rejected");
    assert_eq!(
        (&message["approval_stage"], &message["rejection_reason"]),
        (&Value::Null, &json!("too dear"))
    );

    // Edited by hand, generated again, and through both stages again.
    let content = json!({ "subject": "Lieber Kunde", "body": "Hallo" });
    let edit = review(json!({ "message_id": german, "content": content }));
    let edited = api.ok("campaign/messages/edit", edit).await;
    assert_eq!(
        (&edited["content"], &edited["source"]),
        (&content, &json!("edited"))
    );
    assert_eq!(
        (&edited["review_status"], &edited["approval_stage"]),
        (&json!("Pending review"), &json!("Editorial"))
    );
    assert_eq!(edited["rejection_reason"], Value::Null);
    let regenerate = review(json!({ "message_ids": [german] }));
    let queued = api.ok("campaign/messages/regenerate", regenerate).await;
    assert_eq!(
        queued,
        json!({
            "campaign_id": campaign, "run_number": 1, "campaign_status": "Processing",
            "queued_messages": 1,
        }),
    );
    let run = api.runs(&campaign).await.remove(0);
    assert_eq!(
        (&run["status"], &run["completed_at"]),
        (&json!("Processing"), &Value::Null)
    );
    assert_eq!(server.generate(&api, &campaign).await, "Ready for review");
    let message = api.message(&campaign, "DE/gold").await;
    assert_eq!(
        (&message["source"], &message["content"]["subject"]),
        (&json!("generated"), &json!("To DE"))
    );
    editor.ok("campaign/messages/review", approve.clone()).await;
    let reviewed = editor.ok("campaign/messages/review", approve.clone()).await;
    assert_eq!(reviewed["reviewed_messages"], 1);
    api.publish(&campaign).await;
    let published = api.messages_of(&campaign, 1).await;

    // A rerun, taken back.
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    let cancelled = api.cancel(&campaign).await;
    assert_eq!(
        cancelled,
        json!({
            "campaign_id": campaign, "run_number": 2, "campaign_status": "Published",
            "current_run_number": 1,
        }),
    );
    assert_eq!(api.messages_of(&campaign, 1).await, published);

    // A rerun that is published.
    let started = api.initiate(&campaign, &summer).await.ok();
    assert_eq!(
        (&started["run_number"], &started["archived_messages"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(server.generate(&api, &campaign).await, "Ready for review");
    for _ in 0..2 {
        let reviewed = editor.ok("campaign/messages/review", approve.clone()).await;
        assert_eq!(reviewed["reviewed_messages"], 2);
    }
    let done = api.publish(&campaign).await;
    assert_eq!(
        (&done["run_number"], &done["published_messages"]),
        (&json!(3), &json!(4))
    );
    let history = api.history(&campaign).await;
    let told: Vec<_> = body_of(&history, "runs")
        .iter()
        .map(|run| {
            let number = run["run_number"].as_u64().unwrap();
            (
                number,
                run["status"].clone(),
                run["is_current"] == true,
                run["messages"]["archived"].clone(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (3, json!("Completed"), true, json!(0)),
            (2, json!("Cancelled"), false, json!(4)),
            (1, json!("Completed"), false, json!(3)),
        ],
    );
    assert_eq!(history["current_run_number"], 3);

    // Every change is in the log, once.
    let actions: Vec<_> = api
        .audit()
        .await
        .iter()
        .rev()
        .map(|entry| entry["action"].clone())
        .collect();
    assert_eq!(
        actions,
        [
            "customer_group.created",
            "customer_group.imported",
            "campaign.created",
            "campaign.launched",
            "run.completed",
            "messages.approved",
            "messages.approved",
            "messages.rejected",
            "message.edited",
            "messages.regenerated",
            "run.completed",
            "messages.approved",
            "messages.approved",
            "campaign.published",
            "customer_group.created",
            "customer_group.imported",
            "rerun.initiated",
            "rerun.cancelled",
            "rerun.initiated",
            "run.completed",
            "messages.approved",
            "messages.approved",
            "campaign.published",
        ],
    );
}
