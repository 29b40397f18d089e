use rerun_core::delivery::SendError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{JsonCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::webhook_id;
use crate::state::State;
use crate::wire::{self, Answer};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookTestRequest)]
pub(crate) struct Request {
    /// The webhook.
    #[schema(value_type = Uuid, required)]
    webhook_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTestResponse)]
struct Response {
    /// Whether the receiver responded with a status from 200 to 299.
    delivered: bool,
    /// The status of the response; `null` when there was none.
    #[schema(required, minimum = 100, maximum = 999)]
    status: Option<u16>,
    /// How long it took.
    #[schema(minimum = 0)]
    duration_ms: u64,
    /// Why there was no response.
    #[schema(value_type = Option<schema::SendError>, required)]
    error: Option<SendError>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Send a test to a webhook",
        "Sends an event of the type `webhook.test` now, once, also to a webhook that is disabled. It \
         is not in the log: it has an id of its own, and its `sequence` is 0.",
        json!({ "webhook_id": examples::WEBHOOK }),
    )
    .answers::<Response>(json!({
        "delivered": true, "status": 204, "duration_ms": 38, "error": null,
    }))
    .refuses(&[Code::WebhookNotFound])
}

/// `POST /v1/webhook/test`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let id = required.text("webhook_id", body.webhook_id);
    required.check()?;
    let outcome = state.engine.webhooks.test(&caller, webhook_id(&id)).await?;
    wire::json(&Response {
        delivered: outcome.is_delivered(),
        status: outcome.response.ok().map(|response| response.status),
        duration_ms: u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
        error: outcome.response.err(),
    })
}
