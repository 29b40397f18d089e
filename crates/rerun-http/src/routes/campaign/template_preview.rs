use rerun_core::ids::CustomerGroupId;
use rerun_core::usecases::{FilledSegment, TemplateTrial};
use rerun_wire::api::campaign::template_preview::{Item, Request, Response};

use super::create::required_template;
use crate::answer::{self, Answer};
use crate::extract::{JsonCall, Required};
use crate::state::State;

/// `POST /v1/campaign/template/preview`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let customer_group = required.text("customer_group_id", body.customer_group_id);
    let segment_by = required.value("segment_by", body.segment_by);
    let template = required_template(&mut required, body.template);
    required.check()?;
    let trial = TemplateTrial {
        customer_group_id: CustomerGroupId::parse(&customer_group),
        segment_by,
        template,
        limit: body.limit.map(|limit| limit.0),
        allow_missing_fields: body.allow_missing_fields.unwrap_or_default(),
    };
    let campaigns = &state.engine.campaigns;
    let filled = campaigns.preview_template(&caller, trial).await?;
    let items = filled
        .items
        .iter()
        .map(|FilledSegment { segment, content }| Item { segment, content });
    answer::json(&Response {
        segment_count: filled.segment_count,
        items: items.collect(),
    })
}
