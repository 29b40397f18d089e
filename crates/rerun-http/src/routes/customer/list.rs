use std::collections::BTreeMap;

use rerun_core::group::Customer;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{JsonCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::routes::params::{customer_group_id, page};
use crate::state::State;
use crate::wire::{self, Answer};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerListRequest)]
pub(crate) struct Request {
    /// The customer group.
    #[schema(value_type = Uuid, required)]
    customer_group_id: Option<String>,
    /// Only customers with one of these references.
    #[schema(max_items = 1_000)]
    customer_refs: Option<Vec<String>>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<Integer>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A customer of a group.
#[derive(Serialize, ToSchema)]
#[schema(as = Customer)]
struct Item<'a> {
    /// The customer's reference.
    customer_ref: &'a str,
    /// The customer's values by field name; fields without a value are not there.
    profile: &'a BTreeMap<String, String>,
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
struct Response<'a> {
    /// The customers, in the order of the bytes of `customer_ref`.
    customers: Vec<Item<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "List the customers of a group",
        "In the order of `customer_ref`; with `customer_refs`, those that the group has of them.",
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

/// `POST /v1/customer/list`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let group = required.text("customer_group_id", body.customer_group_id);
    required.check()?;
    let page = page(body.limit, body.cursor);
    let refs = body.customer_refs.as_deref();
    let groups = &state.engine.groups;
    let found = groups
        .customers(&caller, customer_group_id(&group), refs, &page)
        .await?;
    wire::json(&Response {
        customers: found.items.iter().map(Item::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
