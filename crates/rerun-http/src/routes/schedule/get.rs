use rerun_wire::api::schedule::items::{OfSchedule, ScheduleItem};

use super::items::named;
use crate::answer::{self, Answer};
use crate::extract::JsonCall;
use crate::state::State;

/// `POST /v1/schedule/get`
pub(crate) async fn handle(state: State, call: JsonCall<OfSchedule>) -> Answer {
    let JsonCall { caller, body } = call;
    let found = state.engine.schedules.get(&caller, named(body)?).await?;
    answer::json(&ScheduleItem::from(&found))
}
