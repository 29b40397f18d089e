use rerun_core::ids::{CampaignId, RunNumber};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::{campaign_id, run_number};
use crate::state::State;
use crate::wire::{Answer, answered};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunArchiveRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// A run of the campaign.
    #[schema(value_type = schema::RunNumber, required)]
    run_number: Option<Integer>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunArchiveResponse)]
struct Response {
    /// The campaign.
    #[schema(value_type = Uuid)]
    campaign_id: CampaignId,
    #[schema(value_type = schema::RunNumber)]
    run_number: RunNumber,
    /// How many messages were archived.
    archived_messages: u32,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "Archive a past run",
        "Archives what is still active of a past run; `archived_messages` is 0 when nothing is.",
        json!({ "campaign_id": examples::CAMPAIGN, "run_number": 1 }),
    )
    .keyed()
    .answers::<Response>(json!({
        "campaign_id": examples::CAMPAIGN,
        "run_number": 1,
        "archived_messages": 0,
    }))
    .refuses(&[
        Code::CampaignNotFound,
        Code::RunNotFound,
        Code::CurrentRunArchive,
    ])
}

/// `POST /v1/campaign/rerun/archive`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let number = required.value("run_number", body.run_number);
    required.check()?;
    let campaign_id = campaign_id(&campaign);
    let run_number = run_number(&state, &caller, campaign_id, number).await?;
    let archived = state
        .engine
        .reruns
        .archive(&caller, campaign_id, Some(run_number), key.as_deref())
        .await?;
    answered(&archived, |&archived_messages| Response {
        campaign_id,
        run_number,
        archived_messages,
    })
}
