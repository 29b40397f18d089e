use serde::Deserialize;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::RunStartedItem;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignLaunchRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// Whether to allow fields to segment by for which no customer of the group has a value. By
    /// default they are refused. This applies to this request only.
    #[schema(default = false)]
    pub allow_missing_fields: Option<bool>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Launch a campaign",
        "Starts the first run of a `Draft`. A message is generated for every segment of the \
         campaign's group.",
        examples::campaign_id(),
    )
    .keyed()
    .answers::<RunStartedItem<'_>>(examples::launched())
    .refuses(&[
        Code::CampaignNotFound,
        Code::InvalidTransition,
        Code::EmptyCustomerGroup,
        Code::UnknownSegmentField,
        Code::TooManySegments,
    ])
}
