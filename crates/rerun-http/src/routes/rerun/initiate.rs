use serde::Deserialize;

use super::rerun_request;
use crate::extract::{KeyedCall, State};
use crate::wire::{Answer, RunStartedItem, answered};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
    new_customer_group_id: Option<String>,
    reuse_from: Option<String>,
}

/// `POST /v1/campaign/rerun/initiate`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let request = rerun_request(
        body.campaign_id,
        body.new_customer_group_id,
        body.reuse_from.as_deref(),
    )?;
    let started = state
        .engine
        .reruns
        .initiate(&caller, request, key.as_deref())
        .await?;
    if !started.replayed && started.outcome.segments.new > 0 {
        (state.wake)();
    }
    answered(&started, RunStartedItem::from)
}
