use super::items::{self, OfSchedule, ScheduleItem};
use crate::codes::Code;
use crate::openapi::{Docs, Tag};

pub(crate) fn docs() -> Docs {
    Docs::call::<OfSchedule>(
        Tag::Schedules,
        "Resume a schedule",
        "Lets a paused schedule fire again, from its next time on. Times that passed while it was \
         paused are not made up for and have no firings. A schedule that has ended cannot be \
         resumed.",
        items::example_id(),
    )
    .keyed()
    .answers::<ScheduleItem<'_>>(items::example())
    .refuses(&[Code::ScheduleNotFound, Code::InvalidTransition])
}
