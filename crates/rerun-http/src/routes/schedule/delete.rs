use rerun_core::ids::ScheduleId;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::items::{self, OfSchedule};
use crate::extract::KeyedCall;
use crate::openapi::{Code, Docs, Tag};
use crate::state::State;
use crate::wire::{Answer, answered};

#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleDeleteResponse)]
struct Response {
    /// The schedule that is gone.
    #[schema(value_type = Uuid)]
    schedule_id: ScheduleId,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<OfSchedule>(
        Tag::Schedules,
        "Delete a schedule",
        "With its firings. Runs that it started stay.",
        items::example_id(),
    )
    .keyed()
    .answers::<Response>(json!({ "schedule_id": items::SCHEDULE }))
    .refuses(&[Code::ScheduleNotFound])
}

/// `POST /v1/schedule/delete`
pub(crate) async fn handle(state: State, call: KeyedCall<OfSchedule>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let schedule_id = body.id()?;
    let schedules = &state.engine.schedules;
    let deleted = schedules
        .delete(&caller, schedule_id, key.as_deref())
        .await?;
    answered(&deleted, |()| Response { schedule_id })
}
