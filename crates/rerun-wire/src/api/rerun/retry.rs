use serde::Deserialize;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::QueuedItem;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunRetryRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "Retry failed messages",
        "Queues the messages of the current run whose generation failed to be generated again. \
         Other messages stay as they are.",
        examples::campaign_id(),
    )
    .keyed()
    .answers::<QueuedItem>(examples::queued())
    .refuses(&[Code::CampaignNotFound, Code::InvalidTransition])
}
