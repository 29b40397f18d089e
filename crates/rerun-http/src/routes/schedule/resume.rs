use super::items::{self, OfSchedule, ScheduleItem};
use crate::extract::KeyedCall;
use crate::openapi::{Code, Docs, Tag};
use crate::state::State;
use crate::wire::{Answer, answered};

pub(crate) fn docs() -> Docs {
    Docs::call::<OfSchedule>(
        Tag::Schedules,
        "Resume a schedule",
        "It fires from its next time on. Times that passed while it was paused are not made up for, and \
         have no firings. A schedule that has ended cannot be resumed.",
        items::example_id(),
    )
    .keyed()
    .answers::<ScheduleItem<'_>>(items::example())
    .refuses(&[Code::ScheduleNotFound, Code::InvalidTransition])
}

/// `POST /v1/schedule/resume`
pub(crate) async fn handle(state: State, call: KeyedCall<OfSchedule>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let schedules = &state.engine.schedules;
    let changed = schedules
        .resume(&caller, body.id()?, key.as_deref())
        .await?;
    answered(&changed, ScheduleItem::from)
}
