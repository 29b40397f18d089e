//! One story that all examples tell.

use serde_json::{Value, json};

use crate::items::MessageItem;

pub(crate) const CAMPAIGN: &str = "0199f3a2-5c1e-7b64-9d0a-3e1f6a5b8c70";
pub(crate) const OLD_GROUP: &str = "0199f39f-0a44-7c11-8e52-94b7c2d1f0aa";
pub(crate) const GROUP: &str = "019aa7d4-8b36-7f02-a5c9-51e8d7340b12";
pub(crate) const MESSAGE: &str = "019aaf10-2f6d-7a83-b1d4-0c9e8f7a6b55";
pub(crate) const CONTENT: &str = "0199f3a4-95d7-7c08-b3e1-6a5d4c3b2f10";
pub(crate) const REUSED_MESSAGE: &str = "0199f3a4-91b0-7d2c-8a6f-27c3e4d5f618";
pub(crate) const WEBHOOK: &str = "019aaf13-90b4-7a5e-8d21-4c6f0be97a13";
pub(crate) const JOB: &str = "019aaf10-2e90-7c48-9b3a-d2f1e0c4b7a6";
pub(crate) const USER: &str = "0198c2b1-3d4e-7f5a-8b6c-7d8e9f0a1b2c";
pub(crate) const AUDIT_ENTRY: &str = "019aaf10-3120-7e5b-8c4d-6f7e8d9c0b1a";
pub(crate) const SEGMENT_KEY: &str =
    "9f2c4e61b07d83a5c6e9f01b24d7583ac1e60f9d2b7a4853e6f1c09d8b7a2e45";
pub(super) const REQUEST: &str = "019aaf10-2d01-7b9e-8f30-1a2b3c4d5e6f";
pub(crate) const STARTED: &str = "2026-11-23T09:00:00.000Z";
pub(crate) const COMPLETED: &str = "2026-11-23T09:00:04.120Z";

/// Gives an example of a field of an event.
pub(super) trait OfField {
    fn example(&self) -> Value;
}

/// An event of this type.
pub(crate) fn event(name: &str) -> Value {
    let fields = rerun_core::feed::fields(name).iter();
    let mut data: serde_json::Map<String, Value> = fields
        .filter(|field| field.always)
        .map(|field| (field.name.to_owned(), field.example()))
        .collect();
    let actor = json!({ "user_id": USER, "user_name": "Ada Lovelace", "role_code": "ADMIN" });
    data.insert("actor".to_owned(), actor);
    json!({
        "id": AUDIT_ENTRY,
        "type": name,
        "timestamp": STARTED,
        "sequence": 42,
        "account_id": "0198c2b0-11aa-7c3d-9e4f-5a6b7c8d9e0f",
        "data": data,
    })
}

pub(crate) fn webhook() -> Value {
    json!({
        "id": WEBHOOK,
        "url": "https://example.com/rerun",
        "types": ["campaign.published", "run.failed"],
        "campaign_id": null,
        "description": "For the data team",
        "ordered": false,
        "status": "enabled",
        "disabled_reason": null,
        "failing_since": null,
        "delivered_sequence": 41,
        "pending": 0,
        "created_at": STARTED,
        "updated_at": STARTED,
    })
}

pub(crate) fn campaign_id() -> Value {
    json!({ "campaign_id": CAMPAIGN })
}

pub(crate) fn segment() -> Value {
    json!({
        "key": SEGMENT_KEY,
        "attributes": { "country": "DE", "tier": null },
        "customer_count": 913,
    })
}

pub(crate) fn group() -> Value {
    json!({
        "id": GROUP,
        "name": "Spring 2026",
        "customer_count": 120_000,
        "fields": ["country", "tier"],
        "created_at": "2026-11-22T14:30:00.000Z",
        "updated_at": "2026-11-22T14:31:27.458Z",
    })
}

pub(crate) fn campaign() -> Value {
    json!({
        "id": CAMPAIGN,
        "name": "Spring sale",
        "status": "Published",
        "customer_group_id": OLD_GROUP,
        "segment_by": ["country", "tier"],
        "template": { "subject": "Hello {{ country }}", "body": "Spring is here." },
        "brief": null,
        "approval_stages": ["Review"],
        "distinct_reviewers": false,
        "suggest_reruns": true,
        "current_run_number": 1,
        "created_by": USER,
        "created_at": "2026-02-20T08:15:00.000Z",
        "updated_at": "2026-02-21T10:02:11.730Z",
    })
}

