use rerun_wire::api::rerun::history::{Request, Response};
use rerun_wire::items::RunItem;

use crate::answer::{self, Answer};
use crate::extract::{JsonCall, Required};
use crate::routes::params::{campaign_id, page};
use crate::state::State;

/// `POST /v1/campaign/rerun/history`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let page = page(body.limit, body.cursor);
    let id = campaign_id(&campaign);
    let list = state.engine.history.runs(&caller, id, &page).await?;
    answer::json(&Response {
        campaign_id: id,
        campaign_status: list.campaign_status,
        current_run_number: list.current_run,
        runs: list
            .runs
            .items
            .iter()
            .map(|run| RunItem::new(list.current_run, run))
            .collect(),
        next_cursor: list.runs.next_cursor.as_deref(),
    })
}
