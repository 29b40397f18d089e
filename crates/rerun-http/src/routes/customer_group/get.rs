use rerun_wire::api::customer_group::get::Request;
use rerun_wire::items::GroupItem;

use crate::answer::{self, Answer};
use crate::extract::{JsonCall, Required};
use crate::routes::params::customer_group_id;
use crate::state::State;

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
    answer::json(&GroupItem::from(&group))
}
