use rerun_core::ids::{ContentId, MessageId};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;
use crate::wire::{Answer, MessageItem, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = MessagesAdoptRequest)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// A message of the current run that is `Pending review`.
    #[schema(value_type = Uuid, required)]
    message_id: Option<String>,
    /// The content that the message has now.
    #[schema(value_type = Uuid, required)]
    content_id: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Messages,
        "Use the suggestion",
        "The message takes the content of the approved message that its `suggestion` names, and \
         waits for review again, from the first stage. A suggestion with `mentions` cannot be used: \
         its text speaks of the other segment.",
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
