use rerun_core::campaign::{Stage, Template};
use rerun_core::ids::CustomerGroupId;
use rerun_core::rules::FieldDeclaration;
use rerun_core::usecases::NewCampaign;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::state::State;
use crate::wire::{Answer, CampaignItem, answered};
use rerun_wire::json::Object;

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignCreateRequest)]
pub(crate) struct Request {
    /// Its name. White space around it goes.
    #[schema(value_type = String, min_length = 1, max_length = 255, pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$", required)]
    name: Option<String>,
    /// The customer group.
    #[schema(value_type = Uuid, required)]
    customer_group_id: Option<String>,
    /// The profile fields that make segments: 1 to 8 different ones.
    /// Each is a name, or an object with value rules.
    #[schema(value_type = Vec<schema::SegmentField>, min_items = 1, max_items = 8, required)]
    segment_by: Option<Vec<FieldDeclaration>>,
    #[schema(value_type = RequestTemplate, required)]
    template: Option<Object<RequestTemplate>>,
    /// What a language model should write.
    #[schema(max_length = 20_000, pattern = "^[^\\u0000]*$")]
    brief: Option<String>,
    /// The stages that a message passes, in order: 1 to 16 different names of at most 100 characters. By default `["Review"]`.
    /// Each is a name, or an object with the roles that can pass the stage.
    #[schema(value_type = Option<Vec<schema::ApprovalStage>>, min_items = 1, max_items = 16)]
    approval_stages: Option<Vec<Stage>>,
    /// Whether each person can approve a message at one stage only.
    #[schema(default = false)]
    distinct_reviewers: Option<bool>,
    /// Whether the event `campaign.rerun_suggested` says when an import into the group of the
    /// current run makes a rerun worthwhile.
    #[schema(default = true)]
    suggest_reruns: Option<bool>,
    /// Whether fields to segment by that no customer of the group has are allowed. By default
    /// they are refused. This applies to this request only.
    #[schema(default = false)]
    allow_missing_fields: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = NewTemplate)]
pub(super) struct RequestTemplate {
    /// Subject line, without control characters.
    #[schema(value_type = String, min_length = 1, max_length = 1_000, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*[^\\s\\u0000-\\u001f\\u007f-\\u009f][^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$", required)]
    pub(super) subject: Option<String>,
    /// Body.
    #[schema(value_type = String, min_length = 1, max_length = 200_000, pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$", required)]
    pub(super) body: Option<String>,
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

/// A template that must be there, with both of its texts.
pub(super) fn required_template(
    required: &mut Required,
    template: Option<Object<RequestTemplate>>,
) -> Template {
    match template {
        Some(Object(template)) => Template {
            subject: required.text("template.subject", template.subject),
            body: required.text("template.body", template.body),
        },
        None => Template {
            subject: required.value("template", None),
            body: String::new(),
        },
    }
}

/// `POST /v1/campaign/create`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let name = required.text("name", body.name);
    let customer_group = required.text("customer_group_id", body.customer_group_id);
    let segment_by = required.value("segment_by", body.segment_by);
    let template = required_template(&mut required, body.template);
    required.check()?;
    let new = NewCampaign {
        name,
        customer_group_id: CustomerGroupId::parse(&customer_group),
        segment_by,
        template,
        brief: body.brief,
        approval_stages: body.approval_stages,
        distinct_reviewers: body.distinct_reviewers.unwrap_or_default(),
        suggest_reruns: body.suggest_reruns,
        allow_missing_fields: body.allow_missing_fields.unwrap_or_default(),
    };
    let made = state
        .engine
        .campaigns
        .create(&caller, new, key.as_deref())
        .await?;
    answered(&made, CampaignItem::from)
}
