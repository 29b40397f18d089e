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
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The number of a run of the campaign; by default the current run.
    #[schema(value_type = Option<schema::RunNumber>)]
    pub run_number: Option<Integer>,
    /// Whether to return the messages of every run, newest run first, if `run_number` is not given.
    #[schema(default = false)]
    pub include_archived: Option<bool>,
    /// Return only messages with this status.
    #[schema(value_type = Option<schema::ReviewStatus>)]
    pub review_status: Option<String>,
    /// Return only messages that wait for this approval stage of the campaign.
    #[schema(value_type = Option<schema::StageName>)]
    pub approval_stage: Option<String>,
    /// Return only messages with this source.
    #[schema(value_type = Option<schema::Source>)]
    pub source: Option<String>,
    /// Return only messages of segments that have a value which contains this text, ignoring letter
    /// case.
    #[schema(min_length = 1, max_length = 100, pattern = "^[^\\u0000]*$")]
    pub segment: Option<String>,
    /// The maximum number of items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// The `next_cursor` of the previous page. Leave it out for the first page.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunMessagesResponse)]
pub struct Response<'a> {
    /// The id of the campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    /// The number of the run; `null` if the list has the messages of every run.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    pub run_number: Option<RunNumber>,
    /// The numbers of messages of the whole run, regardless of the filters; `null` for a list of
    /// every run, and before the first run.
    #[schema(required)]
    pub counts: Option<MessageNumbers>,
    /// The messages, ordered by their segments.
    pub messages: Vec<MessageItem<'a>>,
    /// The `cursor` for the next page; `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "List messages",
        "With `run_number`, returns the messages of that run, archived or not. Without it, \
         returns those of the current run, or with `include_archived` those of every run, newest \
         run first. Filters apply to the list of messages, but not to `counts`, which counts the \
         whole run.",
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
