use rerun_core::campaign::CampaignStatus;
use rerun_core::ids::{CampaignId, RunNumber};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignPublishRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CampaignPublishResponse)]
pub struct Response {
    /// The id of the campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    #[schema(value_type = schema::RunNumber)]
    pub run_number: RunNumber,
    #[schema(value_type = schema::CampaignStatus)]
    pub campaign_status: CampaignStatus,
    /// How many messages were published.
    pub published_messages: u32,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Publish a campaign",
        "Publishes the campaign and every message of its current run. All of these messages must \
         be approved.",
        examples::campaign_id(),
    )
    .keyed()
    .answers::<Response>(json!({
        "campaign_id": examples::CAMPAIGN,
        "run_number": 2,
        "campaign_status": "Published",
        "published_messages": 42,
    }))
    .refuses(&[
        Code::CampaignNotFound,
        Code::InvalidTransition,
        Code::UnfilledPlaceholder,
    ])
}
