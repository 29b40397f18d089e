use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::items::{self, ScheduleItem};
use crate::json::Integer;
use crate::openapi::{Docs, Tag};

#[derive(Deserialize, ToSchema)]
#[schema(as = ScheduleListRequest)]
pub struct Request {
    /// The maximum number of items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// The `next_cursor` of the previous page. Leave it out for the first page.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleListResponse)]
pub struct Response<'a> {
    /// The schedules, newest first.
    pub schedules: Vec<ScheduleItem<'a>>,
    /// The `cursor` for the next page; `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Schedules,
        "List schedules",
        "Returns the schedules of the account, newest first.",
        json!({ "limit": 100 }),
    )
    .answers::<Response<'_>>(json!({ "schedules": [items::example()], "next_cursor": null }))
}
