use rerun_wire::api::customer::delete::{Request, Response};

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::customer_group_id;
use crate::state::State;

/// `POST /v1/customer/delete`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let group = required.text("customer_group_id", body.customer_group_id);
    let refs = required.list("customer_refs", body.customer_refs);
    required.check()?;
    let groups = &state.engine.groups;
    let deleted = groups
        .delete_customers(&caller, customer_group_id(&group), &refs, key.as_deref())
        .await?;
    answered(&deleted, |deleted| Response {
        deleted_customers: deleted.deleted_customers,
        total: deleted.total,
    })
}
