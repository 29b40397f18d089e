use rerun_core::ids::WebhookId;
use rerun_core::usecases::WithSecret;
use rerun_core::{Timestamp, timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookRotateSecretRequest)]
pub struct Request {
    /// The id of the webhook.
    #[schema(value_type = Uuid, required)]
    pub webhook_id: Option<String>,
    /// For how many seconds deliveries are also signed with the previous secret.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 604_800, default = 86_400)]
    pub keep_previous_seconds: Option<Integer>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookRotateSecretResponse)]
pub struct Response<'a> {
    /// The id of the webhook.
    #[schema(value_type = Uuid)]
    pub webhook_id: WebhookId,
    /// The new secret.
    pub secret: &'a str,
    /// Until when deliveries are also signed with the previous secret; `null` if they are not.
    #[serde(serialize_with = "timestamp::option::serialize")]
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub previous_secret_until: Option<Timestamp>,
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
        "Rotate the secret of a webhook",
        "Replaces the secret by a new one. For `keep_previous_seconds`, each delivery has two \
         signatures, one with each secret, so that the receiver can change its secret in this \
         time. If the old secret leaked, send 0, so that it stops signing at once.",
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
