use rerun_core::ids::{MessageId, RunNumber};
use rerun_core::rekeying::{ConflictingMessage, KeyConflict};
use rerun_core::rules::FieldDeclaration;
use rerun_core::segment::Segment;
use rerun_core::usecases::SegmentationUpdated;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = SegmentationUpdateRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The fields of the campaign, each with its new value rules.
    #[schema(value_type = Vec<schema::SegmentField>, min_items = 1, max_items = 8, required)]
    pub segment_by: Option<Vec<FieldDeclaration>>,
    /// Whether to report what would happen without changing anything.
    #[schema(default = true)]
    pub dry_run: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SegmentationConflictMessage)]
pub struct Message {
    #[schema(value_type = Uuid)]
    pub message_id: MessageId,
    #[schema(value_type = schema::RunNumber)]
    pub run_number: RunNumber,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SegmentationConflict)]
pub struct Conflict<'a> {
    /// The segment that all these messages are for under the new rules, with the customers of all
    /// of them.
    #[schema(value_type = schema::Segment)]
    pub segment: &'a Segment,
    /// The messages with different texts, newest first; at most 100.
    #[schema(max_items = 100)]
    pub messages: Vec<Message>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SegmentationUpdateResponse)]
pub struct Response<'a> {
    /// How many different keys the published segments of all runs have with the old rules.
    pub segments_before: u32,
    /// How many different keys the published segments of all runs have with the new rules.
    pub segments_after: u32,
    /// How many conflicts there are: segments for which messages have different texts under the new
    /// rules.
    pub conflict_count: u32,
    /// The conflicts with the most customers, at most 1,000. The list ends early when its contents
    /// reach 8 MiB; `conflict_count` counts all conflicts.
    #[schema(max_items = 1_000)]
    pub conflicts: Vec<Conflict<'a>>,
}

impl From<&ConflictingMessage> for Message {
    fn from(message: &ConflictingMessage) -> Self {
        Self {
            message_id: message.message_id,
            run_number: message.run_number,
        }
    }
}

impl<'a> From<&'a KeyConflict> for Conflict<'a> {
    fn from(conflict: &'a KeyConflict) -> Self {
        Self {
            segment: &conflict.segment,
            messages: conflict.messages.iter().map(Message::from).collect(),
        }
    }
}

impl<'a> From<&'a SegmentationUpdated> for Response<'a> {
    fn from(updated: &'a SegmentationUpdated) -> Self {
        Self {
            segments_before: updated.segments_before,
            segments_after: updated.segments_after,
            conflict_count: updated.conflict_count,
            conflicts: updated.conflicts.iter().map(Conflict::from).collect(),
        }
    }
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Change the value rules of a campaign",
        "Changes the value rules of the campaign's fields, but not the fields. The segments of \
         its runs get the keys that follow from the new rules, so that the next rerun matches \
         them. The attributes that are shown for these segments stay as they are. If messages \
         with different texts get the same key, this is a conflict: nothing is reused for that \
         segment, and the next rerun generates a new message for it. By default nothing is \
         changed, because `dry_run` is true. The campaign must be `Draft` or `Published`.",
        json!({
            "campaign_id": examples::CAMPAIGN,
            "segment_by": [{ "field": "country", "normalise": ["casefold"] }, "tier"],
            "dry_run": true,
        }),
    )
    .keyed()
    .answers::<Response<'_>>(json!({
        "segments_before": 42,
        "segments_after": 40,
        "conflict_count": 1,
        "conflicts": [{
            "segment": examples::segment(),
            "messages": [
                { "message_id": examples::MESSAGE, "run_number": 2 },
                { "message_id": examples::REUSED_MESSAGE, "run_number": 1 },
            ],
        }],
    }))
    .refuses(&[Code::CampaignNotFound, Code::InvalidTransition])
}