pub(crate) fn suggestion() -> Value {
    json!({
        "message_id": REUSED_MESSAGE,
        "run_number": 1,
        "differs": [{ "field": "tier", "from": "silver", "to": null }],
        "evidence": { "pairs": 14, "same": 14 },
        "mentions": [],
    })
}

pub(crate) fn message() -> Value {
    json!({
        "id": MESSAGE,
        "run_number": 2,
        "segment": segment(),
        "content_id": CONTENT,
        "content": { "subject": "Hello DE", "body": "Spring is here." },
        "content_model": null,
        "review_status": "Approved",
        "approval_stage": null,
        "source": "reused",
        "reused_from": { "message_id": REUSED_MESSAGE, "run_number": 1 },
        "provenance": {
            "run_number": 1,
            "approvals": [
                {
                    "stage": "Review", "user_id": USER, "user_name": "Ada Lovelace",
                    "approved_at": "2026-02-21T09:48:02.004Z",
                },
            ],
        },
        "archived": false,
        "archived_at": null,
        "rejection_reason": null,
        "error": null,
        "suggestion": null,
        "created_at": STARTED,
        "updated_at": STARTED,
    })
}

/// [`message`] as a row of a file, after the file's header.
pub(crate) fn message_file() -> String {
    let before = MessageItem::COLUMNS_BEFORE.join(",");
    let after = MessageItem::COLUMNS_AFTER.join(",");
    let (key, at) = (SEGMENT_KEY, STARTED);
    format!(
        "{before},country,tier,{after}\n\
         {MESSAGE},2,{key},DE,,913,Hello DE,Spring is here.,Approved,,reused,{REUSED_MESSAGE},1,\
         false,,,,{at},{at},{CONTENT},\n"
    )
}

pub(crate) fn run() -> Value {
    json!({
        "run_number": 2,
        "job_uid": JOB,
        "status": "Completed",
        "is_current": true,
        "synthesised": false,
        "customer_group": { "id": GROUP, "name": "Spring 2026" },
        "customer_count": 120_000,
        "segments": { "total": 42, "matched": 40, "new": 2 },
        "messages": {
            "total": 42, "reused": 40, "generated": 2, "edited": 0, "generating": 0, "failed": 0,
            "pending": 0, "approved": 0, "rejected": 0, "published": 42, "archived": 0,
        },
        "usage": { "prompt_tokens": 1_240, "completion_tokens": 310 },
        "saved": {
            "messages": 40, "customers": 118_400, "prompt_tokens": 24_800,
            "completion_tokens": 6_200,
        },
        "resulting_status": "Ready for review",
        "initiated_by": USER,
        "initiated_by_name": "Ada Lovelace",
        "schedule_id": null,
        "error": null,
        "cancel_reason": null,
        "started_at": STARTED,
        "completed_at": COMPLETED,
    })
}

/// What starting a run for the new group answers.
pub(crate) fn started() -> Value {
    json!({
        "campaign_id": CAMPAIGN,
        "run_number": 2,
        "job_uid": JOB,
        "run_status": "Queued",
        "campaign_status": "Processing",
        "resulting_status": "Ready for review",
        "customer_group": { "id": GROUP, "name": "Spring 2026" },
        "customer_count": 120_000,
        "segments": { "total": 42, "matched": 40, "new": 2 },
        "archived_messages": 37,
        "started_at": STARTED,
        "completed_at": null,
    })
}

/// What starting the first run answers.
pub(crate) fn launched() -> Value {
    json!({
        "campaign_id": CAMPAIGN,
        "run_number": 1,
        "job_uid": "0199f3a3-77d0-7e21-9c5b-8a4f3e2d1c0b",
        "run_status": "Queued",
        "campaign_status": "Processing",
        "resulting_status": "Ready for review",
        "customer_group": { "id": OLD_GROUP, "name": "Spring 2025" },
        "customer_count": 98_000,
        "segments": { "total": 37, "matched": 0, "new": 37 },
        "archived_messages": 0,
        "started_at": "2026-02-20T08:20:00.000Z",
        "completed_at": null,
    })
}

pub(crate) fn queued() -> Value {
    json!({
        "campaign_id": CAMPAIGN,
        "run_number": 2,
        "campaign_status": "Processing",
        "queued_messages": 2,
    })
}
