use rerun_wire::api::customer_group::update::Request;
use rerun_wire::items::GroupItem;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::customer_group_id;
use crate::state::State;

/// `POST /v1/customer-group/update`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let group = required.text("customer_group_id", body.customer_group_id);
    let name = required.text("name", body.name);
    required.check()?;
    let renamed = state
        .engine
        .groups
        .rename(&caller, customer_group_id(&group), &name, key.as_deref())
        .await?;
    answered(&renamed, GroupItem::from)
}
