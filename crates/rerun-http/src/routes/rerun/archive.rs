use rerun_core::ids::{CampaignId, RunNumber};
use serde::{Deserialize, Serialize};

use crate::extract::{Integer, JsonCall, Required, State};
use crate::routes::{campaign_id, run_number};
use crate::wire::{Answer, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
    run_number: Option<Integer>,
}

#[derive(Serialize)]
struct Response {
    campaign_id: CampaignId,
    run_number: RunNumber,
    archived_messages: u32,
}

/// `POST /v1/campaign/rerun/archive`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let number = required.value("run_number", body.run_number);
    required.check()?;
    let campaign_id = campaign_id(&campaign);
    let run_number = run_number(&state, &caller, campaign_id, number).await?;
    let archived_messages = state
        .engine
        .reruns
        .archive(&caller, campaign_id, Some(run_number))
        .await?;
    json(&Response {
        campaign_id,
        run_number,
        archived_messages,
    })
}
