use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerGroupDeleteRequest)]
pub struct Request {
    /// The id of the customer group.
    #[schema(value_type = Uuid, required)]
    pub customer_group_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CustomerGroupDeleteResponse)]
pub struct Response {
    /// How many customers were deleted.
    #[schema(minimum = 0)]
    pub deleted_customers: u64,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "Delete a customer group",
        "Deletes the group with its customers. This cannot be undone. The history of campaigns \
         keeps the group's id and the name that it had at each run; everywhere else, the group \
         no longer exists. A group cannot be deleted while it is the group of a `Draft` \
         campaign, of a campaign's current run, or of a schedule.",
        json!({ "customer_group_id": examples::GROUP }),
    )
    .keyed()
    .answers::<Response>(json!({ "deleted_customers": 120_000 }))
    .refuses(&[Code::CustomerGroupNotFound, Code::InUse])
}
