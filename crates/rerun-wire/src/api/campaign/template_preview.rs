use rerun_core::message::Content;
use rerun_core::rules::FieldDeclaration;
use rerun_core::segment::Segment;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::create::RequestTemplate;
use crate::codes::Code;
use crate::json::{Integer, Object};
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = TemplatePreviewRequest)]
pub struct Request {
    /// The id of the customer group.
    #[schema(value_type = Uuid, required)]
    pub customer_group_id: Option<String>,
    /// The profile fields to segment by: 1 to 8 different ones. Each is a name, or an object with
    /// value rules.
    #[schema(value_type = Vec<schema::SegmentField>, min_items = 1, max_items = 8, required)]
    pub segment_by: Option<Vec<FieldDeclaration>>,
    #[schema(value_type = RequestTemplate, required)]
    pub template: Option<Object<RequestTemplate>>,
    /// For how many segments to fill the template.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 20, default = 5)]
    pub limit: Option<Integer>,
    /// Whether to allow fields to segment by for which no customer of the group has a value. By
    /// default they are refused. This applies to this request only.
    #[schema(default = false)]
    pub allow_missing_fields: Option<bool>,
}

/// The texts that the template produces. They may be blank, which the texts of a message may not.
#[derive(ToSchema)]
#[schema(as = TemplatePreviewContent)]
pub struct TrialText {
    /// The subject line.
    pub subject: String,
    /// The body.
    pub body: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TemplatePreviewItem)]
pub struct Item<'a> {
    #[schema(value_type = schema::Segment)]
    pub segment: &'a Segment,
    #[schema(value_type = TrialText)]
    pub content: &'a Content,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TemplatePreviewResponse)]
pub struct Response<'a> {
    /// How many segments the group has.
    pub segment_count: u32,
    /// One item for each of the largest segments, largest first: `limit` items, or fewer if the
    /// group has fewer segments or if the texts reach 8 MiB.
    pub items: Vec<Item<'a>>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Preview a template",
        "Fills the template for the group's largest segments, before a campaign is created. It \
         writes nothing. It is refused if a campaign with this group, segmentation and template \
         would be refused. For an empty group there are no items. The list ends early when its \
         texts reach 8 MiB.",
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
