use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookReplayRequest)]
pub struct Request {
    /// The id of the webhook.
    #[schema(value_type = Uuid, required)]
    pub webhook_id: Option<String>,
    /// The number of the first event to send. Required unless `failed` is true.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub from_sequence: Option<Integer>,
    /// The number of the last event to send. Required unless `failed` is true.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub to_sequence: Option<Integer>,
    /// Whether to send the events whose delivery was given up, instead of a range.
    #[schema(value_type = Option<bool>, default = false)]
    pub failed: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookReplayResponse)]
pub struct Response {
    /// How many events were queued.
    #[schema(minimum = 0)]
    pub queued: u32,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Send events to a webhook again",
        "Sends a range of events again, or all events whose delivery was given up; at most 10,000 \
         at once. A range can include events from before the webhook was created. Events that the \
         webhook's filters exclude are not sent. Each event keeps its id. Events that the webhook \
         has not reached yet are not included, because they are sent later anyway. Deliveries \
         that are under way are not affected.",
        json!({ "webhook_id": examples::WEBHOOK, "from_sequence": 40, "to_sequence": 42 }),
    )
    .keyed()
    .answers::<Response>(json!({ "queued": 3 }))
    .refuses(&[
        Code::MissingRequiredFields,
        Code::WebhookNotFound,
        Code::InvalidTransition,
    ])
}
