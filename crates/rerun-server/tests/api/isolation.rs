//! Two accounts: whatever names something of the other's is answered as if it were not there.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::refusal::{
    CAMPAIGN_NOT_FOUND, CUSTOMER_GROUP_NOT_FOUND, CUSTOMER_NOT_FOUND, MESSAGE_NOT_FOUND, Refusal,
    SCHEDULE_NOT_FOUND, WEBHOOK_NOT_FOUND,
};
use crate::support::{Api, SPRING, SUMMER, Server, body_of, ids, on_both_stores};

on_both_stores!(
    every_endpoint_keeps_accounts_apart,
    lists_show_only_ones_own,
    an_account_in_a_body_is_ignored,
);

/// Endpoints that take no id.
const WITHOUT_IDS: [&str; 6] = [
    "/v1/campaign/list",
    "/v1/customer-group/create",
    "/v1/customer-group/list",
    "/v1/webhook/list",
    "/v1/schedule/list",
    "/v1/schedule/preview",
];

/// What an account has.
struct Owned {
    campaign: String,
    group: String,
    message: String,
    webhook: String,
    schedule: String,
}

/// A published campaign with two runs, and one in review.
async fn owned(server: &Server, api: &Api) -> (Owned, Owned) {
    let reviewed = server.generated(api).await;
    let published = server.published(api).await;
    server.rerun(api, &published, SUMMER).await;
    let group = api.group("Another", SPRING).await;
    let mut all = Vec::new();
    for campaign in [published, reviewed] {
        let message = ids(&api.messages(&campaign).await)[0].clone();
        let group = group.clone();
        let url = json!({ "url": "https://receiver.example/hook" });
        let webhook = api.ok("webhook/create", url).await;
        let schedule = api.schedule(&campaign, json!({})).await;
        all.push(Owned {
            campaign,
            group,
            message,
            webhook: webhook["id"].as_str().unwrap().to_owned(),
            schedule,
        });
    }
    let reviewed = all.pop().unwrap();
    (all.pop().unwrap(), reviewed)
}

