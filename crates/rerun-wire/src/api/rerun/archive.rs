use rerun_core::ids::{CampaignId, RunNumber};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunArchiveRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The number of a past run of the campaign.
    #[schema(value_type = schema::RunNumber, required)]
    pub run_number: Option<Integer>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunArchiveResponse)]
pub struct Response {
    /// The id of the campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    #[schema(value_type = schema::RunNumber)]
    pub run_number: RunNumber,
    /// How many messages were archived.
    pub archived_messages: u32,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "Archive a past run",
        "Archives the messages of a past run that are still active. If there are none, \
         `archived_messages` is 0.",
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
