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
#[schema(as = RerunCancelRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// Why.
    #[schema(
        min_length = 1,
        max_length = 2_000,
        pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
    )]
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunCancelResponse)]
struct Response {
    /// The campaign.
    #[schema(value_type = Uuid)]
    campaign_id: CampaignId,
    /// The run that was cancelled.
    #[schema(value_type = schema::RunNumber)]
    run_number: RunNumber,
    #[schema(value_type = schema::CampaignStatus)]
    campaign_status: CampaignStatus,
    /// The run that is current again; `null` for a draft.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    current_run_number: Option<RunNumber>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "Take back a run that is not published",
        "The campaign gets its previous run back, un-archived and `Published`; without one it is \
         a `Draft`. The cancelled run stays in the history.",
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

/// `POST /v1/campaign/rerun/cancel`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let reason = body.reason.as_deref();
    let cancelled = state
        .engine
        .reruns
        .cancel(&caller, campaign_id(&campaign), reason, key.as_deref())
        .await?;
    note_run(cancelled.outcome.run_number);
    answered(&cancelled, |cancelled| Response {
        campaign_id: cancelled.campaign_id,
        run_number: cancelled.run_number,
        campaign_status: cancelled.campaign_status,
        current_run_number: cancelled.current_run_number,
    })
}
