use rerun_wire::api::customer_group::delete::{Request, Response};

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::customer_group_id;
use crate::state::State;

/// `POST /v1/customer-group/delete`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let group = required.text("customer_group_id", body.customer_group_id);
    required.check()?;
    let groups = &state.engine.groups;
    let deleted = groups
        .delete(&caller, customer_group_id(&group), key.as_deref())
        .await?;
    answered(&deleted, |customers| Response {
        deleted_customers: *customers,
    })
}
