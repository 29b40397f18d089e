use rerun_core::campaign::Template;
use rerun_core::ids::CustomerGroupId;
use rerun_core::usecases::NewCampaign;
use rerun_wire::api::campaign::create::{Request, RequestTemplate};
use rerun_wire::items::CampaignItem;
use rerun_wire::json::Object;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::state::State;

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
