use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerDeleteRequest)]
pub struct Request {
    /// The id of the customer group.
    #[schema(value_type = Uuid, required)]
    pub customer_group_id: Option<String>,
    /// The references of the customers. A reference that the group does not have is ignored.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 10_000, required)]
    pub customer_refs: Option<Vec<String>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CustomerDeleteResponse)]
pub struct Response {
    /// How many customers were deleted.
    #[schema(minimum = 0)]
    pub deleted_customers: u64,
    /// How many customers are left in the group.
    #[schema(minimum = 0)]
    pub total: u64,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "Delete customers from a group",
        "Deletes all named customers from the group in one step. Other groups keep them. Segments \
         are counted without them from then on, for example in the next preview.",
        json!({ "customer_group_id": examples::GROUP, "customer_refs": ["C-1", "C-2"] }),
    )
    .keyed()
    .answers::<Response>(json!({ "deleted_customers": 2, "total": 119_998 }))
    .refuses(&[Code::CustomerGroupNotFound])
}
