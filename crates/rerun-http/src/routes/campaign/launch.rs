use serde::Deserialize;

use crate::extract::{KeyedCall, Required, State};
use crate::request_id::note_run;
use crate::routes::campaign_id;
use crate::wire::{Answer, RunStartedItem, answered};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
}

/// `POST /v1/campaign/launch`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let campaign = campaign_id(&campaign);
    let started = state
        .engine
        .reruns
        .launch(&caller, campaign, key.as_deref())
        .await?;
    note_run(started.outcome.run_number);
    if !started.replayed {
        (state.wake)();
    }
    answered(&started, RunStartedItem::from)
}
