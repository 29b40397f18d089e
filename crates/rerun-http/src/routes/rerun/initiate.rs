use rerun_wire::api::rerun::initiate::Request;
use rerun_wire::items::RunStartedItem;

use super::rerun_request;
use crate::answer::{Answer, answered};
use crate::error::Problem;
use crate::extract::KeyedCall;
use crate::request_id::note_run;
use crate::state::State;

/// `POST /v1/campaign/rerun/initiate`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let request = rerun_request(
        body.campaign_id,
        body.new_customer_group_id,
        body.reuse_from.as_deref(),
        body.allow_missing_fields,
    )?;
    let started = state
        .engine
        .reruns
        .initiate(&caller, request, key.as_deref())
        .await
        .inspect_err(|error| {
            let code = Problem::of_use_case(error).code.as_str();
            state.metrics.rerun_came_to(code);
        })?;
    note_run(started.outcome.run_number);
    if started.replayed {
        state.metrics.rerun_came_to("replayed");
    } else {
        state
            .metrics
            .rerun_initiated(started.outcome.segments, started.outcome.saved);
    }
    if !started.replayed && started.outcome.segments.new > 0 {
        (state.wake)();
    }
    answered(&started, RunStartedItem::from)
}
