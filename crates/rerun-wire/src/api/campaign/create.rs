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
    /// The name of the campaign. Surrounding white space is removed.
    #[schema(value_type = String, min_length = 1, max_length = 255, pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$", required)]
    pub name: Option<String>,
    /// The id of the customer group.
    #[schema(value_type = Uuid, required)]
    pub customer_group_id: Option<String>,
    /// The profile fields to segment by: 1 to 8 different ones. Each is a name, or an object with
    /// value rules.
    #[schema(value_type = Vec<schema::SegmentField>, min_items = 1, max_items = 8, required)]
    pub segment_by: Option<Vec<FieldDeclaration>>,
    #[schema(value_type = RequestTemplate, required)]
    pub template: Option<Object<RequestTemplate>>,
    /// Instructions for a language model.
    #[schema(max_length = 20_000, pattern = "^[^\\u0000]*$")]
    pub brief: Option<String>,
    /// The approval stages that a message must pass, in order: 1 to 16 different names of at most
    /// 100 characters, by default `["Review"]`. Each is a name, or an object with the roles that
    /// can pass the stage.
    #[schema(value_type = Option<Vec<schema::ApprovalStage>>, min_items = 1, max_items = 16)]
    pub approval_stages: Option<Vec<Stage>>,
    /// Whether each person can approve a message at one stage only.
    #[schema(default = false)]
    pub distinct_reviewers: Option<bool>,
    /// Whether the event `campaign.rerun_suggested` is written if a rerun would change something
    /// after an import into the current run's group.
    #[schema(default = true)]
    pub suggest_reruns: Option<bool>,
    /// Whether to allow fields to segment by for which no customer of the group has a value. By
    /// default they are refused. This applies to this request only.
    #[schema(default = false)]
    pub allow_missing_fields: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = NewTemplate)]
pub struct RequestTemplate {
    /// The subject line, without control characters.
    #[schema(value_type = String, min_length = 1, max_length = 1_000, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*[^\\s\\u0000-\\u001f\\u007f-\\u009f][^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$", required)]
    pub subject: Option<String>,
    /// The body.
    #[schema(value_type = String, min_length = 1, max_length = 200_000, pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$", required)]
    pub body: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Create a campaign",
        "Creates a campaign that is a `Draft`. In the template, `{{ field }}` is replaced by the \
         segment's value of a field of `segment_by`; any other name is refused. Up to 8 filters \
         may follow, as in `{{ field | trim | upper }}`: `upper`, `lower`, `title`, `trim`, \
         `escape` (for HTML), `urlencode`, `default(\"text\")`. A template is refused if each of \
         its messages would be blank or too long, or would contain an unfilled placeholder. The \
         group may still be empty. If it is not, at least one of its customers must have a value \
         for each field of `segment_by`, unless `allow_missing_fields` is true.",
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
