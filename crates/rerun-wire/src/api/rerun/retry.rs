use serde::Deserialize;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::QueuedItem;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunRetryRequest)]
pub struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "Generate failed messages again",
        "Queues the messages of the current run that could not be generated, and no others.",
        examples::campaign_id(),
    )
    .keyed()
    .answers::<QueuedItem>(examples::queued())
    .refuses(&[Code::CampaignNotFound, Code::InvalidTransition])
}
