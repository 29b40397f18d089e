use rerun_core::campaign::CampaignStatus;
use rerun_core::ids::{CampaignId, RunNumber};
use serde::{Deserialize, Serialize};

use crate::extract::{KeyedCall, Required, State};
use crate::request_id::note_run;
use crate::routes::campaign_id;
use crate::wire::{Answer, answered};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
}

#[derive(Serialize)]
struct Response {
    campaign_id: CampaignId,
    run_number: RunNumber,
    campaign_status: CampaignStatus,
    published_messages: u32,
}

/// `POST /v1/campaign/publish`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let campaign = campaign_id(&campaign);
    let published = state
        .engine
        .reviews
        .publish(&caller, campaign, key.as_deref())
        .await?;
    note_run(published.outcome.run_number);
    answered(&published, |changed| Response {
        campaign_id: changed.campaign_id,
        run_number: changed.run_number,
        campaign_status: changed.campaign_status,
        published_messages: changed.messages,
    })
}
