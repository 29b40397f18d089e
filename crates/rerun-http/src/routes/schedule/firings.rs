use rerun_wire::api::schedule::firings::{Request, Response};
use rerun_wire::api::schedule::items::FiringItem;

use crate::answer::{self, Answer};
use crate::extract::{JsonCall, Required};
use crate::routes::params::{one_of, page, schedule_id};
use crate::state::State;

/// `POST /v1/schedule/firings`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let id = required.text("schedule_id", body.schedule_id);
    required.check()?;
    let outcome = body.outcome.map(|text| one_of("outcome", &text));
    let page = page(body.limit, body.cursor);
    let schedules = &state.engine.schedules;
    let found = schedules
        .firings(&caller, schedule_id(&id), outcome.transpose()?, &page)
        .await?;
    answer::json(&Response {
        firings: found.items.iter().map(FiringItem::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
