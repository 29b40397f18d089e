use rerun_core::ids::CustomerGroupId;
use rerun_core::message::Content;
use rerun_core::rules::FieldDeclaration;
use rerun_core::segment::Segment;
use rerun_core::usecases::{FilledSegment, TemplateTrial};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::create::{RequestTemplate, required_template};
use crate::extract::{JsonCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::state::State;
use crate::wire::{Answer, json as answer};
use rerun_wire::json::{Integer, Object};

#[derive(Deserialize, ToSchema)]
#[schema(as = TemplatePreviewRequest)]
pub(crate) struct Request {
    /// The customer group.
    #[schema(value_type = Uuid, required)]
    customer_group_id: Option<String>,
    /// The profile fields that make segments: 1 to 8 different ones.
    /// Each is a name, or an object with value rules.
    #[schema(value_type = Vec<schema::SegmentField>, min_items = 1, max_items = 8, required)]
    segment_by: Option<Vec<FieldDeclaration>>,
    #[schema(value_type = RequestTemplate, required)]
    template: Option<Object<RequestTemplate>>,
    /// For how many segments.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 20, default = 5)]
    limit: Option<Integer>,
    /// Whether fields of `segment_by` that no customer of the group has are meant. Without it
    /// they are refused. It applies to this request only.
    #[schema(default = false)]
    allow_missing_fields: Option<bool>,
}

/// What comes out of the template. A message could not have a text that is blank.
#[derive(ToSchema)]
#[schema(as = TemplatePreviewContent)]
struct TrialText {
    /// Subject line.
    #[expect(dead_code, reason = "a schema")]
    subject: String,
    /// Body.
    #[expect(dead_code, reason = "a schema")]
    body: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TemplatePreviewItem)]
struct Item<'a> {
    #[schema(value_type = schema::Segment)]
    segment: &'a Segment,
    #[schema(value_type = TrialText)]
    content: &'a Content,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TemplatePreviewResponse)]
struct Response<'a> {
    /// How many segments the group has.
    segment_count: u32,
    /// One for each of the largest segments, the largest first: `limit` of them, or fewer if the
    /// group has fewer or if the texts reach 8 MiB.
    items: Vec<Item<'a>>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "See what a template makes of a group",
        "The template filled for the group's largest segments, before a campaign is made. It \
         writes nothing, and is refused as a campaign with this group, segmentation and template \
         would be. A group that is empty has no items. The list ends early when its texts reach \
         8 MiB.",
        json!({
            "customer_group_id": examples::GROUP,
            "segment_by": ["country", "tier"],
            "template": { "subject": "Hello {{ country }}", "body": "Spring is here." },
            "limit": 1,
        }),
    )
    .answers::<Response<'_>>(json!({
        "segment_count": 3,
        "items": [{
            "segment": examples::segment(),
            "content": { "subject": "Hello DE", "body": "Spring is here." },
        }],
    }))
    .refuses(&[
        Code::CustomerGroupNotFound,
        Code::UnknownSegmentField,
        Code::TooManySegments,
    ])
}

/// `POST /v1/campaign/template/preview`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let customer_group = required.text("customer_group_id", body.customer_group_id);
    let segment_by = required.value("segment_by", body.segment_by);
    let template = required_template(&mut required, body.template);
    required.check()?;
    let trial = TemplateTrial {
        customer_group_id: CustomerGroupId::parse(&customer_group),
        segment_by,
        template,
        limit: body.limit.map(|limit| limit.0),
        allow_missing_fields: body.allow_missing_fields.unwrap_or_default(),
    };
    let campaigns = &state.engine.campaigns;
    let filled = campaigns.preview_template(&caller, trial).await?;
    let items = filled
        .items
        .iter()
        .map(|FilledSegment { segment, content }| Item { segment, content });
    answer(&Response {
        segment_count: filled.segment_count,
        items: items.collect(),
    })
}
