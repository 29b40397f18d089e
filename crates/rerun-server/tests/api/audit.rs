//! `/v1/audit/list`.

use rerun_core::ids::AccountId;
use serde_json::{Value, json};

use crate::support::refusal::CAMPAIGN_NOT_FOUND;
use crate::support::{
    Answer, Api, IP, NAME, SPRING, SUMMER, Server, assert_shape, body_of, ids, on_both_stores,
};

on_both_stores!(
    every_change_is_one_entry,
    an_entry_names_the_request_as_its_client_did,
    the_log_is_filtered,
    the_chain_is_whole,
);

/// The log of one account, read after each change.
struct Log {
    api: Api,
    entries: usize,
}

impl Log {
    /// The one entry that has come since.
    async fn next(&mut self) -> Value {
        let entries = self.api.audit().await;
        self.entries += 1;
        assert_eq!(entries.len(), self.entries, "{:#?}", entries[0]);
        assert_eq!(entries[0]["sequence"], self.entries);
        entries[0].clone()
    }

    /// Checks who, where and what of the entry that an answered call wrote; answers the body.
    async fn tells(
        &mut self,
        answer: Answer,
        action: &str,
        run: Option<u32>,
        moved: Option<[&str; 2]>,
    ) -> Value {
        let entry = self.next().await;
        let about = if action.starts_with("customer_group") {
            Value::Null
        } else {
            json!("uuid")
        };
        assert_shape(
            &entry,
            &json!({
                "id": "uuid", "sequence": "int", "action": format!("={action}"), "campaign_id": about,
                "run_number": run, "user_id": format!("={}", self.api.user),
                "user_name": format!("={NAME}"),
                "role_code": "=ADMIN", "ip": format!("={IP}"),
                "request_id": format!("={}", answer.header("x-request-id").unwrap()),
                "details": "any", "created_at": "time",
            }),
        );
        let details = &entry["details"];
        assert!(details.is_object());
        if let Some([before, after]) = moved {
            let found = (&details["before"], &details["after"]);
            assert_eq!(found, (&json!(before), &json!(after)), "{action}");
        }
        answer.ok()
    }

    /// The same for what the system did.
    async fn tells_of_the_system(&mut self, action: &str, run: u32, moved: [&str; 2]) {
        let entry = self.next().await;
        assert_shape(
            &entry,
            &json!({
                "id": "uuid", "sequence": "int", "action": format!("={action}"),
                "campaign_id": "uuid",
                "run_number": run, "user_id": null, "user_name": null, "role_code": null, "ip": null,
                "request_id": null, "details": "any", "created_at": "time",
            }),
        );
        let details = &entry["details"];
        let found = (&details["before"], &details["after"]);
        assert_eq!(found, (&json!(moved[0]), &json!(moved[1])), "{action}");
    }
}

const PROCESSING: &str = "Processing";
const FAILED: &str = "Generation failed";
const IN_REVIEW: &str = "Ready for review";
const READY: &str = "Ready to publish";

