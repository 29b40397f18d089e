use serde::{Deserialize, Serialize};

use crate::extract::{Integer, JsonCall, State};
use crate::routes::page;
use crate::wire::{Answer, GroupItem, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    limit: Option<Integer>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Response<'a> {
    customer_groups: Vec<GroupItem<'a>>,
    next_cursor: Option<&'a str>,
}

/// `POST /v1/customer-group/list`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let page = page(body.limit, body.cursor);
    let found = state.engine.groups.list(&caller, &page).await?;
    json(&Response {
        customer_groups: found.items.iter().map(GroupItem::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
