use rerun_core::Timestamp;
use rerun_core::ids::{AccountId, AuditEntryId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = EventListRequest)]
pub struct Request {
    /// Return the events after this number. Pass the `next_sequence` of the previous page to get
    /// the next page.
    #[schema(value_type = Option<i64>, minimum = 0, default = 0)]
    pub after_sequence: Option<Integer>,
    /// Return only events of these types.
    #[schema(value_type = Option<Vec<schema::AuditAction>>, min_items = 1)]
    pub types: Option<Vec<String>>,
    /// The id of a campaign: return only events about it.
    #[schema(value_type = Option<Uuid>)]
    pub campaign_id: Option<String>,
    /// The maximum number of events to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// How many seconds to wait for an event if there is none yet.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 20, default = 0)]
    pub wait_seconds: Option<Integer>,
}

/// Something that happened in the account.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub struct Event<'a> {
    /// The id of the audit entry.
    #[schema(value_type = Uuid)]
    pub id: AuditEntryId,
    #[serde(rename = "type")]
    #[schema(value_type = schema::AuditAction)]
    pub kind: &'a str,
    /// When it happened.
    #[serde(with = "rerun_core::timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub timestamp: Timestamp,
    /// The number of the event in the account's log: from 1, without gaps.
    #[schema(minimum = 1)]
    pub sequence: i64,
    /// The id of the account.
    #[schema(value_type = Uuid)]
    pub account_id: AccountId,
    /// The details of the event. The section `webhooks` has a schema for each type.
    #[schema(value_type = Object)]
    pub data: &'a Map<String, Value>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = EventListResponse)]
pub struct Response<'a> {
    /// The events, oldest first.
    pub events: Vec<Event<'a>>,
    /// The `after_sequence` for the next page. It also skips events that the filters excluded.
    #[schema(minimum = 0)]
    pub next_sequence: i64,
    /// The number of the account's newest event; 0 if there is none.
    #[schema(minimum = 0)]
    pub head_sequence: i64,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Events,
        "List events",
        "Returns the events after a number, oldest first. Every audit entry is an event, without \
         IP addresses, texts, reasons and data of customers. A reader that has received the \
         events up to a number has missed none of them. With `wait_seconds`, the response is sent \
         as soon as there is an event. `data` is different for each type of event: see the \
         section `webhooks`.",
        json!({ "after_sequence": 41, "types": ["campaign.published"], "wait_seconds": 20 }),
    )
    .answers::<Response<'_>>(json!({
        "events": [examples::event("campaign.published")],
        "next_sequence": 42,
        "head_sequence": 42,
    }))
    .refuses(&[Code::CampaignNotFound])
}
