use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{REFUSALS, rerun_request};
use crate::error::Problem;
use crate::extract::KeyedCall;
use crate::openapi::{Docs, Tag, examples, schema};
use crate::request_id::note_run;
use crate::state::State;
use crate::wire::{Answer, RunStartedItem, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunInitiateRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// The group to take the campaign to.
    #[schema(value_type = Uuid, required)]
    new_customer_group_id: Option<String>,
    /// By default the current run.
    #[schema(value_type = Option<schema::ReuseFrom>)]
    reuse_from: Option<String>,
    /// Whether fields to segment by that no customer of the group has are allowed. By default
    /// they are refused. This applies to this request only.
    #[schema(default = false)]
    allow_missing_fields: Option<bool>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "Take a published campaign to a new customer group",
        "In one atomic step: segments of the new group that have a published message reuse it, \
         the others are queued for generation, and the messages of the run before are archived. \
         With new segments the campaign is `Processing`, then `Ready for review`; without, it is \
         `Ready to publish` at once. Of any number of initiates at the same time one succeeds.",
        json!({
            "campaign_id": examples::CAMPAIGN,
            "new_customer_group_id": examples::GROUP,
            "reuse_from": "current_run",
        }),
    )
    .keyed()
    .answers::<RunStartedItem<'_>>(examples::started())
    .refuses(&REFUSALS)
}

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
            let code = Problem::of_use_case(error).code;
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
