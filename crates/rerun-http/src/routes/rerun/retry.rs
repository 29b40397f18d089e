use rerun_wire::api::rerun::retry::Request;
use rerun_wire::items::QueuedItem;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;

/// `POST /v1/campaign/rerun/retry`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let campaign = campaign_id(&campaign);
    let queued = state
        .engine
        .reviews
        .retry(&caller, campaign, key.as_deref())
        .await?;
    note_run(queued.outcome.run_number);
    if !queued.replayed {
        (state.wake)();
    }
    answered(&queued, QueuedItem::from)
}
