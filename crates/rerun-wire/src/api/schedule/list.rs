use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::items::{self, ScheduleItem};
use crate::json::Integer;
use crate::openapi::{Docs, Tag};

#[derive(Deserialize, ToSchema)]
#[schema(as = ScheduleListRequest)]
pub struct Request {
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleListResponse)]
pub struct Response<'a> {
    /// The schedules, newest first.
    pub schedules: Vec<ScheduleItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Schedules,
        "List schedules",
        "Newest first.",
        json!({ "limit": 100 }),
    )
    .answers::<Response<'_>>(json!({ "schedules": [items::example()], "next_cursor": null }))
}
