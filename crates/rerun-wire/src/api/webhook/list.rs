use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::item::WebhookItem;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookListRequest)]
pub struct Request {
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookListResponse)]
pub struct Response<'a> {
    /// The webhooks, newest first.
    pub webhooks: Vec<WebhookItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "List webhooks",
        "Newest first.",
        json!({ "limit": 20 }),
    )
    .answers::<Response<'_>>(json!({
        "webhooks": [examples::webhook()],
        "next_cursor": null,
    }))
}
