use rerun_wire::api::campaign::publish::{Request, Response};

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;

/// `POST /v1/campaign/publish`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let campaign = campaign_id(&campaign);
    let published = state
        .engine
        .reviews
        .publish(&caller, campaign, key.as_deref())
        .await?;
    note_run(published.outcome.run_number);
    answered(&published, |changed| Response {
        campaign_id: changed.campaign_id,
        run_number: changed.run_number,
        campaign_status: changed.campaign_status,
        published_messages: changed.messages,
    })
}
