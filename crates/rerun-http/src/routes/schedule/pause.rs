use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::items::{self, ScheduleItem};
use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag};
use crate::routes::params::schedule_id;
use crate::state::State;
use crate::wire::{Answer, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = SchedulePauseRequest)]
pub(crate) struct Request {
    /// The schedule.
    #[schema(value_type = Uuid, required)]
    schedule_id: Option<String>,
    /// Why.
    #[schema(
        min_length = 1,
        max_length = 2_000,
        pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
    )]
    note: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Schedules,
        "Pause a schedule",
        "Its times pass, and are not made up for. A firing that waits goes on waiting. A schedule that has \
         ended cannot be paused.",
        json!({ "schedule_id": items::SCHEDULE, "note": "Holidays" }),
    )
    .keyed()
    .answers::<ScheduleItem<'_>>(items::example())
    .refuses(&[Code::ScheduleNotFound, Code::InvalidTransition])
}

/// `POST /v1/schedule/pause`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let id = required.text("schedule_id", body.schedule_id);
    required.check()?;
    let (id, note) = (schedule_id(&id), body.note.as_deref());
    let schedules = &state.engine.schedules;
    let changed = schedules.pause(&caller, id, note, key.as_deref()).await?;
    answered(&changed, ScheduleItem::from)
}
