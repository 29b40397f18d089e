use rerun_core::campaign::CampaignStatus;
use rerun_core::ids::{CampaignId, RunNumber};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::json::Object;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = MessagesReviewRequest)]
pub struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// What is decided.
    #[schema(value_type = schema::Decision, required)]
    pub decision: Option<String>,
    /// Messages of the current run; one that is named twice counts once. Either these, `items` or
    /// `all`.
    #[schema(value_type = Option<Vec<Uuid>>, min_items = 1, max_items = 10_000)]
    pub message_ids: Option<Vec<String>>,
    /// Messages of the current run, each with the content that the decision is about. If one of
    /// them has other content by now, the review is refused.
    #[schema(value_type = Option<Vec<ReviewedItem>>, min_items = 1, max_items = 10_000)]
    pub items: Option<Vec<Object<ReviewedItem>>>,
    /// Every message that is `Pending review`, instead of named ones.
    pub all: Option<bool>,
    /// One of the campaign's stages: only messages that wait there. Another one that is named is
    /// refused; `all` leaves the others out.
    #[schema(min_length = 1, max_length = 100)]
    pub stage: Option<String>,
    /// Why; required for a rejection: 1 to 2,000 characters that are not all white space, without
    /// NUL. With an approval it is not read.
    pub reason: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ReviewedItem)]
pub struct ReviewedItem {
    /// A message of the current run.
    #[schema(value_type = Uuid, required)]
    pub message_id: Option<String>,
    /// The content that the decision is about.
    #[schema(value_type = Uuid, required)]
    pub content_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MessagesReviewResponse)]
pub struct Response {
    /// The campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    #[schema(value_type = schema::RunNumber)]
    pub run_number: RunNumber,
    #[schema(value_type = schema::CampaignStatus)]
    pub campaign_status: CampaignStatus,
    /// How many messages were reviewed.
    pub reviewed_messages: u32,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Messages,
        "Approve or reject messages",
        "Of the current run; all that are named, or none. An approval passes one stage. `items` \
         name the content that the decision is about: if somebody changed it in between, the \
         review is refused. A stage may name the roles that can pass it: a message that waits at \
         another one cannot be approved, and `all` leaves it out. With `stage`, only messages that wait at that stage: a review that is sent twice cannot pass \
         two stages. A message whose content still contains a placeholder (`{{ … }}`) cannot be \
         approved.",
        json!({
            "campaign_id": examples::CAMPAIGN,
            "decision": "approve",
            "items": [{ "message_id": examples::MESSAGE, "content_id": examples::CONTENT }],
        }),
    )
    .keyed()
    .answers::<Response>(json!({
        "campaign_id": examples::CAMPAIGN,
        "run_number": 2,
        "campaign_status": "Ready to publish",
        "reviewed_messages": 1,
    }))
    .refuses(&[
        Code::StageNotAllowed,
        Code::CampaignNotFound,
        Code::MessageNotFound,
        Code::InvalidTransition,
        Code::ContentChanged,
        Code::UnfilledPlaceholder,
    ])
}
