use rerun_core::ids::{ContentId, MessageId};
use rerun_wire::api::messages::adopt::Request;
use rerun_wire::items::MessageItem;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;

/// `POST /v1/campaign/messages/adopt`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let message = required.text("message_id", body.message_id);
    let content = required.text("content_id", body.content_id);
    required.check()?;
    let adopted = state
        .engine
        .reviews
        .adopt(
            &caller,
            campaign_id(&campaign),
            MessageId::parse(&message),
            ContentId::parse(&content),
            key.as_deref(),
        )
        .await?;
    note_run(adopted.outcome.1.run_number);
    answered(&adopted, |(stages, message)| {
        MessageItem::new(stages, message)
    })
}
