use serde::Deserialize;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::CampaignItem;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignGetRequest)]
pub struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
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
