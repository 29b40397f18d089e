use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::item::WebhookItem;
use crate::extract::JsonCall;
use crate::openapi::{Docs, Tag, examples};
use crate::routes::params::page;
use crate::state::State;
use crate::wire::{self, Answer};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookListRequest)]
pub(crate) struct Request {
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<Integer>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookListResponse)]
struct Response<'a> {
    /// The webhooks, newest first.
    webhooks: Vec<WebhookItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    next_cursor: Option<&'a str>,
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

/// `POST /v1/webhook/list`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let page = page(body.limit, body.cursor);
    let found = state.engine.webhooks.list(&caller, &page).await?;
    wire::json(&Response {
        webhooks: found.items.iter().map(WebhookItem::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
