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
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The maximum number of items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// The `next_cursor` of the previous page. Leave it out for the first page.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunHistoryResponse)]
pub struct Response<'a> {
    /// The id of the campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    #[schema(value_type = schema::CampaignStatus)]
    pub campaign_status: CampaignStatus,
    /// The number of the current run; `null` for a draft.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    pub current_run_number: Option<RunNumber>,
    /// The runs, newest first.
    pub runs: Vec<RunItem<'a>>,
    /// The `cursor` for the next page; `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "List the runs of a campaign",
        "Returns all runs, newest first, with the numbers of messages that each reused, generated \
         and published, and with what the reuse saved. If the messages of a campaign were \
         imported and none of its runs was recorded, the list has one entry, derived from them.",
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
