use rerun_core::campaign::Template;
use rerun_core::ids::CustomerGroupId;
use rerun_core::usecases::NewCampaign;
use serde::Deserialize;

use crate::extract::{JsonCall, Object, Required, State};
use crate::wire::{Answer, CampaignItem, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    name: Option<String>,
    customer_group_id: Option<String>,
    segment_by: Option<Vec<String>>,
    template: Option<Object<RequestTemplate>>,
    brief: Option<String>,
    approval_stages: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RequestTemplate {
    subject: Option<String>,
    body: Option<String>,
}

/// `POST /v1/campaign/create`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let name = required.text("name", body.name);
    let customer_group = required.text("customer_group_id", body.customer_group_id);
    let segment_by = required.value("segment_by", body.segment_by);
    let template = match body.template {
        Some(Object(template)) => Template {
            subject: required.text("template.subject", template.subject),
            body: required.text("template.body", template.body),
        },
        None => Template {
            subject: required.value("template", None),
            body: String::new(),
        },
    };
    required.check()?;
    let new = NewCampaign {
        name,
        customer_group_id: CustomerGroupId::parse(&customer_group),
        segment_by,
        template,
        brief: body.brief,
        approval_stages: body.approval_stages,
    };
    let campaign = state.engine.campaigns.create(&caller, new).await?;
    json(&CampaignItem::from(&campaign))
}
