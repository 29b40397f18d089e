use serde::Deserialize;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::CampaignItem;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignGetRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Get a campaign",
        "Returns the campaign with its current status, which follows from the messages of its \
         current run.",
        examples::campaign_id(),
    )
    .answers::<CampaignItem<'_>>(examples::campaign())
    .refuses(&[Code::CampaignNotFound])
}
