use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::item::WebhookItem;
use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::routes::params::webhook_id;
use crate::state::State;
use crate::wire::{Answer, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookDeleteRequest)]
pub(crate) struct Request {
    /// The webhook.
    #[schema(value_type = Uuid, required)]
    webhook_id: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Delete a webhook",
        "Returns it as it was last. Nothing more is sent to it, except what is on its way.",
        json!({ "webhook_id": examples::WEBHOOK }),
    )
    .keyed()
    .answers::<WebhookItem<'_>>(examples::webhook())
    .refuses(&[Code::WebhookNotFound])
}

/// `POST /v1/webhook/delete`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let id = required.text("webhook_id", body.webhook_id);
    required.check()?;
    let webhooks = &state.engine.webhooks;
    let deleted = webhooks.delete(&caller, webhook_id(&id), key.as_deref());
    answered(&deleted.await?, WebhookItem::from)
}
