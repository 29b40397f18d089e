use rerun_wire::api::rerun::cancel::{Request, Response};

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;

/// `POST /v1/campaign/rerun/cancel`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let reason = body.reason.as_deref();
    let cancelled = state
        .engine
        .reruns
        .cancel(&caller, campaign_id(&campaign), reason, key.as_deref())
        .await?;
    note_run(cancelled.outcome.run_number);
    answered(&cancelled, |cancelled| Response {
        campaign_id: cancelled.campaign_id,
        run_number: cancelled.run_number,
        campaign_status: cancelled.campaign_status,
        current_run_number: cancelled.current_run_number,
    })
}
