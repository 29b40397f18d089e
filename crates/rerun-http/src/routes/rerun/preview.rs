use rerun_wire::api::rerun::preview::{Field, Item, Request, Response, Unseen};

use super::rerun_request;
use crate::answer::{self, Answer};
use crate::extract::JsonCall;
use crate::routes::params::page;
use crate::state::State;

/// `POST /v1/campaign/rerun/preview`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let request = rerun_request(
        body.campaign_id,
        body.new_customer_group_id,
        body.reuse_from.as_deref(),
        body.allow_missing_fields,
    )?;
    let page = page(body.limit, body.cursor);
    let preview = state.engine.reruns.preview(&caller, request, &page).await?;
    let items = preview.items.items.iter().map(|item| Item {
        segment: &item.segment,
        outcome: if item.reuses.is_some() {
            "matched"
        } else {
            "new"
        },
        reuses: item.reuses,
        suggestion: item.suggestion.as_ref(),
    });
    let fields = preview.fields.iter().map(|field| Field {
        name: &field.coverage.name,
        customers_without_value: field.coverage.customers_without_value,
        distinct: field.values.distinct,
        unparsed: field.coverage.unparsed,
        unseen_values: field
            .values
            .unseen_values
            .iter()
            .map(Unseen::from)
            .collect(),
    });
    answer::json(&Response {
        campaign_id: request.campaign,
        customer_group: (&preview.group).into(),
        customer_count: preview.customer_count,
        fields: fields.collect(),
        segments: preview.segments,
        single_customer_segments: preview.single_customer_segments,
        needless: preview.needless,
        resulting_status: preview.resulting_status,
        items: items.collect(),
        next_cursor: preview.items.next_cursor.as_deref(),
    })
}
