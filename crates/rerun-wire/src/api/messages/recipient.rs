use rerun_core::ids::{CampaignId, RunNumber};
use rerun_core::segment::SegmentKey;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::MessageItem;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = RecipientsGetRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The customer's reference.
    #[schema(value_type = String, required)]
    pub customer_ref: Option<String>,
    /// The number of a run of the campaign; by default the current run.
    #[schema(value_type = Option<schema::RunNumber>)]
    pub run_number: Option<Integer>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RecipientsGetResponse)]
pub struct Response<'a> {
    /// The id of the campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    #[schema(value_type = schema::RunNumber)]
    pub run_number: RunNumber,
    /// Whether the group was changed since the run started.
    pub group_changed: bool,
    /// The customer's reference.
    pub customer_ref: &'a str,
    /// The key of the segment that the customer is in now.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub segment_key: SegmentKey,
    /// The run's message for the segment; `null` if the run has none.
    #[schema(required)]
    pub message: Option<MessageItem<'a>>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Messages,
        "Get the message of one customer",
        "Returns the run's message for the segment that the customer is in, as the export of \
         recipients lists it. The customer was sent the message only if it is `Published`. The \
         run's group is read as it is now: if it was changed since the run started, \
         `group_changed` is true, and the customer may have been in another segment. If the \
         campaign's value rules were changed after the run started, the response takes longer, \
         the more segments the run has.",
        json!({ "campaign_id": examples::CAMPAIGN, "customer_ref": "C-1" }),
    )
    .answers::<Response<'_>>(json!({
        "campaign_id": examples::CAMPAIGN,
        "run_number": 2,
        "group_changed": false,
        "customer_ref": "C-1",
        "segment_key": examples::SEGMENT_KEY,
        "message": examples::message(),
    }))
    .refuses(&[
        Code::CampaignNotFound,
        Code::RunNotFound,
        Code::CustomerGroupNotFound,
        Code::CustomerNotFound,
    ])
}
