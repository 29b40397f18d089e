use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::openapi::{Docs, Tag};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerEraseRequest)]
pub struct Request {
    /// The customer's reference.
    #[schema(value_type = String, required)]
    pub customer_ref: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CustomerEraseResponse)]
pub struct Response {
    /// From how many groups the customer was deleted.
    #[schema(minimum = 1)]
    pub erased_groups: u64,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "Erase a customer",
        "Deletes the customer from every group of the account. The audit entry contains a SHA-256 \
         hash of the account and the reference, never the reference itself. If the file of an \
         import contains the customer, an import that is under way or that starts later adds the \
         customer again.",
        json!({ "customer_ref": "C-1" }),
    )
    .keyed()
    .answers::<Response>(json!({ "erased_groups": 3 }))
    .refuses(&[Code::CustomerNotFound])
}
