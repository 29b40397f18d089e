use rerun_core::campaign::Stage;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::create::RequestTemplate;
use crate::codes::Code;
use crate::items::CampaignItem;
use crate::json::Object;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignUpdateRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The new name. Surrounding white space is removed.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
    )]
    pub name: Option<String>,
    /// The new template. It replaces both the subject and the body.
    #[schema(value_type = Option<RequestTemplate>)]
    pub template: Option<Object<RequestTemplate>>,
    /// The new instructions for a language model.
    #[schema(max_length = 20_000, pattern = "^[^\\u0000]*$")]
    pub brief: Option<String>,
    /// The new approval stages: 1 to 16 different names of at most 100 characters. They can be
    /// changed only while the campaign is `Draft` or `Published`.
    #[schema(value_type = Option<Vec<schema::ApprovalStage>>, min_items = 1, max_items = 16)]
    pub approval_stages: Option<Vec<Stage>>,
    /// Whether, from now on, each person can approve a message at one stage only.
    pub distinct_reviewers: Option<bool>,
    /// Whether the event `campaign.rerun_suggested` is written if a rerun would change something
    /// after an import.
    pub suggest_reruns: Option<bool>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Update a campaign",
        "Changes the name, template, brief, approval stages, `distinct_reviewers` or \
         `suggest_reruns`; at least one of them must be given. Everything that is generated from \
         then on uses the new values, also by a retry or a regeneration; existing content stays \
         as it is. A campaign that is `Processing` cannot be changed. Its approval stages can be \
         changed only while it is `Draft` or `Published`.",
        json!({
            "campaign_id": examples::CAMPAIGN,
            "template": { "subject": "Hello {{ country }}", "body": "Spring is here." },
        }),
    )
    .keyed()
    .answers::<CampaignItem<'_>>(examples::campaign())
    .refuses(&[Code::CampaignNotFound, Code::InvalidTransition])
}
