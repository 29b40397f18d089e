use super::items::{self, OfSchedule, ScheduleItem};
use crate::codes::Code;
use crate::openapi::{Docs, Tag};

pub(crate) fn docs() -> Docs {
    Docs::call::<OfSchedule>(
        Tag::Schedules,
        "Get a schedule",
        "Returns the schedule with its next times and its last firing.",
        items::example_id(),
    )
    .answers::<ScheduleItem<'_>>(items::example())
    .refuses(&[Code::ScheduleNotFound])
}
