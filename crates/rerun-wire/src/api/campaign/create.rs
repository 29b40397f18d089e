use rerun_core::campaign::Stage;
use rerun_core::rules::FieldDeclaration;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::CampaignItem;
use crate::json::Object;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignCreateRequest)]
pub struct Request {
    /// Its name. White space around it goes.
    #[schema(value_type = String, min_length = 1, max_length = 255, pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$", required)]
    pub name: Option<String>,
    /// The customer group.
    #[schema(value_type = Uuid, required)]
    pub customer_group_id: Option<String>,
    /// The profile fields that make segments: 1 to 8 different ones.
    /// Each is a name, or an object with value rules.
    #[schema(value_type = Vec<schema::SegmentField>, min_items = 1, max_items = 8, required)]
    pub segment_by: Option<Vec<FieldDeclaration>>,
    #[schema(value_type = RequestTemplate, required)]
    pub template: Option<Object<RequestTemplate>>,
    /// What a language model should write.
    #[schema(max_length = 20_000, pattern = "^[^\\u0000]*$")]
    pub brief: Option<String>,
    /// The stages that a message passes, in order: 1 to 16 different names of at most 100 characters. By default `["Review"]`.
    /// Each is a name, or an object with the roles that can pass the stage.
    #[schema(value_type = Option<Vec<schema::ApprovalStage>>, min_items = 1, max_items = 16)]
    pub approval_stages: Option<Vec<Stage>>,
    /// Whether each person can approve a message at one stage only.
    #[schema(default = false)]
    pub distinct_reviewers: Option<bool>,
    /// Whether the event `campaign.rerun_suggested` says when an import into the group of the
    /// current run makes a rerun worthwhile.
    #[schema(default = true)]
    pub suggest_reruns: Option<bool>,
    /// Whether fields to segment by that no customer of the group has are allowed. By default
    /// they are refused. This applies to this request only.
    #[schema(default = false)]
    pub allow_missing_fields: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = NewTemplate)]
pub struct RequestTemplate {
    /// Subject line, without control characters.
    #[schema(value_type = String, min_length = 1, max_length = 1_000, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*[^\\s\\u0000-\\u001f\\u007f-\\u009f][^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$", required)]
    pub subject: Option<String>,
    /// Body.
    #[schema(value_type = String, min_length = 1, max_length = 200_000, pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$", required)]
    pub body: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Make a campaign",
        "A draft. `{{ field }}` in the template stands for the segment's value of a field of \
         `segment_by`; any other name is refused. Up to 8 filters may follow, as in \
         `{{ field | trim | upper }}`: `upper`, `lower`, `title`, `trim`, `escape` (for HTML), \
         `urlencode`, `default(\"text\")`. A template is refused when each of its messages would \
         be blank or too long, or contain a placeholder that nothing fills. The group may still be empty; when it is not, some \
         customer of it must have each field of `segment_by`.",
        json!({
            "name": "Spring sale",
            "customer_group_id": examples::OLD_GROUP,
            "segment_by": [
                { "field": "country", "normalise": ["casefold"], "values": { "Germany": "DE" } },
                "tier",
            ],
            "template": { "subject": "Hello {{ country }}", "body": "Spring is here." },
            "approval_stages": ["Review"],
        }),
    )
    .keyed()
    .answers::<CampaignItem<'_>>({
        let mut draft = examples::campaign();
        draft["status"] = json!("Draft");
        draft["segment_by"] = json!([
            { "field": "country", "normalise": ["casefold"], "values": { "Germany": "DE" } },
            "tier",
        ]);
        draft["current_run_number"] = json!(null);
        draft["updated_at"] = draft["created_at"].clone();
        draft
    })
    .refuses(&[Code::CustomerGroupNotFound, Code::UnknownSegmentField])
}
