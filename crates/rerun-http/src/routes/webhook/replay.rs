use rerun_core::usecases::ReplayRequest;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::routes::params::webhook_id;
use crate::state::State;
use crate::wire::{Answer, answered};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookReplayRequest)]
pub(crate) struct Request {
    /// The webhook.
    #[schema(value_type = Uuid, required)]
    webhook_id: Option<String>,
    /// The first event. Needed unless `failed` is true.
    #[schema(value_type = Option<i64>, minimum = 0)]
    from_sequence: Option<Integer>,
    /// The last event. Needed unless `failed` is true.
    #[schema(value_type = Option<i64>, minimum = 0)]
    to_sequence: Option<Integer>,
    /// In place of a range: what was given up.
    #[schema(value_type = Option<bool>, default = false)]
    failed: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookReplayResponse)]
struct Response {
    /// How many events are queued.
    #[schema(minimum = 0)]
    queued: u32,
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

/// `POST /v1/webhook/replay`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let id = required.text("webhook_id", body.webhook_id);
    let request = ReplayRequest {
        from_sequence: body.from_sequence.map(|number| number.0),
        to_sequence: body.to_sequence.map(|number| number.0),
        failed: body.failed.unwrap_or_default(),
    };
    if !request.failed {
        required.value("from_sequence", request.from_sequence);
        required.value("to_sequence", request.to_sequence);
    }
    required.check()?;
    let webhooks = &state.engine.webhooks;
    let queued = webhooks.replay(&caller, webhook_id(&id), request, key.as_deref());
    answered(&queued.await?, |queued| Response { queued: *queued })
}
