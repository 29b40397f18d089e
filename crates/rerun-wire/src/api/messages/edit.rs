use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::MessageItem;
use crate::json::Object;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = MessagesEditRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The id of a message of the current run.
    #[schema(value_type = Uuid, required)]
    pub message_id: Option<String>,
    /// The id of the content that the edit replaces. If the message has other content by now, the
    /// edit is refused.
    #[schema(value_type = Option<Uuid>)]
    pub content_id: Option<String>,
    #[schema(value_type = RequestContent, required)]
    pub content: Option<Object<RequestContent>>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = NewContent)]
pub struct RequestContent {
    /// The subject line, without control characters.
    #[schema(value_type = String, min_length = 1, max_length = 1_000, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*[^\\s\\u0000-\\u001f\\u007f-\\u009f][^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$", required)]
    pub subject: Option<String>,
    /// The body.
    #[schema(value_type = String, min_length = 1, max_length = 200_000, pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$", required)]
    pub body: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Messages,
        "Edit a message",
        "Replaces the content of the message, which then waits for review again, from the first \
         stage. A message whose generation failed can be edited too; once the last failed message \
         is edited, the run is `Completed`. If `content_id` is given and somebody has changed the \
         content in the meantime, the edit is refused.",
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
