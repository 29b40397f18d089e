use rerun_core::ids::{ContentId, MessageId};
use rerun_core::message::Content;
use rerun_core::usecases::{Item, Target};
use rerun_wire::api::messages::edit::Request;
use rerun_wire::items::MessageItem;
use rerun_wire::json::Object;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;

/// `POST /v1/campaign/messages/edit`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let message = required.text("message_id", body.message_id);
    let content = match body.content {
        Some(Object(content)) => Content {
            subject: required.text("content.subject", content.subject),
            body: required.text("content.body", content.body),
        },
        None => Content {
            subject: required.value("content", None),
            body: String::new(),
        },
    };
    required.check()?;
    let message_id = MessageId::parse(&message);
    let target = body
        .content_id
        .map_or(Target::Any(message_id), |content_id| {
            Target::Seen(Item {
                message_id,
                content_id: ContentId::parse(&content_id),
            })
        });
    let edited = state
        .engine
        .reviews
        .edit(
            &caller,
            campaign_id(&campaign),
            target,
            content,
            key.as_deref(),
        )
        .await?;
    note_run(edited.outcome.1.run_number);
    answered(&edited, |(stages, message)| {
        MessageItem::new(stages, message)
    })
}
