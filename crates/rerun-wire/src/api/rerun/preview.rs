use rerun_core::campaign::CampaignStatus;
use rerun_core::ids::CampaignId;
use rerun_core::message::ReusedFrom;
use rerun_core::nearest::Suggestion;
use rerun_core::run::SegmentCounts;
use rerun_core::segment::Segment;
use rerun_core::survey::UnseenValue;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::REFUSALS;
use crate::items::GroupRef;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunPreviewRequest)]
pub struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The group to take the campaign to.
    #[schema(value_type = Uuid, required)]
    pub new_customer_group_id: Option<String>,
    /// By default the current run.
    #[schema(value_type = Option<schema::ReuseFrom>)]
    pub reuse_from: Option<String>,
    /// Whether fields to segment by that no customer of the group has are allowed. By default
    /// they are refused. This applies to this request only.
    #[schema(default = false)]
    pub allow_missing_fields: Option<bool>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunPreviewItem)]
pub struct Item<'a> {
    #[schema(value_type = schema::Segment)]
    pub segment: &'a Segment,
    #[schema(value_type = schema::Outcome)]
    pub outcome: &'static str,
    /// The message that it would reuse.
    #[schema(value_type = Option<schema::ReusedFrom>, required)]
    pub reuses: Option<ReusedFrom>,
    /// For a new segment, the message that is nearest to it.
    #[schema(value_type = Option<schema::Suggestion>, required)]
    pub suggestion: Option<&'a Suggestion>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunPreviewField)]
pub struct Field<'a> {
    /// The field.
    pub name: &'a str,
    /// How many customers of the group have no value in it.
    #[schema(minimum = 0)]
    pub customers_without_value: i64,
    /// How many different values there are after the value rules, without `null`.
    pub distinct: u32,
    /// How many customers have a value that could not be read as the field's `type`.
    #[schema(minimum = 0)]
    pub unparsed: i64,
    /// The values that no message to reuse has: those of most customers, at most 50.
    #[schema(max_items = 50)]
    pub unseen_values: Vec<Unseen<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunPreviewUnseenValue)]
pub struct Unseen<'a> {
    /// The value after the value rules.
    pub value: &'a str,
    /// How many customers have it.
    #[schema(minimum = 1)]
    pub customers: i64,
    /// The approved value that it equals once blanks, letter case, separators and the spelling of
    /// numbers make no difference.
    #[schema(required)]
    pub looks_like: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunPreviewResponse)]
pub struct Response<'a> {
    /// The campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    pub customer_group: GroupRef<'a>,
    /// How many customers the segments have.
    #[schema(minimum = 0)]
    pub customer_count: i64,
    /// The fields of the campaign's `segment_by`, in its order.
    pub fields: Vec<Field<'a>>,
    #[schema(value_type = schema::SegmentCounts)]
    pub segments: SegmentCounts,
    /// How many segments have one customer, matched ones among them.
    pub single_customer_segments: u32,
    /// How many new segments would be matched if a value rule declared each unseen value equal to
    /// the approved value that it looks like.
    pub needless: u32,
    /// The status that the campaign would have once generation was done.
    #[schema(value_type = schema::CampaignStatus)]
    pub resulting_status: CampaignStatus,
    /// One for each segment.
    pub items: Vec<Item<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

impl<'a> From<&'a UnseenValue> for Unseen<'a> {
    fn from(unseen: &'a UnseenValue) -> Self {
        Self {
            value: &unseen.value,
            customers: unseen.customers,
            looks_like: unseen.looks_like.as_deref(),
        }
    }
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "See what a rerun would do",
        "As initiate, with the same refusals; it changes nothing. `fields` names the values that no \
         message to reuse has, and the approved value that each looks like: a value rule of the \
         campaign can declare them equal. `needless` is what such rules would save.",
        json!({
            "campaign_id": examples::CAMPAIGN,
            "new_customer_group_id": examples::GROUP,
            "limit": 100,
        }),
    )
    .answers::<Response<'_>>(json!({
        "campaign_id": examples::CAMPAIGN,
        "customer_group": { "id": examples::GROUP, "name": "Spring 2026" },
        "customer_count": 120_000,
        "fields": [
            {
                "name": "country", "customers_without_value": 0, "distinct": 14, "unparsed": 0,
                "unseen_values": [
                    { "value": "Oz", "customers": 6, "looks_like": null },
                ],
            },
            {
                "name": "tier", "customers_without_value": 913, "distinct": 3, "unparsed": 0,
                "unseen_values": [
                    { "value": "GOLD", "customers": 1, "looks_like": "gold" },
                ],
            },
        ],
        "segments": { "total": 42, "matched": 40, "new": 2 },
        "single_customer_segments": 1,
        "needless": 1,
        "resulting_status": "Ready for review",
        "items": [{
            "segment": examples::segment(),
            "outcome": "matched",
            "reuses": { "message_id": examples::REUSED_MESSAGE, "run_number": 1 },
            "suggestion": null,
        }],
        "next_cursor": null,
    }))
    .refuses(&REFUSALS)
}
