use rerun_core::delivery::{Attempt, Delivery, DeliveryState, SendError};
use rerun_core::ids::AuditEntryId;
use rerun_core::{Timestamp, timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookDeliveriesRequest)]
pub struct Request {
    /// The id of the webhook.
    #[schema(value_type = Uuid, required)]
    pub webhook_id: Option<String>,
    /// Return only deliveries in this state.
    #[schema(value_type = Option<schema::DeliveryState>)]
    pub state: Option<String>,
    /// The maximum number of items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// The `next_cursor` of the previous page. Leave it out for the first page.
    pub cursor: Option<String>,
}

/// An attempt at a delivery.
#[derive(Serialize, ToSchema)]
#[schema(as = DeliveryAttempt)]
pub struct AttemptItem {
    /// When the attempt ended.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub at: Timestamp,
    /// The HTTP status of the response; `null` if there was no response.
    #[schema(required, minimum = 100, maximum = 999)]
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    #[schema(minimum = 0)]
    pub duration_ms: u64,
    /// Why there was no response; `null` if there was one. With `interrupted`, the sender stopped
    /// during the attempt.
    #[schema(value_type = Option<schema::SendError>, required)]
    pub error: Option<SendError>,
}

/// The delivery of an event to a webhook.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryItem<'a> {
    /// The id of the event. Each attempt sends it in the header `webhook-id`.
    #[schema(value_type = Uuid)]
    pub event_id: AuditEntryId,
    /// The type of the event.
    #[serde(rename = "type")]
    #[schema(value_type = schema::AuditAction)]
    pub kind: &'a str,
    /// The number of the event.
    #[schema(minimum = 1)]
    pub sequence: i64,
    #[schema(value_type = schema::DeliveryState)]
    pub state: DeliveryState,
    /// The attempts of the last 30 days, oldest first.
    pub attempts: Vec<AttemptItem>,
    /// When the next attempt is due; `null` after the last attempt, and while the webhook is disabled.
    #[serde(serialize_with = "timestamp::option::serialize")]
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub next_attempt_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDeliveriesResponse)]
pub struct Response<'a> {
    /// The deliveries, newest event first.
    pub deliveries: Vec<DeliveryItem<'a>>,
    /// The `cursor` for the next page; `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

impl From<&Attempt> for AttemptItem {
    fn from(attempt: &Attempt) -> Self {
        Self {
            at: attempt.at,
            status: attempt.status,
            duration_ms: u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
            error: attempt.error,
        }
    }
}

impl<'a> From<&'a Delivery> for DeliveryItem<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        Self {
            event_id: delivery.event_id,
            kind: &delivery.event_type,
            sequence: delivery.sequence,
            state: delivery.state,
            attempts: delivery.attempts.iter().map(AttemptItem::from).collect(),
            next_attempt_at: delivery.next_attempt_at,
        }
    }
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "List a webhook's deliveries",
        "Returns the deliveries, newest event first, each with its attempts. Deliveries that \
         ended are kept for 30 days. The body of a receiver's response is not kept.",
        json!({ "webhook_id": examples::WEBHOOK, "state": "failed" }),
    )
    .answers::<Response<'_>>(json!({
        "deliveries": [{
            "event_id": examples::AUDIT_ENTRY,
            "type": "campaign.published",
            "sequence": 42,
            "state": "pending",
            "attempts": [{
                "at": examples::STARTED, "status": 503, "duration_ms": 120, "error": null,
            }],
            "next_attempt_at": examples::COMPLETED,
        }],
        "next_cursor": null,
    }))
    .refuses(&[Code::WebhookNotFound])
}
