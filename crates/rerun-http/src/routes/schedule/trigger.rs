use rerun_wire::api::schedule::items::{FiringItem, OfSchedule};

use super::items::named;
use crate::answer::{Answer, answered};
use crate::extract::KeyedCall;
use crate::state::State;

/// `POST /v1/schedule/trigger`
pub(crate) async fn handle(state: State, call: KeyedCall<OfSchedule>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let schedules = &state.engine.schedules;
    let decided = schedules
        .trigger(&caller, named(body)?, key.as_deref())
        .await?;
    if !decided.replayed {
        state.metrics.schedule_triggered(&decided.outcome);
        (state.wake)();
    }
    answered(&decided, |decided| FiringItem::from(&decided.firing))
}
