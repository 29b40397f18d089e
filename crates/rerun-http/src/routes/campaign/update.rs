use rerun_core::campaign::{ApprovalStages, Stage, Template};
use rerun_core::usecases::CampaignChanges;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::create::RequestTemplate;
use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::campaign_id;
use crate::state::State;
use crate::wire::{Answer, CampaignItem, answered};
use rerun_wire::json::Object;

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignUpdateRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// Another name. White space around it goes.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
    )]
    name: Option<String>,
    /// Another template, whole.
    #[schema(value_type = Option<RequestTemplate>)]
    template: Option<Object<RequestTemplate>>,
    /// Another brief for a language model.
    #[schema(max_length = 20_000, pattern = "^[^\\u0000]*$")]
    brief: Option<String>,
    /// Other stages, in `Draft` and `Published` only: 1 to 16 different names of at most 100 characters.
    #[schema(value_type = Option<Vec<schema::ApprovalStage>>, min_items = 1, max_items = 16)]
    approval_stages: Option<Vec<Stage>>,
    /// Whether each person can approve a message at one stage only from now on.
    distinct_reviewers: Option<bool>,
    /// Whether the event `campaign.rerun_suggested` says when an import makes a rerun worthwhile.
    suggest_reruns: Option<bool>,
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

/// `POST /v1/campaign/update`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let template = body.template.map(|Object(template)| Template {
        subject: required.text("template.subject", template.subject),
        body: required.text("template.body", template.body),
    });
    required.check()?;
    let stages = body.approval_stages;
    let changes = CampaignChanges {
        name: body.name,
        template,
        brief: body.brief,
        approval_stages: stages.map(ApprovalStages::declare).transpose()?,
        distinct_reviewers: body.distinct_reviewers,
        suggest_reruns: body.suggest_reruns,
    };
    let campaign = campaign_id(&campaign);
    let updated = state
        .engine
        .campaigns
        .update(&caller, campaign, changes, key.as_deref())
        .await?;
    answered(&updated, CampaignItem::from)
}
