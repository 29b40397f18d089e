use std::collections::BTreeMap;

use rerun_core::group::Customer;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerListRequest)]
pub struct Request {
    /// The id of the customer group.
    #[schema(value_type = Uuid, required)]
    pub customer_group_id: Option<String>,
    /// Return only customers with one of these references.
    #[schema(max_items = 1_000)]
    pub customer_refs: Option<Vec<String>>,
    /// The maximum number of items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// The `next_cursor` of the previous page. Leave it out for the first page.
    pub cursor: Option<String>,
}

/// A customer of a group.
#[derive(Serialize, ToSchema)]
#[schema(as = Customer)]
pub struct Item<'a> {
    /// The customer's reference.
    pub customer_ref: &'a str,
    /// The customer's values, by the name of the field. Fields without a value are left out.
    pub profile: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a Customer> for Item<'a> {
    fn from(customer: &'a Customer) -> Self {
        Self {
            customer_ref: &customer.customer_ref,
            profile: &customer.profile,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = CustomerListResponse)]
pub struct Response<'a> {
    /// The customers, ordered by the bytes of `customer_ref`.
    pub customers: Vec<Item<'a>>,
    /// The `cursor` for the next page; `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "List the customers of a group",
        "Returns the customers, ordered by `customer_ref`. With `customer_refs`, it returns only \
         the named customers; those that are not in the group are left out.",
        json!({ "customer_group_id": examples::GROUP, "limit": 100 }),
    )
    .answers::<Response<'_>>(json!({
        "customers": [
            { "customer_ref": "C-1", "profile": { "country": "DE", "tier": "gold" } },
        ],
        "next_cursor": null,
    }))
    .refuses(&[Code::CustomerGroupNotFound])
}
