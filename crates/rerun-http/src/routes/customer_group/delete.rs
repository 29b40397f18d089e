use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::routes::params::customer_group_id;
use crate::state::State;
use crate::wire::{Answer, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerGroupDeleteRequest)]
pub(crate) struct Request {
    /// The customer group.
    #[schema(value_type = Uuid, required)]
    customer_group_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CustomerGroupDeleteResponse)]
struct Response {
    /// How many customers it had.
    #[schema(minimum = 0)]
    deleted_customers: u64,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "Delete a customer group",
        "With its customers. It cannot be taken back. The history keeps the group's id and the name \
         that it had at each run; for everything else the group is not there any more. A group is \
         in use while it is the group of a `Draft` campaign or of a campaign's current run.",
        json!({ "customer_group_id": examples::GROUP }),
    )
    .keyed()
    .answers::<Response>(json!({ "deleted_customers": 120_000 }))
    .refuses(&[Code::CustomerGroupNotFound, Code::InUse])
}

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
