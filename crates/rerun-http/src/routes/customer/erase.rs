use rerun_wire::api::customer::erase::{Request, Response};

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::state::State;

/// `POST /v1/customer/erase`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let customer = required.text("customer_ref", body.customer_ref);
    required.check()?;
    let groups = &state.engine.groups;
    let erased = groups.erase(&caller, &customer, key.as_deref()).await?;
    answered(&erased, |groups| Response {
        erased_groups: *groups,
    })
}
