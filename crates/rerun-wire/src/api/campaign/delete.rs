use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignDeleteRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CampaignDeleteResponse)]
pub struct Response {
    /// How many messages were deleted.
    #[schema(minimum = 0)]
    pub deleted_messages: u64,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Delete a campaign",
        "Deletes the campaign with its runs, messages, contents and segments. This cannot be \
         undone. Later requests do not find the campaign; its audit entries stay. A campaign that \
         is `Processing` cannot be deleted.",
        examples::campaign_id(),
    )
    .keyed()
    .answers::<Response>(json!({ "deleted_messages": 79 }))
    .refuses(&[Code::CampaignNotFound, Code::InvalidTransition])
}
