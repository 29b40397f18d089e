use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::items::GroupItem;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerGroupCreateRequest)]
pub struct Request {
    /// The name of the group. Surrounding white space is removed.
    #[schema(value_type = String, min_length = 1, max_length = 255, pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$", required)]
    pub name: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "Create a customer group",
        "Creates a group without customers. Use `customer-group/import` to add them.",
        json!({ "name": "Spring 2026" }),
    )
    .keyed()
    .answers::<GroupItem<'_>>({
        let mut made = examples::group();
        made["customer_count"] = json!(0);
        made["fields"] = json!([]);
        made["updated_at"] = made["created_at"].clone();
        made
    })
}
