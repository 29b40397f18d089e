use rerun_wire::api::customer_group::list::{Request, Response};
use rerun_wire::items::GroupItem;

use crate::answer::{self, Answer};
use crate::extract::JsonCall;
use crate::routes::params::page;
use crate::state::State;

/// `POST /v1/customer-group/list`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let page = page(body.limit, body.cursor);
    let found = state.engine.groups.list(&caller, &page).await?;
    answer::json(&Response {
        customer_groups: found.items.iter().map(GroupItem::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
