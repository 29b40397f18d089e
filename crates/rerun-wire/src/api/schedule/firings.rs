use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::items::{self, FiringItem};
use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = ScheduleFiringsRequest)]
pub struct Request {
    /// The id of the schedule.
    #[schema(value_type = Uuid, required)]
    pub schedule_id: Option<String>,
    /// Return only firings with this outcome.
    #[schema(value_type = Option<schema::FiringOutcome>)]
    pub outcome: Option<String>,
    /// The maximum number of items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// The `next_cursor` of the previous page. Leave it out for the first page.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleFiringsResponse)]
pub struct Response<'a> {
    /// The firings, newest first.
    pub firings: Vec<FiringItem<'a>>,
    /// The `cursor` for the next page; `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Schedules,
        "List the firings of a schedule",
        "Returns the firings, newest first. A firing records what happened at a time of the \
         schedule. Each time has exactly one firing, however many servers run. A firing that is \
         `waiting` gets its final outcome when the campaign is published.",
        json!({ "schedule_id": items::SCHEDULE, "outcome": "started" }),
    )
    .answers::<Response<'_>>(json!({ "firings": [items::example_firing()], "next_cursor": null }))
    .refuses(&[Code::ScheduleNotFound])
}
