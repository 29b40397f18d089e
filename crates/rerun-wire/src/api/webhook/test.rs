use rerun_core::delivery::SendError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookTestRequest)]
pub struct Request {
    /// The id of the webhook.
    #[schema(value_type = Uuid, required)]
    pub webhook_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTestResponse)]
pub struct Response {
    /// Whether the receiver responded with a status from 200 to 299.
    pub delivered: bool,
    /// The HTTP status of the response; `null` if there was no response.
    #[schema(required, minimum = 100, maximum = 999)]
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    #[schema(minimum = 0)]
    pub duration_ms: u64,
    /// Why there was no response; `null` if there was one.
    #[schema(value_type = Option<schema::SendError>, required)]
    pub error: Option<SendError>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Send a test event to a webhook",
        "Sends an event of the type `webhook.test` at once, also to a disabled webhook. It is \
         sent once and not retried. The event is not in the log: it has an id of its own, and its \
         `sequence` is 0.",
        json!({ "webhook_id": examples::WEBHOOK }),
    )
    .answers::<Response>(json!({
        "delivered": true, "status": 204, "duration_ms": 38, "error": null,
    }))
    .refuses(&[Code::WebhookNotFound])
}
