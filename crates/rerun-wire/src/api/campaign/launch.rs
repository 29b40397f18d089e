use serde::Deserialize;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::RunStartedItem;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignLaunchRequest)]
pub struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// Whether fields to segment by that no customer of the group has are allowed. By default
    /// they are refused. This applies to this request only.
    #[schema(default = false)]
    pub allow_missing_fields: Option<bool>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Start the first run of a draft",
        "Every segment of the campaign's group gets a message, which is generated.",
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
