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
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// Another name. White space around it goes.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
    )]
    pub name: Option<String>,
    /// Another template, whole.
    #[schema(value_type = Option<RequestTemplate>)]
    pub template: Option<Object<RequestTemplate>>,
    /// Another brief for a language model.
    #[schema(max_length = 20_000, pattern = "^[^\\u0000]*$")]
    pub brief: Option<String>,
    /// Other stages, in `Draft` and `Published` only: 1 to 16 different names of at most 100 characters.
    #[schema(value_type = Option<Vec<schema::ApprovalStage>>, min_items = 1, max_items = 16)]
    pub approval_stages: Option<Vec<Stage>>,
    /// Whether each person can approve a message at one stage only from now on.
    pub distinct_reviewers: Option<bool>,
    /// Whether the event `campaign.rerun_suggested` says when an import makes a rerun worthwhile.
    pub suggest_reruns: Option<bool>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Change a campaign",
        "Its name, template, brief, approval stages, `distinct_reviewers` or `suggest_reruns`; at \
         least one must be given. Everything that \
         is generated from then on follows the change, by a retry or a regeneration too; content \
         that is there stays. A campaign that is `Processing` cannot be changed, and its stages \
         only while it is `Draft` or `Published`.",
        json!({
            "campaign_id": examples::CAMPAIGN,
            "template": { "subject": "Hello {{ country }}", "body": "Spring is here." },
        }),
    )
    .keyed()
    .answers::<CampaignItem<'_>>(examples::campaign())
    .refuses(&[Code::CampaignNotFound, Code::InvalidTransition])
}
