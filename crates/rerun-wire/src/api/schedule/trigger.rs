use super::items::{self, FiringItem, OfSchedule};
use crate::codes::Code;
use crate::openapi::{Docs, Tag};

pub(crate) fn docs() -> Docs {
    Docs::call::<OfSchedule>(
        Tag::Schedules,
        "Fire a schedule now",
        "Decides as at one of its times, with the same conditions, and returns the firing; a refusal is a \
         firing too. Its times stay as they are. The caller must be allowed to initiate reruns.",
        items::example_id(),
    )
    .keyed()
    .answers::<FiringItem<'_>>(items::example_firing())
    .refuses(&[Code::ScheduleNotFound])
}
