use rerun_wire::api::schedule::items::{OfSchedule, ScheduleItem};

use super::items::named;
use crate::answer::{Answer, answered};
use crate::extract::KeyedCall;
use crate::state::State;

/// `POST /v1/schedule/resume`
pub(crate) async fn handle(state: State, call: KeyedCall<OfSchedule>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let schedules = &state.engine.schedules;
    let changed = schedules
        .resume(&caller, named(body)?, key.as_deref())
        .await?;
    answered(&changed, ScheduleItem::from)
}