/// Every way in which a call can name something of another's.
#[expect(clippy::too_many_lines, reason = "a table")]
fn calls(mine: &Owned, theirs: &Owned) -> Vec<(&'static str, Value, Refusal)> {
    let rerun = |campaign: &str, group: &str| json!({ "campaign_id": campaign, "new_customer_group_id": group });
    let create = json!({
        "name": "c", "customer_group_id": theirs.group, "segment_by": ["country"],
        "template": { "subject": "s", "body": "b" },
    });
    let content = json!({ "subject": "s", "body": "b" });
    let messages = |campaign: &str| {
        json!({ "campaign_id": campaign, "message_id": theirs.message, "content": content,
                "message_ids": [theirs.message], "decision": "approve" })
    };
    let this = json!({ "campaign_id": theirs.campaign });
    let schedule = json!({ "schedule_id": theirs.schedule, "name": "Mine" });
    let run = json!({ "campaign_id": theirs.campaign, "run_number": 1, "format": "jsonl" });
    let all = json!({ "campaign_id": theirs.campaign, "decision": "approve", "all": true });
    let webhook = json!({ "webhook_id": theirs.webhook, "from_sequence": 1, "to_sequence": 2 });
    vec![
        ("campaign/rerun/history", this.clone(), CAMPAIGN_NOT_FOUND),
        ("campaign/rerun/messages", this.clone(), CAMPAIGN_NOT_FOUND),
        ("campaign/rerun/messages", run.clone(), CAMPAIGN_NOT_FOUND),
        (
            "campaign/rerun/initiate",
            rerun(&theirs.campaign, &theirs.group),
            CAMPAIGN_NOT_FOUND,
        ),
        (
            "campaign/rerun/initiate",
            rerun(&theirs.campaign, &mine.group),
            CAMPAIGN_NOT_FOUND,
        ),
        (
            "campaign/rerun/initiate",
            rerun(&mine.campaign, &theirs.group),
            CUSTOMER_GROUP_NOT_FOUND,
        ),
        (
            "campaign/rerun/preview",
            rerun(&theirs.campaign, &theirs.group),
            CAMPAIGN_NOT_FOUND,
        ),
        (
            "campaign/rerun/preview",
            rerun(&mine.campaign, &theirs.group),
            CUSTOMER_GROUP_NOT_FOUND,
        ),
        ("campaign/rerun/archive", run.clone(), CAMPAIGN_NOT_FOUND),
        ("campaign/rerun/cancel", this.clone(), CAMPAIGN_NOT_FOUND),
        ("campaign/rerun/retry", this.clone(), CAMPAIGN_NOT_FOUND),
        (
            "campaign/rerun/diff",
            json!({ "campaign_id": theirs.campaign, "from_run": 1, "to_run": 2 }),
            CAMPAIGN_NOT_FOUND,
        ),
        ("campaign/create", create.clone(), CUSTOMER_GROUP_NOT_FOUND),
        (
            "campaign/update",
            json!({ "campaign_id": theirs.campaign, "name": "Mine" }),
            CAMPAIGN_NOT_FOUND,
        ),
        (
            "campaign/segmentation/update",
            json!({ "campaign_id": theirs.campaign, "segment_by": ["country", "tier"] }),
            CAMPAIGN_NOT_FOUND,
        ),
        (
            "campaign/template/preview",
            create.clone(),
            CUSTOMER_GROUP_NOT_FOUND,
        ),
        ("campaign/delete", this.clone(), CAMPAIGN_NOT_FOUND),
        ("campaign/get", this.clone(), CAMPAIGN_NOT_FOUND),
        ("campaign/launch", this.clone(), CAMPAIGN_NOT_FOUND),
        ("campaign/publish", this.clone(), CAMPAIGN_NOT_FOUND),
        ("campaign/messages/review", all, CAMPAIGN_NOT_FOUND),
        (
            "campaign/messages/review",
            messages(&theirs.campaign),
            CAMPAIGN_NOT_FOUND,
        ),
        (
            "campaign/messages/review",
            messages(&mine.campaign),
            MESSAGE_NOT_FOUND,
        ),
        (
            "campaign/messages/edit",
            messages(&theirs.campaign),
            CAMPAIGN_NOT_FOUND,
        ),
        (
            "campaign/messages/edit",
            messages(&mine.campaign),
            MESSAGE_NOT_FOUND,
        ),
        (
            "campaign/messages/adopt",
            json!({ "campaign_id": theirs.campaign, "message_id": theirs.message,
                "content_id": theirs.message }),
            CAMPAIGN_NOT_FOUND,
        ),
        (
            "campaign/messages/adopt",
            json!({ "campaign_id": mine.campaign, "message_id": theirs.message,
                "content_id": theirs.message }),
            MESSAGE_NOT_FOUND,
        ),
        (
            "campaign/messages/regenerate",
            messages(&theirs.campaign),
            CAMPAIGN_NOT_FOUND,
        ),
        (
            "campaign/messages/regenerate",
            messages(&mine.campaign),
            MESSAGE_NOT_FOUND,
        ),
        (
            "campaign/recipients/export",
            run.clone(),
            CAMPAIGN_NOT_FOUND,
        ),
        ("campaign/messages/export", run, CAMPAIGN_NOT_FOUND),
        (
            "customer-group/get",
            json!({ "customer_group_id": theirs.group }),
            CUSTOMER_GROUP_NOT_FOUND,
        ),
        (
            "customer-group/update",
            json!({ "customer_group_id": theirs.group, "name": "Mine" }),
            CUSTOMER_GROUP_NOT_FOUND,
        ),
        (
            "customer-group/delete",
            json!({ "customer_group_id": theirs.group }),
            CUSTOMER_GROUP_NOT_FOUND,
        ),
        (
            "customer/list",
            json!({ "customer_group_id": theirs.group }),
            CUSTOMER_GROUP_NOT_FOUND,
        ),
        (
            "customer/delete",
            json!({ "customer_group_id": theirs.group, "customer_refs": ["a"] }),
            CUSTOMER_GROUP_NOT_FOUND,
        ),
        (
            "customer/erase",
            json!({ "customer_ref": "theirs" }),
            CUSTOMER_NOT_FOUND,
        ),
        ("audit/list", this.clone(), CAMPAIGN_NOT_FOUND),
        ("event/list", this, CAMPAIGN_NOT_FOUND),
        (
            "webhook/create",
            json!({ "url": "https://receiver.example", "campaign_id": theirs.campaign }),
            CAMPAIGN_NOT_FOUND,
        ),
        (
            "webhook/update",
            json!({ "webhook_id": mine.webhook, "campaign_id": theirs.campaign }),
            CAMPAIGN_NOT_FOUND,
        ),
        (
            "webhook/update",
            json!({ "webhook_id": theirs.webhook, "status": "disabled" }),
            WEBHOOK_NOT_FOUND,
        ),
        ("webhook/get", webhook.clone(), WEBHOOK_NOT_FOUND),
        ("webhook/delete", webhook.clone(), WEBHOOK_NOT_FOUND),
        ("webhook/rotate-secret", webhook.clone(), WEBHOOK_NOT_FOUND),
        ("webhook/test", webhook.clone(), WEBHOOK_NOT_FOUND),
        ("webhook/deliveries", webhook.clone(), WEBHOOK_NOT_FOUND),
        ("webhook/replay", webhook, WEBHOOK_NOT_FOUND),
        (
            "schedule/create",
            json!({ "campaign_id": theirs.campaign, "name": "n", "cron": "0 9 * * *" }),
            CAMPAIGN_NOT_FOUND,
        ),
        (
            "schedule/create",
            json!({ "campaign_id": mine.campaign, "name": "n", "cron": "0 9 * * *",
                    "customer_group_id": theirs.group }),
            CUSTOMER_GROUP_NOT_FOUND,
        ),
        (
            "schedule/update",
            json!({ "schedule_id": mine.schedule, "customer_group_id": theirs.group }),
            CUSTOMER_GROUP_NOT_FOUND,
        ),
        ("schedule/get", schedule.clone(), SCHEDULE_NOT_FOUND),
        ("schedule/update", schedule.clone(), SCHEDULE_NOT_FOUND),
        ("schedule/delete", schedule.clone(), SCHEDULE_NOT_FOUND),
        ("schedule/pause", schedule.clone(), SCHEDULE_NOT_FOUND),
        ("schedule/resume", schedule.clone(), SCHEDULE_NOT_FOUND),
        ("schedule/trigger", schedule.clone(), SCHEDULE_NOT_FOUND),
        ("schedule/firings", schedule, SCHEDULE_NOT_FOUND),
    ]
}

