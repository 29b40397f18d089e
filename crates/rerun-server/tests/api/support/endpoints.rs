//! What each endpoint is expected to be like, and how it can name something of another account.

use serde_json::{Value, json};

use super::refusal::{
    CAMPAIGN_NOT_FOUND, CUSTOMER_GROUP_NOT_FOUND, CUSTOMER_NOT_FOUND, MESSAGE_NOT_FOUND, Refusal,
    SCHEDULE_NOT_FOUND, WEBHOOK_NOT_FOUND,
};

/// An endpoint of the API.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) path: &'static str,
    /// The fields that it cannot do without.
    pub(crate) required: &'static [&'static str],
    /// Whether it writes, so that it takes an idempotency key.
    pub(crate) writes: bool,
}

const fn reads(path: &'static str, required: &'static [&'static str]) -> Expected {
    Expected {
        path,
        required,
        writes: false,
    }
}

const fn writes(path: &'static str, required: &'static [&'static str]) -> Expected {
    Expected {
        writes: true,
        ..reads(path, required)
    }
}

/// Every endpoint of the API, in the order of the server's own table.
pub(crate) const EXPECTED: &[Expected] = &[
    reads("/v1/campaign/rerun/history", &["campaign_id"]),
    reads("/v1/campaign/rerun/messages", &["campaign_id"]),
    writes(
        "/v1/campaign/rerun/initiate",
        &["campaign_id", "new_customer_group_id"],
    ),
    reads(
        "/v1/campaign/rerun/preview",
        &["campaign_id", "new_customer_group_id"],
    ),
    writes("/v1/campaign/rerun/archive", &["campaign_id", "run_number"]),
    writes("/v1/campaign/rerun/cancel", &["campaign_id"]),
    writes("/v1/campaign/rerun/retry", &["campaign_id"]),
    reads(
        "/v1/campaign/rerun/diff",
        &["campaign_id", "from_run", "to_run"],
    ),
    writes(
        "/v1/campaign/create",
        &["name", "customer_group_id", "segment_by", "template"],
    ),
    writes("/v1/campaign/update", &["campaign_id"]),
    writes(
        "/v1/campaign/segmentation/update",
        &["campaign_id", "segment_by"],
    ),
    writes("/v1/campaign/delete", &["campaign_id"]),
    reads(
        "/v1/campaign/template/preview",
        &["customer_group_id", "segment_by", "template"],
    ),
    reads("/v1/campaign/list", &[]),
    reads("/v1/campaign/get", &["campaign_id"]),
    writes("/v1/campaign/launch", &["campaign_id"]),
    writes("/v1/campaign/publish", &["campaign_id"]),
    writes(
        "/v1/campaign/messages/review",
        &["campaign_id", "decision", "message_ids"],
    ),
    writes(
        "/v1/campaign/messages/edit",
        &["campaign_id", "message_id", "content"],
    ),
    writes(
        "/v1/campaign/messages/adopt",
        &["campaign_id", "message_id", "content_id"],
    ),
    writes(
        "/v1/campaign/messages/regenerate",
        &["campaign_id", "message_ids"],
    ),
    reads("/v1/campaign/messages/export", &["campaign_id", "format"]),
    reads("/v1/campaign/recipients/export", &["campaign_id", "format"]),
    reads(
        "/v1/campaign/recipients/get",
        &["campaign_id", "customer_ref"],
    ),
    writes("/v1/customer-group/create", &["name"]),
    writes("/v1/customer-group/update", &["customer_group_id", "name"]),
    writes("/v1/customer-group/delete", &["customer_group_id"]),
    writes("/v1/customer-group/import", &["customer_group_id"]),
    reads("/v1/customer-group/list", &[]),
    reads("/v1/customer-group/get", &["customer_group_id"]),
    reads("/v1/customer/list", &["customer_group_id"]),
    writes(
        "/v1/customer/delete",
        &["customer_group_id", "customer_refs"],
    ),
    writes("/v1/customer/erase", &["customer_ref"]),
    writes("/v1/schedule/create", &["campaign_id", "name", "cron"]),
    reads("/v1/schedule/list", &[]),
    reads("/v1/schedule/get", &["schedule_id"]),
    writes("/v1/schedule/update", &["schedule_id"]),
    writes("/v1/schedule/delete", &["schedule_id"]),
    writes("/v1/schedule/pause", &["schedule_id"]),
    writes("/v1/schedule/resume", &["schedule_id"]),
    reads("/v1/schedule/preview", &["cron"]),
    writes("/v1/schedule/trigger", &["schedule_id"]),
    reads("/v1/schedule/firings", &["schedule_id"]),
    reads("/v1/audit/list", &[]),
    reads("/v1/event/list", &[]),
    writes("/v1/webhook/create", &["url"]),
    reads("/v1/webhook/list", &[]),
    reads("/v1/webhook/get", &["webhook_id"]),
    writes("/v1/webhook/update", &["webhook_id"]),
    writes("/v1/webhook/delete", &["webhook_id"]),
    writes("/v1/webhook/rotate-secret", &["webhook_id"]),
    // It sends, and writes nothing.
    reads("/v1/webhook/test", &["webhook_id"]),
    reads("/v1/webhook/deliveries", &["webhook_id"]),
    writes(
        "/v1/webhook/replay",
        &["webhook_id", "from_sequence", "to_sequence"],
    ),
];

/// Endpoints that take no id.
pub(crate) const WITHOUT_IDS: [&str; 6] = [
    "/v1/campaign/list",
    "/v1/customer-group/create",
    "/v1/customer-group/list",
    "/v1/webhook/list",
    "/v1/schedule/list",
    "/v1/schedule/preview",
];

/// What an account has.
pub(crate) struct Owned {
    pub(crate) campaign: String,
    pub(crate) group: String,
    pub(crate) message: String,
    pub(crate) webhook: String,
    pub(crate) schedule: String,
}

/// Every way in which a call can name something of another's.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn calls(mine: &Owned, theirs: &Owned) -> Vec<(&'static str, Value, Refusal)> {
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
            "campaign/recipients/get",
            json!({ "campaign_id": theirs.campaign, "customer_ref": "theirs" }),
            CAMPAIGN_NOT_FOUND,
        ),
        (
            "campaign/recipients/get",
            json!({ "campaign_id": mine.campaign, "customer_ref": "theirs" }),
            CUSTOMER_NOT_FOUND,
        ),
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
