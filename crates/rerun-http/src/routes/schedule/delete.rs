use rerun_wire::api::schedule::delete::Response;
use rerun_wire::api::schedule::items::OfSchedule;

use super::items::named;
use crate::answer::{Answer, answered};
use crate::extract::KeyedCall;
use crate::state::State;

/// `POST /v1/schedule/delete`
pub(crate) async fn handle(state: State, call: KeyedCall<OfSchedule>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let schedule_id = named(body)?;
    let schedules = &state.engine.schedules;
    let deleted = schedules
        .delete(&caller, schedule_id, key.as_deref())
        .await?;
    answered(&deleted, |()| Response { schedule_id })
}
