use rerun_core::campaign::{ApprovalStages, Template};
use rerun_core::usecases::CampaignChanges;
use rerun_wire::api::campaign::update::Request;
use rerun_wire::items::CampaignItem;
use rerun_wire::json::Object;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::campaign_id;
use crate::state::State;

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
