use rerun_core::campaign::CampaignStatus;
use rerun_core::ids::{CampaignId, RunNumber};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunCancelRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The reason for the cancellation.
    #[schema(
        min_length = 1,
        max_length = 2_000,
        pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
    )]
    pub reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunCancelResponse)]
pub struct Response {
    /// The id of the campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    /// The number of the run that was cancelled.
    #[schema(value_type = schema::RunNumber)]
    pub run_number: RunNumber,
    #[schema(value_type = schema::CampaignStatus)]
    pub campaign_status: CampaignStatus,
    /// The number of the run that is current again; `null` for a draft.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    pub current_run_number: Option<RunNumber>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "Cancel a run that is not published",
        "Cancels the current run. The previous run becomes current again: its messages are no \
         longer archived, and the campaign is `Published`. Without a previous run, the \
         campaign is a `Draft`. The cancelled run stays in the history.",
        json!({ "campaign_id": examples::CAMPAIGN, "reason": "The wrong audience" }),
    )
    .keyed()
    .answers::<Response>(json!({
        "campaign_id": examples::CAMPAIGN,
        "run_number": 2,
        "campaign_status": "Published",
        "current_run_number": 1,
    }))
    .refuses(&[Code::CampaignNotFound, Code::InvalidTransition])
}
