use rerun_core::ids::{ContentId, MessageId};
use rerun_core::message::Content;
use rerun_core::usecases::{Item, Target};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;
use crate::wire::{Answer, MessageItem, answered};
use rerun_wire::json::Object;

#[derive(Deserialize, ToSchema)]
#[schema(as = MessagesEditRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// A message of the current run.
    #[schema(value_type = Uuid, required)]
    message_id: Option<String>,
    /// The content that the edit replaces. If the message has other content by now, it is refused.
    #[schema(value_type = Option<Uuid>)]
    content_id: Option<String>,
    #[schema(value_type = RequestContent, required)]
    content: Option<Object<RequestContent>>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = NewContent)]
struct RequestContent {
    /// Subject line, without control characters.
    #[schema(value_type = String, min_length = 1, max_length = 1_000, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*[^\\s\\u0000-\\u001f\\u007f-\\u009f][^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$", required)]
    subject: Option<String>,
    /// Body.
    #[schema(value_type = String, min_length = 1, max_length = 200_000, pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$", required)]
    body: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Messages,
        "Edit a message",
        "It waits for review again, from the first stage. A message whose generation failed can be \
         edited, too: once the last of them is, the run is `Completed`. With `content_id`, an edit \
         of content that somebody changed in between is refused.",
        json!({
            "campaign_id": examples::CAMPAIGN,
            "message_id": examples::MESSAGE,
            "content_id": examples::CONTENT,
            "content": { "subject": "Hallo", "body": "Der Frühling ist da." },
        }),
    )
    .keyed()
    .answers::<MessageItem<'_>>({
        let mut edited = examples::message();
        edited["content_id"] = json!("019aaf1b-7e52-7d19-8c44-5b0a9f8e7d6c");
        edited["content"] = json!({ "subject": "Hallo", "body": "Der Frühling ist da." });
        edited["review_status"] = json!("Pending review");
        edited["approval_stage"] = json!("Review");
        edited["source"] = json!("edited");
        edited["reused_from"] = json!(null);
        edited["provenance"] = json!({ "run_number": 2, "approvals": [] });
        edited["updated_at"] = json!("2026-11-23T09:12:40.250Z");
        edited
    })
    .refuses(&[
        Code::CampaignNotFound,
        Code::MessageNotFound,
        Code::InvalidTransition,
        Code::ContentChanged,
    ])
}

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
