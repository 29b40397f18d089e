use rerun_core::ports::MessageSelection;
use rerun_core::usecases::MessageQuery;
use rerun_wire::api::rerun::messages::{Request, Response};
use rerun_wire::items::{MessageItem, MessageNumbers};

use crate::answer::{self, Answer};
use crate::extract::{JsonCall, Required};
use crate::routes::params::{campaign_id, one_of, page, run_number};
use crate::state::State;

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
    answer::json(&Response {
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
