use rerun_core::ids::MessageId;
use rerun_wire::api::messages::regenerate::Request;
use rerun_wire::items::QueuedItem;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;

/// `POST /v1/campaign/messages/regenerate`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let ids = required.list("message_ids", body.message_ids);
    required.check()?;
    let ids: Vec<_> = ids.iter().map(|id| MessageId::parse(id)).collect();
    let changed = state
        .engine
        .reviews
        .regenerate(&caller, campaign_id(&campaign), &ids, key.as_deref())
        .await?;
    note_run(changed.outcome.run_number);
    if !changed.replayed && changed.outcome.messages > 0 {
        (state.wake)();
    }
    answered(&changed, QueuedItem::from)
}
