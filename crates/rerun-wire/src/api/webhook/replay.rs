use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookReplayRequest)]
pub struct Request {
    /// The webhook.
    #[schema(value_type = Uuid, required)]
    pub webhook_id: Option<String>,
    /// The first event. Needed unless `failed` is true.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub from_sequence: Option<Integer>,
    /// The last event. Needed unless `failed` is true.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub to_sequence: Option<Integer>,
    /// In place of a range: what was given up.
    #[schema(value_type = Option<bool>, default = false)]
    pub failed: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookReplayResponse)]
pub struct Response {
    /// How many events are queued.
    #[schema(minimum = 0)]
    pub queued: u32,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Send events again",
        "Those of a range that the webhook wants, also from before it was made, or those that were \
         given up; at most 10,000 at once. Each has the id that it had. Events that the webhook has \
         not come to yet are not in it: they come by themselves. What is on its way is left alone.",
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
