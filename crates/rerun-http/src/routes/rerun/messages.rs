use rerun_core::ids::{CampaignId, RunNumber};
use rerun_core::ports::MessageSelection;
use serde::{Deserialize, Serialize};

use crate::extract::{Integer, JsonCall, Required, State};
use crate::routes::{campaign_id, page, run_number};
use crate::wire::{Answer, MessageItem, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
    run_number: Option<Integer>,
    include_archived: Option<bool>,
    limit: Option<Integer>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Response<'a> {
    campaign_id: CampaignId,
    run_number: Option<RunNumber>,
    messages: Vec<MessageItem<'a>>,
    next_cursor: Option<&'a str>,
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
    json(&Response {
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
