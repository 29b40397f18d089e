use rerun_core::ids::MessageId;
use rerun_core::message::Content;
use serde::Deserialize;

use crate::extract::{JsonCall, Object, Required, State};
use crate::request_id::note_run;
use crate::routes::campaign_id;
use crate::wire::{Answer, MessageItem, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
    message_id: Option<String>,
    content: Option<Object<RequestContent>>,
}

#[derive(Deserialize)]
struct RequestContent {
    subject: Option<String>,
    body: Option<String>,
}

/// `POST /v1/campaign/messages/edit`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
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
    let (campaign, message) = state
        .engine
        .reviews
        .edit(
            &caller,
            campaign_id(&campaign),
            MessageId::parse(&message),
            content,
        )
        .await?;
    note_run(message.run_number);
    json(&MessageItem::new(&campaign, &message))
}
