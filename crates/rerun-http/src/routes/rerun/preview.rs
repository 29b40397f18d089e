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

use super::{REFUSALS, rerun_request};
use crate::extract::JsonCall;
use crate::openapi::{Docs, Tag, examples, schema};
use crate::routes::params::page;
use crate::state::State;
use crate::wire::{self, Answer, GroupRef};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunPreviewRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// The group to take the campaign to.
    #[schema(value_type = Uuid, required)]
    new_customer_group_id: Option<String>,
    /// By default the current run.
    #[schema(value_type = Option<schema::ReuseFrom>)]
    reuse_from: Option<String>,
    /// Whether fields to segment by that no customer of the group has are allowed. By default
    /// they are refused. This applies to this request only.
    #[schema(default = false)]
    allow_missing_fields: Option<bool>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<Integer>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunPreviewItem)]
struct Item<'a> {
    #[schema(value_type = schema::Segment)]
    segment: &'a Segment,
    #[schema(value_type = schema::Outcome)]
    outcome: &'static str,
    /// The message that it would reuse.
    #[schema(value_type = Option<schema::ReusedFrom>, required)]
    reuses: Option<ReusedFrom>,
    /// For a new segment, the message that is nearest to it.
    #[schema(value_type = Option<schema::Suggestion>, required)]
    suggestion: Option<&'a Suggestion>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunPreviewField)]
struct Field<'a> {
    /// The field.
    name: &'a str,
    /// How many customers of the group have no value in it.
    #[schema(minimum = 0)]
    customers_without_value: i64,
    /// How many different values there are after the value rules, without `null`.
    distinct: u32,
    /// How many customers have a value that could not be read as the field's `type`.
    #[schema(minimum = 0)]
    unparsed: i64,
    /// The values that no message to reuse has: those of most customers, at most 50.
    #[schema(max_items = 50)]
    unseen_values: Vec<Unseen<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunPreviewUnseenValue)]
struct Unseen<'a> {
    /// The value after the value rules.
    value: &'a str,
    /// How many customers have it.
    #[schema(minimum = 1)]
    customers: i64,
    /// The approved value that it equals once blanks, letter case, separators and the spelling of
    /// numbers make no difference.
    #[schema(required)]
    looks_like: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunPreviewResponse)]
struct Response<'a> {
    /// The campaign.
    #[schema(value_type = Uuid)]
    campaign_id: CampaignId,
    customer_group: GroupRef<'a>,
    /// How many customers the segments have.
    #[schema(minimum = 0)]
    customer_count: i64,
    /// The fields of the campaign's `segment_by`, in its order.
    fields: Vec<Field<'a>>,
    #[schema(value_type = schema::SegmentCounts)]
    segments: SegmentCounts,
    /// How many segments have one customer, matched ones among them.
    single_customer_segments: u32,
    /// How many new segments would be matched if a value rule declared each unseen value equal to
    /// the approved value that it looks like.
    needless: u32,
    /// The status that the campaign would have once generation was done.
    #[schema(value_type = schema::CampaignStatus)]
    resulting_status: CampaignStatus,
    /// One for each segment.
    items: Vec<Item<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    next_cursor: Option<&'a str>,
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

/// `POST /v1/campaign/rerun/preview`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let request = rerun_request(
        body.campaign_id,
        body.new_customer_group_id,
        body.reuse_from.as_deref(),
        body.allow_missing_fields,
    )?;
    let page = page(body.limit, body.cursor);
    let preview = state.engine.reruns.preview(&caller, request, &page).await?;
    let items = preview.items.items.iter().map(|item| Item {
        segment: &item.segment,
        outcome: if item.reuses.is_some() {
            "matched"
        } else {
            "new"
        },
        reuses: item.reuses,
        suggestion: item.suggestion.as_ref(),
    });
    let fields = preview.fields.iter().map(|field| Field {
        name: &field.coverage.name,
        customers_without_value: field.coverage.customers_without_value,
        distinct: field.values.distinct,
        unparsed: field.coverage.unparsed,
        unseen_values: field
            .values
            .unseen_values
            .iter()
            .map(Unseen::from)
            .collect(),
    });
    wire::json(&Response {
        campaign_id: request.campaign,
        customer_group: (&preview.group).into(),
        customer_count: preview.customer_count,
        fields: fields.collect(),
        segments: preview.segments,
        single_customer_segments: preview.single_customer_segments,
        needless: preview.needless,
        resulting_status: preview.resulting_status,
        items: items.collect(),
        next_cursor: preview.items.next_cursor.as_deref(),
    })
}
