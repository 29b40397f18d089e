use serde::Deserialize;

use crate::extract::{JsonCall, Required, State};
use crate::wire::{Answer, GroupItem, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    name: Option<String>,
}

/// `POST /v1/customer-group/create`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let name = required.text("name", body.name);
    required.check()?;
    let group = state.engine.groups.create(&caller, &name).await?;
    json(&GroupItem::from(&group))
}
