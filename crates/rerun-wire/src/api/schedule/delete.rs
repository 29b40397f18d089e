use rerun_core::ids::ScheduleId;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::items::{self, OfSchedule};
use crate::codes::Code;
use crate::openapi::{Docs, Tag};

#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleDeleteResponse)]
pub struct Response {
    /// The id of the schedule that was deleted.
    #[schema(value_type = Uuid)]
    pub schedule_id: ScheduleId,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<OfSchedule>(
        Tag::Schedules,
        "Delete a schedule",
        "Deletes the schedule and its firings. Runs that it started stay.",
        items::example_id(),
    )
    .keyed()
    .answers::<Response>(json!({ "schedule_id": items::SCHEDULE }))
    .refuses(&[Code::ScheduleNotFound])
}
