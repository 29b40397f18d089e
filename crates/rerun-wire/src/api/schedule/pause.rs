use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::items::{self, ScheduleItem};
use crate::codes::Code;
use crate::openapi::{Docs, Tag};

#[derive(Deserialize, ToSchema)]
#[schema(as = SchedulePauseRequest)]
pub struct Request {
    /// The id of the schedule.
    #[schema(value_type = Uuid, required)]
    pub schedule_id: Option<String>,
    /// The reason for the pause.
    #[schema(
        min_length = 1,
        max_length = 2_000,
        pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
    )]
    pub note: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Schedules,
        "Pause a schedule",
        "Stops the schedule from firing until it is resumed. Times that pass meanwhile are not \
         made up for. A firing that is `waiting` continues to wait. A schedule that has ended \
         cannot be paused.",
        json!({ "schedule_id": items::SCHEDULE, "note": "Holidays" }),
    )
    .keyed()
    .answers::<ScheduleItem<'_>>(items::example())
    .refuses(&[Code::ScheduleNotFound, Code::InvalidTransition])
}
