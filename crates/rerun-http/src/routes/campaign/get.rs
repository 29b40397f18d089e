use serde::Deserialize;

use crate::extract::{JsonCall, Required, State};
use crate::routes::campaign_id;
use crate::wire::{Answer, CampaignItem, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
}

/// `POST /v1/campaign/get`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let campaign = state
        .engine
        .campaigns
        .get(&caller, campaign_id(&campaign))
        .await?;
    json(&CampaignItem::from(&campaign))
}
