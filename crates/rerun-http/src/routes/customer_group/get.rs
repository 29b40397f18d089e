use serde::Deserialize;

use crate::extract::{JsonCall, Required, State};
use crate::routes::customer_group_id;
use crate::wire::{Answer, GroupItem, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    customer_group_id: Option<String>,
}

/// `POST /v1/customer-group/get`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let group = required.text("customer_group_id", body.customer_group_id);
    required.check()?;
    let group = state
        .engine
        .groups
        .get(&caller, customer_group_id(&group))
        .await?;
    json(&GroupItem::from(&group))
}
