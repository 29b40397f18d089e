use rerun_core::Timestamp;
use rerun_core::ids::WebhookId;
use rerun_core::timestamp;
use rerun_core::usecases::WithSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::webhook_id;
use crate::state::State;
use crate::wire::{Answer, answered};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookRotateSecretRequest)]
pub(crate) struct Request {
    /// The webhook.
    #[schema(value_type = Uuid, required)]
    webhook_id: Option<String>,
    /// For how many seconds the previous secret signs too.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 604_800, default = 86_400)]
    keep_previous_seconds: Option<Integer>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookRotateSecretResponse)]
struct Response<'a> {
    /// The webhook.
    #[schema(value_type = Uuid)]
    webhook_id: WebhookId,
    /// Its new secret.
    secret: &'a str,
    /// Until when the secret before signs too; `null` when it does not.
    #[serde(serialize_with = "timestamp::option::serialize")]
    #[schema(value_type = Option<schema::Timestamp>, required)]
    previous_secret_until: Option<Timestamp>,
}

impl<'a> From<&'a WithSecret> for Response<'a> {
    fn from(rotated: &'a WithSecret) -> Self {
        let webhook = &rotated.webhook.webhook;
        Self {
            webhook_id: webhook.id,
            secret: rotated.secret.expose(),
            previous_secret_until: webhook.previous_secret_until,
        }
    }
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Give a webhook another secret",
        "For `keep_previous_seconds` each delivery has two signatures, so that the receiver can \
         change its secret meanwhile. A secret that leaked should sign no longer: send 0.",
        json!({ "webhook_id": examples::WEBHOOK, "keep_previous_seconds": 3_600 }),
    )
    .keyed()
    .answers::<Response<'_>>(json!({
        "webhook_id": examples::WEBHOOK,
        "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDqk7O3aG6GkM=",
        "previous_secret_until": "2026-11-23T10:00:00.000Z",
    }))
    .refuses(&[Code::WebhookNotFound])
}

/// `POST /v1/webhook/rotate-secret`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let id = required.text("webhook_id", body.webhook_id);
    required.check()?;
    let kept = body.keep_previous_seconds.map(|seconds| seconds.0);
    let webhooks = &state.engine.webhooks;
    let rotated = webhooks.rotate_secret(&caller, webhook_id(&id), kept, key.as_deref());
    answered(&rotated.await?, Response::from)
}
