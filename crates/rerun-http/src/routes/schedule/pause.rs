use rerun_wire::api::schedule::items::ScheduleItem;
use rerun_wire::api::schedule::pause::Request;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::schedule_id;
use crate::state::State;

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
