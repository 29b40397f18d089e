use rerun_core::campaign::CampaignStatus;
use rerun_core::ids::{CampaignId, RunNumber};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;
use crate::wire::{Answer, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignPublishRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CampaignPublishResponse)]
struct Response {
    /// The campaign.
    #[schema(value_type = Uuid)]
    campaign_id: CampaignId,
    #[schema(value_type = schema::RunNumber)]
    run_number: RunNumber,
    #[schema(value_type = schema::CampaignStatus)]
    campaign_status: CampaignStatus,
    /// How many messages were published.
    published_messages: u32,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Publish a campaign",
        "With every message of its current run, all of which are approved.",
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

/// `POST /v1/campaign/publish`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let campaign = campaign_id(&campaign);
    let published = state
        .engine
        .reviews
        .publish(&caller, campaign, key.as_deref())
        .await?;
    note_run(published.outcome.run_number);
    answered(&published, |changed| Response {
        campaign_id: changed.campaign_id,
        run_number: changed.run_number,
        campaign_status: changed.campaign_status,
        published_messages: changed.messages,
    })
}
