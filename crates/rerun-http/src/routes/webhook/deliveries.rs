use rerun_core::Timestamp;
use rerun_core::delivery::{Attempt, Delivery, DeliveryState, SendError};
use rerun_core::ids::AuditEntryId;
use rerun_core::timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{JsonCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::{one_of, page, webhook_id};
use crate::state::State;
use crate::wire::{self, Answer};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookDeliveriesRequest)]
pub(crate) struct Request {
    /// The webhook.
    #[schema(value_type = Uuid, required)]
    webhook_id: Option<String>,
    /// Deliveries in this state alone.
    #[schema(value_type = Option<schema::DeliveryState>)]
    state: Option<String>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<Integer>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// An attempt at a delivery.
#[derive(Serialize, ToSchema)]
#[schema(as = DeliveryAttempt)]
struct AttemptItem {
    /// When it ended.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    at: Timestamp,
    /// The status of the response; `null` when there was none.
    #[schema(required, minimum = 100, maximum = 999)]
    status: Option<u16>,
    /// How long it took.
    #[schema(minimum = 0)]
    duration_ms: u64,
    /// Why there was no response. `interrupted`: the sender stopped in the middle.
    #[schema(value_type = Option<schema::SendError>, required)]
    error: Option<SendError>,
}

/// An event on its way to a webhook.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
struct DeliveryItem<'a> {
    /// The event's id: `webhook-id` in each attempt.
    #[schema(value_type = Uuid)]
    event_id: AuditEntryId,
    /// The event's type.
    #[serde(rename = "type")]
    #[schema(value_type = schema::AuditAction)]
    kind: &'a str,
    /// The event's number.
    #[schema(minimum = 1)]
    sequence: i64,
    #[schema(value_type = schema::DeliveryState)]
    state: DeliveryState,
    /// The attempts of the last 30 days, oldest first.
    attempts: Vec<AttemptItem>,
    /// When it is tried next; `null` when it is not, or its webhook is disabled.
    #[serde(serialize_with = "timestamp::option::serialize")]
    #[schema(value_type = Option<schema::Timestamp>, required)]
    next_attempt_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDeliveriesResponse)]
struct Response<'a> {
    /// The deliveries, newest event first.
    deliveries: Vec<DeliveryItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    next_cursor: Option<&'a str>,
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
        "Newest event first, each with its attempts. Deliveries that ended are kept 30 days. What a \
         receiver says in its body is not kept.",
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

/// `POST /v1/webhook/deliveries`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let id = required.text("webhook_id", body.webhook_id);
    required.check()?;
    let wanted = body.state.as_deref();
    let wanted = wanted.map(|name| one_of("state", name)).transpose()?;
    let page = page(body.limit, body.cursor);
    let webhooks = &state.engine.webhooks;
    let found = webhooks.deliveries(&caller, webhook_id(&id), wanted, &page);
    let found = found.await?;
    wire::json(&Response {
        deliveries: found.items.iter().map(DeliveryItem::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
