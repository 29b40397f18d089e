use rerun_core::campaign::CampaignStatus;
use rerun_core::ids::{CampaignId, RunNumber};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::RunItem;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunHistoryRequest)]
pub struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunHistoryResponse)]
pub struct Response<'a> {
    /// The campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    #[schema(value_type = schema::CampaignStatus)]
    pub campaign_status: CampaignStatus,
    /// The run that is current; `null` for a draft.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    pub current_run_number: Option<RunNumber>,
    /// The runs, newest first.
    pub runs: Vec<RunItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "List the runs of a campaign",
        "All runs, newest first, with what each reused, generated and published, and with what \
         reuse saved. A campaign that has messages but no recorded run, brought in from elsewhere, has one synthesised entry.",
        examples::campaign_id(),
    )
    .answers::<Response<'_>>(json!({
        "campaign_id": examples::CAMPAIGN,
        "campaign_status": "Published",
        "current_run_number": 2,
        "runs": [examples::run()],
        "next_cursor": null,
    }))
    .refuses(&[Code::CampaignNotFound])
}
