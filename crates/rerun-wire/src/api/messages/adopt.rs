use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::MessageItem;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = MessagesAdoptRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The id of a message of the current run that is `Pending review`.
    #[schema(value_type = Uuid, required)]
    pub message_id: Option<String>,
    /// The id of the content that the message has now.
    #[schema(value_type = Uuid, required)]
    pub content_id: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Messages,
        "Use the suggestion for a message",
        "Gives the message the content of the approved message that its `suggestion` names. The \
         message then waits for review again, from the first stage. A suggestion with `mentions` \
         cannot be used, because its text mentions values of the other segment.",
        json!({
            "campaign_id": examples::CAMPAIGN,
            "message_id": examples::MESSAGE,
            "content_id": examples::CONTENT,
        }),
    )
    .keyed()
    .answers::<MessageItem<'_>>({
        let mut adopted = examples::message();
        adopted["review_status"] = json!("Pending review");
        adopted["approval_stage"] = json!("Review");
        adopted["source"] = json!("suggested");
        adopted["provenance"] = json!({ "run_number": 1, "approvals": [] });
        adopted["suggestion"] = examples::suggestion();
        adopted["updated_at"] = json!("2026-11-23T09:12:40.250Z");
        adopted
    })
    .refuses(&[
        Code::CampaignNotFound,
        Code::MessageNotFound,
        Code::InvalidTransition,
        Code::ContentChanged,
    ])
}
