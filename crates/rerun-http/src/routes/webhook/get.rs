use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::item::WebhookItem;
use crate::extract::{JsonCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::routes::params::webhook_id;
use crate::state::State;
use crate::wire::{self, Answer};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookGetRequest)]
pub(crate) struct Request {
    /// The webhook.
    #[schema(value_type = Uuid, required)]
    webhook_id: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Get a webhook",
        "With how far it is, and since when it has been failing.",
        json!({ "webhook_id": examples::WEBHOOK }),
    )
    .answers::<WebhookItem<'_>>(examples::webhook())
    .refuses(&[Code::WebhookNotFound])
}

/// `POST /v1/webhook/get`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let id = required.text("webhook_id", body.webhook_id);
    required.check()?;
    let found = state.engine.webhooks.get(&caller, webhook_id(&id)).await?;
    wire::json(&WebhookItem::from(&found))
}
