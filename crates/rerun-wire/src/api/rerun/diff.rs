use rerun_core::diff::{DiffChange, DiffCounts};
use rerun_core::ids::{CampaignId, MessageId, RunNumber};
use rerun_core::segment::Segment;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunDiffRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The number of the first run.
    #[schema(value_type = schema::RunNumber, required)]
    pub from_run: Option<Integer>,
    /// The number of the second run.
    #[schema(value_type = schema::RunNumber, required)]
    pub to_run: Option<Integer>,
    /// The maximum number of items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// The `next_cursor` of the previous page. Leave it out for the first page.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunDiffItem)]
pub struct Item<'a> {
    #[schema(value_type = schema::Segment)]
    pub segment: &'a Segment,
    #[schema(value_type = schema::DiffChange)]
    pub change: DiffChange,
    /// The id of the first run's message; `null` if the first run does not have the segment.
    #[schema(value_type = Option<Uuid>, required)]
    pub from: Option<MessageId>,
    /// The id of the second run's message; `null` if the second run does not have the segment.
    #[schema(value_type = Option<Uuid>, required)]
    pub to: Option<MessageId>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunDiffResponse)]
pub struct Response<'a> {
    /// The id of the campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    #[schema(value_type = schema::RunNumber)]
    pub from_run: RunNumber,
    #[schema(value_type = schema::RunNumber)]
    pub to_run: RunNumber,
    #[schema(value_type = schema::DiffCounts)]
    pub counts: DiffCounts,
    /// One item for each segment.
    pub items: Vec<Item<'a>>,
    /// The `cursor` for the next page; `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "Compare two runs",
        "Compares the segments of two runs: which were added, which were removed, and which have \
         different content.",
        json!({ "campaign_id": examples::CAMPAIGN, "from_run": 1, "to_run": 2 }),
    )
    .answers::<Response<'_>>(json!({
        "campaign_id": examples::CAMPAIGN,
        "from_run": 1,
        "to_run": 2,
        "counts": { "added": 2, "removed": 1, "kept_same": 40, "kept_changed": 0 },
        "items": [{
            "segment": examples::segment(),
            "change": "kept_same",
            "from": examples::REUSED_MESSAGE,
            "to": examples::MESSAGE,
        }],
        "next_cursor": null,
    }))
    .refuses(&[Code::CampaignNotFound, Code::RunNotFound])
}
