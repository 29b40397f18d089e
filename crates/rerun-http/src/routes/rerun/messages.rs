use rerun_core::ids::{CampaignId, RunNumber};
use rerun_core::ports::MessageSelection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{JsonCall, Required};
use crate::json::Integer;
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::{campaign_id, page, run_number};
use crate::state::State;
use crate::wire::{self, Answer, MessageItem};

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
         run. With `include_archived` and no `run_number`: those of every run, newest run first.",
        json!({ "campaign_id": examples::CAMPAIGN, "run_number": 2, "limit": 100 }),
    )
    .answers::<Response<'_>>(json!({
        "campaign_id": examples::CAMPAIGN,
        "run_number": 2,
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
        .messages(&caller, campaign, selection, &page)
        .await?;
    wire::json(&Response {
        campaign_id: campaign,
        run_number: match selection {
            MessageSelection::Run(number) => Some(number),
            MessageSelection::EveryRun => None,
            // A list that began before a rerun goes on with the run that it began with.
            MessageSelection::CurrentRun => list
                .messages
                .items
                .first()
                .map(|message| message.run_number)
                .or(list.current_run),
        },
        messages: list
            .messages
            .items
            .iter()
            .map(|item| MessageItem::new(&list.approval_stages, item))
            .collect(),
        next_cursor: list.messages.next_cursor.as_deref(),
    })
}
