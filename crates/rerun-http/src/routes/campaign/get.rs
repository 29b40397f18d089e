use rerun_wire::api::campaign::get::Request;
use rerun_wire::items::CampaignItem;

use crate::answer::{self, Answer};
use crate::extract::{JsonCall, Required};
use crate::routes::params::campaign_id;
use crate::state::State;

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
    answer::json(&CampaignItem::from(&campaign))
}
