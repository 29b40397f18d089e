use rerun_core::campaign::CampaignStatus;
use rerun_core::ids::{CampaignId, RunNumber};
use serde::{Deserialize, Serialize};

use crate::extract::{JsonCall, Required, State};
use crate::request_id::note_run;
use crate::routes::campaign_id;
use crate::wire::{Answer, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
    reason: Option<String>,
}

#[derive(Serialize)]
struct Response {
    campaign_id: CampaignId,
    run_number: RunNumber,
    campaign_status: CampaignStatus,
    current_run_number: Option<RunNumber>,
}

/// `POST /v1/campaign/rerun/cancel`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let reason = body.reason.as_deref();
    let cancelled = state
        .engine
        .reruns
        .cancel(&caller, campaign_id(&campaign), reason)
        .await?;
    note_run(cancelled.run_number);
    json(&Response {
        campaign_id: cancelled.campaign_id,
        run_number: cancelled.run_number,
        campaign_status: cancelled.campaign_status,
        current_run_number: cancelled.current_run_number,
    })
}
