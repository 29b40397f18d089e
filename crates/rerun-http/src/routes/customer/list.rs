use rerun_wire::api::customer::list::{Item, Request, Response};

use crate::answer::{self, Answer};
use crate::extract::{JsonCall, Required};
use crate::routes::params::{customer_group_id, page};
use crate::state::State;

/// `POST /v1/customer/list`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let group = required.text("customer_group_id", body.customer_group_id);
    required.check()?;
    let page = page(body.limit, body.cursor);
    let refs = body.customer_refs.as_deref();
    let groups = &state.engine.groups;
    let found = groups
        .customers(&caller, customer_group_id(&group), refs, &page)
        .await?;
    answer::json(&Response {
        customers: found.items.iter().map(Item::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
