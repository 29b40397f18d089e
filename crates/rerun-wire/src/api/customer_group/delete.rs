use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerGroupDeleteRequest)]
pub struct Request {
    /// The customer group.
    #[schema(value_type = Uuid, required)]
    pub customer_group_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CustomerGroupDeleteResponse)]
pub struct Response {
    /// How many customers it had.
    #[schema(minimum = 0)]
    pub deleted_customers: u64,
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
