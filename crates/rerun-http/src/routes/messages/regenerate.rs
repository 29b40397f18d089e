use rerun_core::ids::MessageId;
use serde::Deserialize;

use crate::extract::{JsonCall, Required, State};
use crate::request_id::note_run;
use crate::routes::campaign_id;
use crate::wire::{Answer, QueuedItem, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
    message_ids: Option<Vec<String>>,
}

/// `POST /v1/campaign/messages/regenerate`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let ids = required.list("message_ids", body.message_ids);
    required.check()?;
    let ids: Vec<_> = ids.iter().map(|id| MessageId::parse(id)).collect();
    let changed = state
        .engine
        .reviews
        .regenerate(&caller, campaign_id(&campaign), &ids)
        .await?;
    note_run(changed.run_number);
    if changed.messages > 0 {
        (state.wake)();
    }
    json(&QueuedItem::from(&changed))
}
