use rerun_wire::api::rerun::archive::{Request, Response};

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::{campaign_id, run_number};
use crate::state::State;

/// `POST /v1/campaign/rerun/archive`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let number = required.value("run_number", body.run_number);
    required.check()?;
    let campaign_id = campaign_id(&campaign);
    let run_number = run_number(&state, &caller, campaign_id, number).await?;
    let archived = state
        .engine
        .reruns
        .archive(&caller, campaign_id, Some(run_number), key.as_deref())
        .await?;
    answered(&archived, |&archived_messages| Response {
        campaign_id,
        run_number,
        archived_messages,
    })
}
