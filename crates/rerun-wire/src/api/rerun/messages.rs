use rerun_core::ids::{CampaignId, RunNumber};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::{MessageItem, MessageNumbers};
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunMessagesRequest)]
pub struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// A run of the campaign; without it, the current one.
    #[schema(value_type = Option<schema::RunNumber>)]
    pub run_number: Option<Integer>,
    /// With `true` and no `run_number`: the messages of every run, newest run first.
    #[schema(default = false)]
    pub include_archived: Option<bool>,
    /// Only messages with this status.
    #[schema(value_type = Option<schema::ReviewStatus>)]
    pub review_status: Option<String>,
    /// Only messages that wait for this one of the campaign's stages.
    #[schema(value_type = Option<schema::StageName>)]
    pub approval_stage: Option<String>,
    /// Only messages with this source.
    #[schema(value_type = Option<schema::Source>)]
    pub source: Option<String>,
    /// Only messages of segments of which some value contains this text, ignoring letter case.
    #[schema(min_length = 1, max_length = 100, pattern = "^[^\\u0000]*$")]
    pub segment: Option<String>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunMessagesResponse)]
pub struct Response<'a> {
    /// The campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    /// The run; `null` for those of every run.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    pub run_number: Option<RunNumber>,
    /// The numbers of the whole run, whatever the filters; `null` for a list of every run, and
    /// before the first run.
    #[schema(required)]
    pub counts: Option<MessageNumbers>,
    /// The messages, in the order of their segments.
    pub messages: Vec<MessageItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "List messages",
        "With `run_number`: that run's messages, archived or not. Without: those of the current \
         run. With `include_archived` and no `run_number`: those of every run, newest run first. \
         Filters narrow the list; `counts` has the numbers of the whole run all the same.",
        json!({
            "campaign_id": examples::CAMPAIGN, "run_number": 2, "review_status": "Approved",
            "source": "reused", "segment": "de", "limit": 100,
        }),
    )
    .answers::<Response<'_>>(json!({
        "campaign_id": examples::CAMPAIGN,
        "run_number": 2,
        "counts": examples::run()["messages"],
        "messages": [examples::message()],
        "next_cursor": null,
    }))
    .refuses(&[Code::CampaignNotFound, Code::RunNotFound])
}
