use rerun_wire::api::customer_group::create::Request;
use rerun_wire::items::GroupItem;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::state::State;

/// `POST /v1/customer-group/create`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let name = required.text("name", body.name);
    required.check()?;
    let made = state
        .engine
        .groups
        .create(&caller, &name, key.as_deref())
        .await?;
    answered(&made, GroupItem::from)
}
