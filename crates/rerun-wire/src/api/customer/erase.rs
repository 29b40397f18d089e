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
    /// How many groups had the customer.
    #[schema(minimum = 1)]
    pub erased_groups: u64,
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
