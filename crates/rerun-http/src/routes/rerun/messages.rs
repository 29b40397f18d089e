use rerun_core::ids::{CampaignId, RunNumber};
use rerun_core::ports::MessageSelection;
use rerun_core::usecases::MessageQuery;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{JsonCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::{campaign_id, one_of, page, run_number};
use crate::state::State;
use crate::wire::{self, Answer, MessageItem, MessageNumbers};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunMessagesRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// A run of the campaign; without it, the current one.
    #[schema(value_type = Option<schema::RunNumber>)]
    run_number: Option<Integer>,
    /// With `true` and no `run_number`: the messages of every run, newest run first.
    #[schema(default = false)]
    include_archived: Option<bool>,
    /// Only messages with this status.
    #[schema(value_type = Option<schema::ReviewStatus>)]
    review_status: Option<String>,
    /// Only messages that wait for this one of the campaign's stages.
    #[schema(value_type = Option<schema::StageName>)]
    approval_stage: Option<String>,
    /// Only messages with this source.
    #[schema(value_type = Option<schema::Source>)]
    source: Option<String>,
    /// Only messages of segments of which some value contains this text, ignoring letter case.
    #[schema(min_length = 1, max_length = 100, pattern = "^[^\\u0000]*$")]
    segment: Option<String>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<Integer>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunMessagesResponse)]
struct Response<'a> {
    /// The campaign.
    #[schema(value_type = Uuid)]
    campaign_id: CampaignId,
    /// The run; `null` for those of every run.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    run_number: Option<RunNumber>,
    /// The numbers of the whole run, whatever the filters; `null` for a list of every run, and
    /// before the first run.
    #[schema(required)]
    counts: Option<MessageNumbers>,
    /// The messages, in the order of their segments.
    messages: Vec<MessageItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    next_cursor: Option<&'a str>,
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

/// `POST /v1/campaign/rerun/messages`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let query = MessageQuery {
        review_status: body
            .review_status
            .map(|status| one_of("review_status", &status))
            .transpose()?,
        approval_stage: body.approval_stage,
        source: body
            .source
            .map(|source| one_of("source", &source))
            .transpose()?,
        segment: body.segment,
    };
    let campaign = campaign_id(&campaign);
    let selection = match body.run_number {
        Some(number) => MessageSelection::Run(run_number(&state, &caller, campaign, number).await?),
        None if body.include_archived == Some(true) => MessageSelection::EveryRun,
        None => MessageSelection::CurrentRun,
    };
    let page = page(body.limit, body.cursor);
    let list = state
        .engine
        .history
        .find_messages(&caller, campaign, selection, &query, &page)
        .await?;
    let run_number = match selection {
        MessageSelection::Run(number) => Some(number),
        MessageSelection::EveryRun => None,
        // The pages of a list stay with the run of its first page.
        MessageSelection::CurrentRun => list
            .messages
            .items
            .first()
            .map(|message| message.run_number)
            .or(list.current_run),
    };
    let run = match run_number {
        Some(number) => Some(state.engine.history.run(&caller, campaign, number).await?),
        None => None,
    };
    wire::json(&Response {
        campaign_id: campaign,
        run_number,
        counts: run.as_ref().map(MessageNumbers::from),
        messages: list
            .messages
            .items
            .iter()
            .map(|item| MessageItem::new(&list.approval_stages, item))
            .collect(),
        next_cursor: list.messages.next_cursor.as_deref(),
    })
}
