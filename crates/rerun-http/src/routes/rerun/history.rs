use rerun_core::campaign::CampaignStatus;
use rerun_core::ids::{CampaignId, RunNumber};
use serde::{Deserialize, Serialize};

use crate::extract::{Integer, JsonCall, Required, State};
use crate::routes::{campaign_id, page};
use crate::wire::{Answer, RunItem, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
    limit: Option<Integer>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Response<'a> {
    campaign_id: CampaignId,
    campaign_status: CampaignStatus,
    current_run_number: Option<RunNumber>,
    runs: Vec<RunItem<'a>>,
    next_cursor: Option<&'a str>,
}

/// `POST /v1/campaign/rerun/history`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let page = page(body.limit, body.cursor);
    let id = campaign_id(&campaign);
    let list = state.engine.history.runs(&caller, id, &page).await?;
    json(&Response {
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
