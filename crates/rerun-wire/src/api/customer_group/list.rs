use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::items::GroupItem;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerGroupListRequest)]
pub struct Request {
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CustomerGroupListResponse)]
pub struct Response<'a> {
    /// The groups, newest first.
    pub customer_groups: Vec<GroupItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
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
