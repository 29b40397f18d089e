use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::item::WebhookItem;
use crate::codes::Code;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookDeleteRequest)]
pub struct Request {
    /// The id of the webhook.
    #[schema(value_type = Uuid, required)]
    pub webhook_id: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Delete a webhook",
        "Deletes the webhook and returns it as it was last. Nothing more is sent to it, except \
         deliveries that have already begun.",
        json!({ "webhook_id": examples::WEBHOOK }),
    )
    .keyed()
    .answers::<WebhookItem<'_>>(examples::webhook())
    .refuses(&[Code::WebhookNotFound])
}
