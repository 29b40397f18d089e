use rerun_wire::api::schedule::preview::{PatternTime, Request, Response};

use super::items::time;
use crate::answer::{self, Answer};
use crate::extract::{JsonCall, Required};
use crate::state::State;

/// `POST /v1/schedule/preview`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller: _, body } = call;
    let mut required = Required::default();
    let cron = required.text("cron", body.cron);
    required.check()?;
    let from = body.from.map(|from| time("from", &from)).transpose()?;
    let limit = body.limit.map(|limit| limit.0);
    let zone = body.time_zone.as_deref();
    let times = state.engine.schedules.preview(&cron, zone, from, limit)?;
    answer::json(&Response {
        times: times.iter().map(PatternTime::from).collect(),
    })
}
