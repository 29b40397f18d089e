use rerun_core::actor::{Actor, Person};
use rerun_core::campaign::Template;
use rerun_core::ids::{AccountId, CustomerGroupId, MessageId, UserId};
use rerun_core::message::Content;
use rerun_core::ports::{IdGenerator, ImportedMessage};
use rerun_core::usecases::NewCampaign;
use rerun_generate::UuidV7;
use serde_json::{Value, json};

use crate::support::{
    IP, NAME, SPRING, SUMMER, SUMMER_AGAIN, Server, assert_shape, on_both_stores,
};

on_both_stores!(
    history_tells_of_every_run,
    history_counts_messages_as_they_move,
    a_campaign_from_elsewhere_has_a_synthesised_run,
);

async fn history_tells_of_every_run(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = server.rerun(&api, &campaign, SUMMER).await;
    let history = api.history(&campaign).await;
    assert_shape(
        &history,
        &json!({
            "campaign_id": format!("={campaign}"), "campaign_status": "=Published",
            "current_run_number": 2,
            "runs": [{
                "run_number": "int", "job_uid": "uuid", "status": "=Completed",
                "is_current": "bool", "synthesised": false,
                "customer_group": { "id": "uuid", "name": "text" }, "customer_count": "int",
                "segments": { "total": "int", "matched": "int", "new": "int" },
                "messages": {
                    "total": "int", "reused": "int", "generated": "int", "edited": "int",
                    "generating": "int", "failed": "int", "pending": "int", "approved": "int",
                    "rejected": "int", "published": "int", "archived": "int",
                },
                "usage": { "prompt_tokens": "int", "completion_tokens": "int" },
                "saved": {
                    "messages": "int", "customers": "int", "prompt_tokens": "int",
                    "completion_tokens": "int",
                },
                "resulting_status": "=Ready for review",
                "initiated_by": format!("={}", api.user), "initiated_by_name": format!("={NAME}"),
                "schedule_id": null, "error": null, "cancel_reason": null,
                "started_at": "time", "completed_at": "time",
            }],
            "next_cursor": null,
        }),
    );
    let (second, first) = (&history["runs"][0], &history["runs"][1]);
    assert_eq!(
        (&second["run_number"], &second["is_current"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(
        second["customer_group"],
        json!({ "id": summer, "name": "Next" })
    );
    assert_eq!(second["customer_count"], 5);
    assert_eq!(
        second["segments"],
        json!({ "total": 4, "matched": 2, "new": 2 })
    );
    assert_eq!(
        second["messages"],
        json!({
            "total": 4, "reused": 2, "generated": 2, "edited": 0, "generating": 0, "failed": 0,
            "pending": 0, "approved": 0, "rejected": 0, "published": 4, "archived": 0,
        }),
    );
    let saved = |messages: u32, customers: u32| json!({ "messages": messages, "customers": customers, "prompt_tokens": 0, "completion_tokens": 0 });
    assert_eq!(second["saved"], saved(2, 2));
    assert_eq!(first["saved"], saved(0, 0));
    assert_eq!(
        (&first["run_number"], &first["is_current"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(first["messages"]["archived"], 3);
    assert_ne!(first["job_uid"], second["job_uid"]);

    // Four different numbers, as a language model would have made them.
    server.database.execute(
        "UPDATE runs SET prompt_tokens = 11, completion_tokens = 12, saved_prompt_tokens = 13, \
         saved_completion_tokens = 14 WHERE number = 2",
    );
    let second = api.runs(&campaign).await.remove(0);
    assert_eq!(
        second["usage"],
        json!({ "prompt_tokens": 11, "completion_tokens": 12 })
    );
    assert_eq!(
        second["saved"],
        json!({ "messages": 2, "customers": 2, "prompt_tokens": 13, "completion_tokens": 14 })
    );

    server.rerun(&api, &campaign, SUMMER_AGAIN).await;
    let third = api.runs(&campaign).await.remove(0);
    assert_eq!(
        third["segments"],
        json!({ "total": 2, "matched": 1, "new": 1 })
    );
}

/// The counts of the current run, in the order in which history gives them.
fn counts(run: &Value) -> String {
    let names = [
        "total",
        "reused",
        "generated",
        "edited",
        "generating",
        "failed",
        "pending",
        "approved",
        "rejected",
        "published",
        "archived",
    ];
    names
        .map(|name| run["messages"][name].to_string())
        .join(" ")
}

async fn history_counts_messages_as_they_move(server: &Server) {
    let api = server.account();
    let campaign = api.launched().await;
    let is = async |expected: &str| assert_eq!(counts(&api.runs(&campaign).await[0]), expected);
    is("3 0 3 0 3 0 0 0 0 0 0").await;
    server.fail_for(&["DE"]);
    server.generate(&api, &campaign).await;
    is("3 0 3 0 0 1 2 0 0 0 0").await;
    server.fail_for(&[]);
    api.ok("campaign/rerun/retry", json!({ "campaign_id": campaign }))
        .await;
    is("3 0 3 0 1 0 2 0 0 0 0").await;
    server.generate(&api, &campaign).await;
    let message = api.message(&campaign, "FR/").await["id"].clone();
    let reject = json!({ "campaign_id": campaign, "decision": "reject", "reason": "r", "message_ids": [message] });
    api.ok("campaign/messages/review", reject).await;
    is("3 0 3 0 0 0 2 0 1 0 0").await;
    api.approve_all(&campaign).await;
    is("3 0 3 0 0 0 0 2 1 0 0").await;
    let content = json!({ "subject": "s", "body": "b" });
    let edit = json!({ "campaign_id": campaign, "message_id": message, "content": content });
    api.ok("campaign/messages/edit", edit).await;
    is("3 0 2 1 0 0 1 2 0 0 0").await;
    api.approve_all(&campaign).await;
    api.publish(&campaign).await;
    is("3 0 2 1 0 0 0 0 0 3 0").await;
}

async fn a_campaign_from_elsewhere_has_a_synthesised_run(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    let person = Person {
        user_id: UserId::parse(&api.user).unwrap(),
        user_name: None,
        role_code: "ADMIN".to_owned(),
        ip: IP.parse().ok(),
    };
    let caller = Actor::person(AccountId::parse(&api.account).unwrap(), person);
    let new = NewCampaign {
        name: "Elsewhere".to_owned(),
        customer_group_id: CustomerGroupId::parse(&group),
        segment_by: vec!["country".into(), "tier".into()],
        template: Template {
            subject: "To {{ country }}".to_owned(),
            body: "Hello".to_owned(),
        },
        brief: None,
        approval_stages: None,
        distinct_reviewers: false,
        suggest_reruns: None,
        allow_missing_fields: false,
    };
    let (campaign, _) = server
        .engine
        .campaigns
        .import(&caller, new, |by| {
            let message = |country: &str, tier: Option<&str>| ImportedMessage {
                id: MessageId::new(UuidV7.next()),
                segment: by.segment(
                    |field| if field == "tier" { tier } else { Some(country) },
                    1,
                ),
                content: Content {
                    subject: format!("Old {country}"),
                    body: "Old".to_owned(),
                },
            };
            let messages = [message("DE", Some("gold")), message("FR", None)];
            Box::new(messages.map(Ok).into_iter())
        })
        .await
        .unwrap();
    let campaign = campaign.id.to_string();
    let history = api.history(&campaign).await;
    assert_eq!(history["runs"].as_array().unwrap().len(), 1);
    let run = &history["runs"][0];
    assert_eq!(
        (&run["synthesised"], &run["run_number"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(
        (
            &run["job_uid"],
            &run["initiated_by"],
            &run["initiated_by_name"]
        ),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&run["status"], &run["messages"]["published"]),
        (&json!("Completed"), &json!(2))
    );
    // It can be rerun like any other.
    let started = api.initiate(&campaign, &group).await.ok();
    assert_eq!(
        started["segments"],
        json!({ "total": 3, "matched": 2, "new": 1 })
    );
    let reused = api.message(&campaign, "DE/gold").await;
    assert_eq!(reused["content"]["subject"], "Old DE");
    assert_eq!(reused["reused_from"]["run_number"], 1);
}
