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
    /// The schedule.
    #[schema(value_type = Uuid, required)]
    pub schedule_id: Option<String>,
    /// Firings with this outcome alone.
    #[schema(value_type = Option<schema::FiringOutcome>)]
    pub outcome: Option<String>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleFiringsResponse)]
pub struct Response<'a> {
    /// The firings, newest first.
    pub firings: Vec<FiringItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Schedules,
        "List what became of a schedule's times",
        "Newest first. Each time has exactly one firing, however many servers run. A firing that is \
         `waiting` becomes another one when the campaign is published.",
        json!({ "schedule_id": items::SCHEDULE, "outcome": "started" }),
    )
    .answers::<Response<'_>>(json!({ "firings": [items::example_firing()], "next_cursor": null }))
    .refuses(&[Code::ScheduleNotFound])
}
