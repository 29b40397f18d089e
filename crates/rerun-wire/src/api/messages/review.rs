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
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// Whether to approve or to reject the messages.
    #[schema(value_type = schema::Decision, required)]
    pub decision: Option<String>,
    /// The ids of messages of the current run. An id that is named twice counts once. Give exactly
    /// one of `message_ids`, `items` and `all`.
    #[schema(value_type = Option<Vec<Uuid>>, min_items = 1, max_items = 10_000)]
    pub message_ids: Option<Vec<String>>,
    /// Messages of the current run, each with the content that the decision is about. If one of
    /// them has other content by now, the review is refused.
    #[schema(value_type = Option<Vec<ReviewedItem>>, min_items = 1, max_items = 10_000)]
    pub items: Option<Vec<Object<ReviewedItem>>>,
    /// Whether to review every message that is `Pending review`, instead of named messages.
    pub all: Option<bool>,
    /// One of the campaign's approval stages: only messages that wait at it are reviewed. If a
    /// named message does not wait at it, the review is refused; `all` leaves such messages out.
    #[schema(min_length = 1, max_length = 100)]
    pub stage: Option<String>,
    /// The reason for a rejection, which requires one: 1 to 2,000 characters that are not all white
    /// space, without NUL. For an approval it is ignored.
    pub reason: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ReviewedItem)]
pub struct ReviewedItem {
    /// The id of a message of the current run.
    #[schema(value_type = Uuid, required)]
    pub message_id: Option<String>,
    /// The id of the content that the decision is about.
    #[schema(value_type = Uuid, required)]
    pub content_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MessagesReviewResponse)]
pub struct Response {
    /// The id of the campaign.
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
        "Reviews messages of the current run. Either all named messages are reviewed or none. An \
         approval passes one stage. `items` name the content that the decision is about: if \
         somebody changed the content in the meantime, the review is refused. If a stage names \
         the roles that can pass it, a caller with another role cannot approve messages that wait \
         at it, and `all` leaves them out. With `stage`, only messages that wait at that stage \
         are reviewed, so that a review that is sent twice cannot pass two stages. A message \
         whose content still contains a placeholder (`{{ … }}`) cannot be approved.",
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
