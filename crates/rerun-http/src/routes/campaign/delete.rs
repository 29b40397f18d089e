use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::routes::params::campaign_id;
use crate::state::State;
use crate::wire::{Answer, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignDeleteRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CampaignDeleteResponse)]
struct Response {
    /// How many messages its runs had.
    #[schema(minimum = 0)]
    deleted_messages: u64,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Delete a campaign",
        "With its runs, their messages, what these say, and its segments. It cannot be taken back. \
         From then on the campaign is not found; its audit entries stay. A campaign that is \
         `Processing` cannot be deleted.",
        examples::campaign_id(),
    )
    .keyed()
    .answers::<Response>(json!({ "deleted_messages": 79 }))
    .refuses(&[Code::CampaignNotFound, Code::InvalidTransition])
}

/// `POST /v1/campaign/delete`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let deleted = state
        .engine
        .campaigns
        .delete(&caller, campaign_id(&campaign), key.as_deref())
        .await?;
    answered(&deleted, |messages| Response {
        deleted_messages: *messages,
    })
}
