use rerun_core::usecases::LaunchRequest;
use rerun_wire::api::campaign::launch::Request;
use rerun_wire::items::RunStartedItem;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;

/// `POST /v1/campaign/launch`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let request = LaunchRequest {
        campaign: campaign_id(&campaign),
        allow_missing_fields: body.allow_missing_fields.unwrap_or_default(),
    };
    let started = state
        .engine
        .reruns
        .launch(&caller, request, key.as_deref())
        .await?;
    note_run(started.outcome.run_number);
    if !started.replayed {
        (state.wake)();
    }
    answered(&started, RunStartedItem::from)
}
