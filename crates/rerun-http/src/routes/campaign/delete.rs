use rerun_wire::api::campaign::delete::{Request, Response};

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::campaign_id;
use crate::state::State;

/// `POST /v1/campaign/delete`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let deleted = state
        .engine
        .campaigns
        .delete(&caller, campaign_id(&campaign), key.as_deref())
        .await?;
    answered(&deleted, |messages| Response {
        deleted_messages: *messages,
    })
}
