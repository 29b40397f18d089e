use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag};
use crate::state::State;
use crate::wire::{Answer, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerEraseRequest)]
pub(crate) struct Request {
    /// The customer's reference.
    #[schema(value_type = String, required)]
    customer_ref: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CustomerEraseResponse)]
struct Response {
    /// How many groups had the customer.
    #[schema(minimum = 1)]
    erased_groups: u64,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "Erase a customer",
        "Deletes the customer from every group of the account. The audit entry has a SHA-256 of the \
         account and the reference, never the reference. An import that is under way, or that comes \
         later, brings the customer again if its file has the customer.",
        json!({ "customer_ref": "C-1" }),
    )
    .keyed()
    .answers::<Response>(json!({ "erased_groups": 3 }))
    .refuses(&[Code::CustomerNotFound])
}

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
