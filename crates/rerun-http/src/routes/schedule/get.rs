use super::items::{self, OfSchedule, ScheduleItem};
use crate::extract::JsonCall;
use crate::openapi::{Code, Docs, Tag};
use crate::state::State;
use crate::wire::{self, Answer};

pub(crate) fn docs() -> Docs {
    Docs::call::<OfSchedule>(
        Tag::Schedules,
        "Get a schedule",
        "With its next times and its last firing.",
        items::example_id(),
    )
    .answers::<ScheduleItem<'_>>(items::example())
    .refuses(&[Code::ScheduleNotFound])
}

/// `POST /v1/schedule/get`
pub(crate) async fn handle(state: State, call: JsonCall<OfSchedule>) -> Answer {
    let JsonCall { caller, body } = call;
    let found = state.engine.schedules.get(&caller, body.id()?).await?;
    wire::json(&ScheduleItem::from(&found))
}