#[expect(clippy::too_many_lines, reason = "a story")]
async fn every_change_is_one_entry(server: &Server) {
    let api = server.account();
    let mut log = Log {
        api: api.clone(),
        entries: 0,
    };
    let answer = api
        .post("customer-group/create", json!({ "name": "Spring" }))
        .await;
    let group = log
        .tells(answer, "customer_group.created", None, None)
        .await;
    let answer = api.import(group["id"].as_str().unwrap(), SPRING).await;
    log.tells(answer, "customer_group.imported", None, None)
        .await;
    let create = json!({
        "name": "c", "customer_group_id": group["id"], "segment_by": ["country"],
        "template": { "subject": "s", "body": "b" },
    });
    let answer = api.post("campaign/create", create).await;
    let made = log.tells(answer, "campaign.created", None, None).await;
    let campaign = made["id"].as_str().unwrap();
    let this = json!({ "campaign_id": campaign });
    let call = async |path: &str| api.post(path, this.clone()).await;

    let answer = call("campaign/launch").await;
    log.tells(
        answer,
        "campaign.launched",
        Some(1),
        Some(["Draft", PROCESSING]),
    )
    .await;
    let answer = call("campaign/rerun/cancel").await;
    log.tells(
        answer,
        "rerun.cancelled",
        Some(1),
        Some([PROCESSING, "Draft"]),
    )
    .await;
    let answer = call("campaign/launch").await;
    log.tells(
        answer,
        "campaign.launched",
        Some(2),
        Some(["Draft", PROCESSING]),
    )
    .await;

    server.fail_for(&["DE"]);
    server.generate(&api, campaign).await;
    log.tells_of_the_system("run.failed", 2, [PROCESSING, FAILED])
        .await;
    let answer = call("campaign/rerun/retry").await;
    log.tells(answer, "rerun.retried", Some(2), Some([FAILED, PROCESSING]))
        .await;
    server.fail_for(&[]);
    server.generate(&api, campaign).await;
    log.tells_of_the_system("run.completed", 2, [PROCESSING, IN_REVIEW])
        .await;

    let review = async |decision: &str| {
        let body =
            json!({ "campaign_id": campaign, "decision": decision, "reason": "r", "all": true });
        api.post("campaign/messages/review", body).await
    };
    let answer = review("reject").await;
    log.tells(
        answer,
        "messages.rejected",
        Some(2),
        Some([IN_REVIEW, IN_REVIEW]),
    )
    .await;
    let messages = ids(&api.messages(campaign).await);
    let content = json!({ "subject": "s", "body": "b" });
    let edit = json!({ "campaign_id": campaign, "message_id": messages[0], "content": content });
    let answer = api.post("campaign/messages/edit", edit).await;
    log.tells(
        answer,
        "message.edited",
        Some(2),
        Some([IN_REVIEW, IN_REVIEW]),
    )
    .await;
    let regenerate = json!({ "campaign_id": campaign, "message_ids": messages[1..] });
    let answer = api.post("campaign/messages/regenerate", regenerate).await;
    log.tells(
        answer,
        "messages.regenerated",
        Some(2),
        Some([IN_REVIEW, PROCESSING]),
    )
    .await;
    server.generate(&api, campaign).await;
    log.tells_of_the_system("run.completed", 2, [PROCESSING, IN_REVIEW])
        .await;
    let answer = review("approve").await;
    log.tells(
        answer,
        "messages.approved",
        Some(2),
        Some([IN_REVIEW, READY]),
    )
    .await;
    let answer = call("campaign/publish").await;
    log.tells(
        answer,
        "campaign.published",
        Some(2),
        Some([READY, "Published"]),
    )
    .await;

    // All matched: nothing is left for the system to end.
    let again = group["id"].as_str().unwrap();
    let answer = api.initiate(campaign, again).await;
    log.tells(
        answer,
        "rerun.initiated",
        Some(3),
        Some(["Published", READY]),
    )
    .await;
    let answer = call("campaign/publish").await;
    log.tells(
        answer,
        "campaign.published",
        Some(3),
        Some([READY, "Published"]),
    )
    .await;
    api.import(again, SUMMER).await.ok();
    log.entries += 1;
    let answer = api.initiate(campaign, again).await;
    log.tells(
        answer,
        "rerun.initiated",
        Some(4),
        Some(["Published", PROCESSING]),
    )
    .await;
}

async fn an_entry_names_the_request_as_its_client_did(server: &Server) {
    let api = server.account();
    let headers = api.headers().with("x-request-id", "Trace_1.2-3");
    let body = json!({ "name": "g" });
    let answer = api.post_with("customer-group/create", &headers, body).await;
    answer.ok();
    assert_eq!(answer.header("x-request-id"), Some("Trace_1.2-3"));
    assert_eq!(api.audit().await[0]["request_id"], "Trace_1.2-3");
    let refused = api
        .post_with("customer-group/create", &headers, json!({}))
        .await;
    refused.misses(&["name"]);
    assert_eq!(refused.json()["request_id"], "Trace_1.2-3");
}

async fn the_log_is_filtered(server: &Server) {
    let (api, other) = (server.account(), server.account());
    let first = server.published(&api).await;
    let second = server.published(&api).await;
    let theirs = other.launched().await;
    let actions = async |filter: Value| {
        let page = api.ok("audit/list", filter).await;
        let actions: Vec<_> = body_of(&page, "entries")
            .iter()
            .map(|entry| {
                (
                    entry["campaign_id"].clone(),
                    entry["action"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        actions
    };
    let story = |campaign: &str| {
        let actions = [
            "campaign.published",
            "messages.approved",
            "run.completed",
            "campaign.launched",
            "campaign.created",
        ];
        actions.map(|action| (json!(campaign), action.to_owned()))
    };
    assert_eq!(
        actions(json!({ "campaign_id": first })).await,
        story(&first)
    );
    assert_eq!(
        actions(json!({ "campaign_id": second.to_uppercase() })).await,
        story(&second)
    );
    let launched = |campaign: &str| (json!(campaign), "campaign.launched".to_owned());
    let action = json!({ "action": "campaign.launched" });
    assert_eq!(actions(action).await, [launched(&second), launched(&first)]);
    let both = json!({ "campaign_id": first, "action": "campaign.launched" });
    assert_eq!(actions(both).await, [launched(&first)]);
    assert!(
        actions(json!({ "campaign_id": first, "action": "run.failed" }))
            .await
            .is_empty()
    );
    assert_eq!(actions(json!({})).await.len(), 14);
    for absent in [&*theirs, "x", "0193ed20-7b3c-7000-8000-0000000000ff"] {
        api.refused(
            "audit/list",
            json!({ "campaign_id": absent }),
            &CAMPAIGN_NOT_FOUND,
        )
        .await;
    }
}

async fn the_chain_is_whole(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    server.rerun(&api, &campaign, SUMMER).await;
    let entries = i64::try_from(api.audit().await.len()).unwrap();
    let account = AccountId::parse(&api.account).unwrap();
    let verified = server.engine.audit.verify(account).await.unwrap();
    assert_eq!(verified.unwrap(), entries);
}
