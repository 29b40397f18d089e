use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::item::WebhookItem;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookListRequest)]
pub struct Request {
    /// The maximum number of items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// The `next_cursor` of the previous page. Leave it out for the first page.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookListResponse)]
pub struct Response<'a> {
    /// The webhooks, newest first.
    pub webhooks: Vec<WebhookItem<'a>>,
    /// The `cursor` for the next page; `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "List webhooks",
        "Returns the webhooks of the account, newest first.",
        json!({ "limit": 20 }),
    )
    .answers::<Response<'_>>(json!({
        "webhooks": [examples::webhook()],
        "next_cursor": null,
    }))
}
