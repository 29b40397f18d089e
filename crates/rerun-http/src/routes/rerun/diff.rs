use rerun_wire::api::rerun::diff::{Item, Request, Response};

use crate::answer::{self, Answer};
use crate::extract::{JsonCall, Required};
use crate::routes::params::{campaign_id, page, run_number};
use crate::state::State;

/// `POST /v1/campaign/rerun/diff`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let from = required.value("from_run", body.from_run);
    let to = required.value("to_run", body.to_run);
    required.check()?;
    let campaign_id = campaign_id(&campaign);
    let from_run = run_number(&state, &caller, campaign_id, from).await?;
    let to_run = run_number(&state, &caller, campaign_id, to).await?;
    let page = page(body.limit, body.cursor);
    let (counts, found) = state
        .engine
        .history
        .diff(&caller, campaign_id, from_run, to_run, &page)
        .await?;
    let items = found.items.iter().map(|item| Item {
        segment: &item.segment,
        change: item.change,
        from: item.from,
        to: item.to,
    });
    answer::json(&Response {
        campaign_id,
        from_run,
        to_run,
        counts,
        items: items.collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
