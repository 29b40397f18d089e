use serde::Deserialize;

use super::rerun_request;
use crate::error::Problem;
use crate::extract::{KeyedCall, State};
use crate::request_id::note_run;
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
        .await
        .inspect_err(|error| {
            let code = Problem::of_use_case(error).code;
            state.metrics.rerun_came_to(code);
        })?;
    note_run(started.outcome.run_number);
    if started.replayed {
        state.metrics.rerun_came_to("replayed");
    } else {
        state.metrics.rerun_initiated(started.outcome.segments);
    }
    if !started.replayed && started.outcome.segments.new > 0 {
        (state.wake)();
    }
    answered(&started, RunStartedItem::from)
}
