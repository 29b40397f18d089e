use super::items::{self, FiringItem, OfSchedule};
use crate::codes::Code;
use crate::openapi::{Docs, Tag};

pub(crate) fn docs() -> Docs {
    Docs::call::<OfSchedule>(
        Tag::Schedules,
        "Trigger a schedule now",
        "Does what the schedule does at one of its times, under the same conditions, and returns \
         the firing. If the rerun is refused, there is a firing too. The times of the schedule \
         stay as they are. The caller must be allowed to initiate reruns.",
        items::example_id(),
    )
    .keyed()
    .answers::<FiringItem<'_>>(items::example_firing())
    .refuses(&[Code::ScheduleNotFound])
}
