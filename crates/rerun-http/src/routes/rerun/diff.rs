use rerun_core::ids::{CampaignId, MessageId, RunNumber};
use rerun_core::ports::{DiffChange, DiffCounts};
use rerun_core::segment::Segment;
use serde::{Deserialize, Serialize};

use crate::extract::{Integer, JsonCall, Required, State};
use crate::routes::{campaign_id, page, run_number};
use crate::wire::{Answer, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
    from_run: Option<Integer>,
    to_run: Option<Integer>,
    limit: Option<Integer>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Item<'a> {
    segment: &'a Segment,
    change: DiffChange,
    from: Option<MessageId>,
    to: Option<MessageId>,
}

#[derive(Serialize)]
struct Response<'a> {
    campaign_id: CampaignId,
    from_run: RunNumber,
    to_run: RunNumber,
    counts: DiffCounts,
    items: Vec<Item<'a>>,
    next_cursor: Option<&'a str>,
}

/// `POST /v1/campaign/rerun/diff`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let from = required.value("from_run", body.from_run);
    let to = required.value("to_run", body.to_run);
    required.check()?;
    let campaign_id = campaign_id(&campaign);
    let from_run = run_number(&state, &caller, campaign_id, from).await?;
    let to_run = run_number(&state, &caller, campaign_id, to).await?;
    let page = page(body.limit, body.cursor);
    let (counts, found) = state
        .engine
        .history
        .diff(&caller, campaign_id, from_run, to_run, &page)
        .await?;
    let items = found.items.iter().map(|item| Item {
        segment: &item.segment,
        change: item.change,
        from: item.from,
        to: item.to,
    });
    json(&Response {
        campaign_id,
        from_run,
        to_run,
        counts,
        items: items.collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
