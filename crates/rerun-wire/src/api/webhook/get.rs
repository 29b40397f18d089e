use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::item::WebhookItem;
use crate::codes::Code;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookGetRequest)]
pub struct Request {
    /// The id of the webhook.
    #[schema(value_type = Uuid, required)]
    pub webhook_id: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Get a webhook",
        "Returns the webhook with the number up to which events are delivered, and since when its \
         deliveries have been failing.",
        json!({ "webhook_id": examples::WEBHOOK }),
    )
    .answers::<WebhookItem<'_>>(examples::webhook())
    .refuses(&[Code::WebhookNotFound])
}