async fn every_endpoint_keeps_accounts_apart(server: &Server) {
    let (owner, stranger) = (server.account(), server.account());
    let theirs = owned(server, &owner).await;
    // A customer that one of the two accounts has.
    owner
        .group("Theirs", "customer_ref,country\ntheirs,DE\n")
        .await;
    let mine = owned(server, &stranger).await;
    let mut called: BTreeSet<String> = WITHOUT_IDS.map(ToOwned::to_owned).into();
    owner
        .unchanged(async || {
            stranger
                .unchanged(async || {
                    for (mine, theirs) in [(&mine.0, &theirs.0), (&mine.1, &theirs.1)] {
                        for (path, body, refusal) in calls(mine, theirs) {
                            stranger.refused(path, body, &refusal).await;
                            called.insert(format!("/v1/{path}"));
                        }
                    }
                    let import = stranger.import(&theirs.0.group, SUMMER).await;
                    import.is(&CUSTOMER_GROUP_NOT_FOUND);
                    called.insert("/v1/customer-group/import".to_owned());
                })
                .await;
        })
        .await;
    let known: BTreeSet<String> = rerun_wire::ENDPOINTS
        .iter()
        // The others know of no account.
        .filter(|endpoint| endpoint.path.starts_with("/v1/"))
        .map(|endpoint| endpoint.path.to_owned())
        .collect();
    assert_eq!(called, known, "an endpoint is not in this test");
}

async fn lists_show_only_ones_own(server: &Server) {
    let (owner, stranger) = (server.account(), server.account());
    owned(server, &owner).await;
    for (path, list) in [
        ("campaign/list", "campaigns"),
        ("customer-group/list", "customer_groups"),
        ("audit/list", "entries"),
        ("event/list", "events"),
        ("webhook/list", "webhooks"),
        ("schedule/list", "schedules"),
    ] {
        assert!(!body_of(&owner.ok(path, json!({})).await, list).is_empty());
        assert!(
            body_of(&stranger.ok(path, json!({})).await, list).is_empty(),
            "{path}"
        );
    }
}

/// The account is the token's.
async fn an_account_in_a_body_is_ignored(server: &Server) {
    let (owner, stranger) = (server.account(), server.account());
    let campaign = server.generated(&owner).await;
    let body = json!({ "campaign_id": campaign, "account_id": owner.account });
    stranger
        .refused("campaign/get", body, &CAMPAIGN_NOT_FOUND)
        .await;
    let group = json!({ "name": "g", "account_id": owner.account });
    stranger.ok("customer-group/create", group).await;
    let groups = owner.ok("customer-group/list", json!({})).await;
    assert_eq!(body_of(&groups, "customer_groups").len(), 1);
}
