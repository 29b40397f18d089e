use serde::Deserialize;

use crate::extract::{KeyedCall, Required, State};
use crate::request_id::note_run;
use crate::routes::campaign_id;
use crate::wire::{Answer, QueuedItem, answered};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
}

/// `POST /v1/campaign/rerun/retry`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let campaign = campaign_id(&campaign);
    let queued = state
        .engine
        .reviews
        .retry(&caller, campaign, key.as_deref())
        .await?;
    note_run(queued.outcome.run_number);
    if !queued.replayed {
        (state.wake)();
    }
    answered(&queued, QueuedItem::from)
}
