use super::items::{self, FiringItem, OfSchedule};
use crate::extract::KeyedCall;
use crate::openapi::{Code, Docs, Tag};
use crate::state::State;
use crate::wire::{Answer, answered};

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

/// `POST /v1/schedule/trigger`
pub(crate) async fn handle(state: State, call: KeyedCall<OfSchedule>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let schedules = &state.engine.schedules;
    let decided = schedules
        .trigger(&caller, body.id()?, key.as_deref())
        .await?;
    if !decided.replayed {
        state.metrics.schedule_triggered(&decided.outcome);
        (state.wake)();
    }
    answered(&decided, |decided| FiringItem::from(&decided.firing))
}
