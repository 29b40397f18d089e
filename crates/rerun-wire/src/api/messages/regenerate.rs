use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::QueuedItem;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = MessagesRegenerateRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The ids of messages of the current run. An id that is named twice counts once.
    #[schema(value_type = Vec<Uuid>, min_items = 1, max_items = 10_000, required)]
    pub message_ids: Option<Vec<String>>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Messages,
        "Generate messages again",
        "Queues messages of the current run to be generated again. Either all named messages are \
         queued or none.",
        json!({ "campaign_id": examples::CAMPAIGN, "message_ids": [examples::MESSAGE] }),
    )
    .keyed()
    .answers::<QueuedItem>(examples::queued())
    .refuses(&[
        Code::CampaignNotFound,
        Code::MessageNotFound,
        Code::InvalidTransition,
    ])
}
