use rerun_wire::api::schedule::items::ScheduleItem;
use rerun_wire::api::schedule::list::{Request, Response};

use crate::answer::{self, Answer};
use crate::extract::JsonCall;
use crate::routes::params::page;
use crate::state::State;

/// `POST /v1/schedule/list`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let page = page(body.limit, body.cursor);
    let found = state.engine.schedules.list(&caller, &page).await?;
    answer::json(&Response {
        schedules: found.items.iter().map(ScheduleItem::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
