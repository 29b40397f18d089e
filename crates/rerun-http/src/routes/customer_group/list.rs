use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::JsonCall;
use crate::openapi::{Docs, Tag, examples};
use crate::routes::params::page;
use crate::state::State;
use crate::wire::{self, Answer, GroupItem};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerGroupListRequest)]
pub(crate) struct Request {
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<Integer>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CustomerGroupListResponse)]
struct Response<'a> {
    /// The groups, newest first.
    customer_groups: Vec<GroupItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "List customer groups",
        "Newest first.",
        json!({ "limit": 100 }),
    )
    .answers::<Response<'_>>(json!({
        "customer_groups": [examples::group()],
        "next_cursor": null,
    }))
}

/// `POST /v1/customer-group/list`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let page = page(body.limit, body.cursor);
    let found = state.engine.groups.list(&caller, &page).await?;
    wire::json(&Response {
        customer_groups: found.items.iter().map(GroupItem::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
