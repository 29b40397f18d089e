use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::GroupItem;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerGroupUpdateRequest)]
pub struct Request {
    /// The id of the customer group.
    #[schema(value_type = Uuid, required)]
    pub customer_group_id: Option<String>,
    /// The new name. Surrounding white space is removed.
    #[schema(value_type = String, min_length = 1, max_length = 255, pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$", required)]
    pub name: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "Rename a customer group",
        "Changes the name of the group, but not its customers and its `updated_at`. If the group \
         already has this name, nothing is changed.",
        json!({ "customer_group_id": examples::GROUP, "name": "Spring 2026" }),
    )
    .keyed()
    .answers::<GroupItem<'_>>(examples::group())
    .refuses(&[Code::CustomerGroupNotFound])
}
