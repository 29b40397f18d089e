use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::{JsonCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::routes::params::campaign_id;
use crate::state::State;
use crate::wire::{Answer, CampaignItem, json};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignGetRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Get a campaign",
        "With the status that follows from the messages of its current run.",
        examples::campaign_id(),
    )
    .answers::<CampaignItem<'_>>(examples::campaign())
    .refuses(&[Code::CampaignNotFound])
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
