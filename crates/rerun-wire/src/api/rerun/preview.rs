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
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The id of the customer group for the rerun.
    #[schema(value_type = Uuid, required)]
    pub new_customer_group_id: Option<String>,
    /// Which messages can be reused; by default those of the current run.
    #[schema(value_type = Option<schema::ReuseFrom>)]
    pub reuse_from: Option<String>,
    /// Whether to allow fields to segment by for which no customer of the group has a value. By
    /// default they are refused. This applies to this request only.
    #[schema(default = false)]
    pub allow_missing_fields: Option<bool>,
    /// The maximum number of items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// The `next_cursor` of the previous page. Leave it out for the first page.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunPreviewItem)]
pub struct Item<'a> {
    #[schema(value_type = schema::Segment)]
    pub segment: &'a Segment,
    #[schema(value_type = schema::Outcome)]
    pub outcome: &'static str,
    /// The message that the segment would reuse; `null` if it would reuse none.
    #[schema(value_type = Option<schema::ReusedFrom>, required)]
    pub reuses: Option<ReusedFrom>,
    /// For a new segment, the approved message whose segment is most similar.
    #[schema(value_type = Option<schema::Suggestion>, required)]
    pub suggestion: Option<&'a Suggestion>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunPreviewField)]
pub struct Field<'a> {
    /// The name of the field.
    pub name: &'a str,
    /// How many customers of the group have no value in it.
    #[schema(minimum = 0)]
    pub customers_without_value: i64,
    /// How many different values there are after the value rules are applied, not counting `null`.
    pub distinct: u32,
    /// How many customers have a value that could not be read as the field's `type`.
    #[schema(minimum = 0)]
    pub unparsed: i64,
    /// The values that no reusable message has: those with the most customers, at most 50.
    #[schema(max_items = 50)]
    pub unseen_values: Vec<Unseen<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunPreviewUnseenValue)]
pub struct Unseen<'a> {
    /// The value after the value rules are applied.
    pub value: &'a str,
    /// How many customers have it.
    #[schema(minimum = 1)]
    pub customers: i64,
    /// The approved value that it equals if differences in blanks, letter case, separators and the
    /// spelling of numbers are ignored; `null` if there is none.
    #[schema(required)]
    pub looks_like: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunPreviewResponse)]
pub struct Response<'a> {
    /// The id of the campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    pub customer_group: GroupRef<'a>,
    /// How many customers are in the segments.
    #[schema(minimum = 0)]
    pub customer_count: i64,
    /// The fields of the campaign's `segment_by`, in its order.
    pub fields: Vec<Field<'a>>,
    #[schema(value_type = schema::SegmentCounts)]
    pub segments: SegmentCounts,
    /// How many segments have only one customer, including matched segments.
    pub single_customer_segments: u32,
    /// How many new segments would be matched if a value rule declared each unseen value equal to
    /// the approved value that it looks like.
    pub needless: u32,
    /// The status that the campaign would have once generation is done.
    #[schema(value_type = schema::CampaignStatus)]
    pub resulting_status: CampaignStatus,
    /// One item for each segment.
    pub items: Vec<Item<'a>>,
    /// The `cursor` for the next page; `null` on the last page.
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
        "Preview a rerun",
        "Returns what `campaign/rerun/initiate` would do, and is refused with the same errors. It \
         changes nothing. `fields` lists the values that no reusable message has, each with the \
         approved value that it looks like. A value rule of the campaign can declare the two \
         values equal. `needless` is the number of new segments that such rules would save.",
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
