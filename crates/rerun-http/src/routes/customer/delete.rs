use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::routes::params::customer_group_id;
use crate::state::State;
use crate::wire::{Answer, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerDeleteRequest)]
pub(crate) struct Request {
    /// The customer group.
    #[schema(value_type = Uuid, required)]
    customer_group_id: Option<String>,
    /// The references of the customers; one that the group does not have counts as 0.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 10_000, required)]
    customer_refs: Option<Vec<String>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CustomerDeleteResponse)]
struct Response {
    /// How many customers were deleted.
    #[schema(minimum = 0)]
    deleted_customers: u64,
    /// How many customers the group has left.
    #[schema(minimum = 0)]
    total: u64,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "Delete customers of a group",
        "All that are named, at once. Other groups keep them. Counts of segments follow: a preview \
         right after it counts without them.",
        json!({ "customer_group_id": examples::GROUP, "customer_refs": ["C-1", "C-2"] }),
    )
    .keyed()
    .answers::<Response>(json!({ "deleted_customers": 2, "total": 119_998 }))
    .refuses(&[Code::CustomerGroupNotFound])
}

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
