use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::items::GroupItem;
use crate::openapi::{Docs, Tag, examples};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerGroupGetRequest)]
pub struct Request {
    /// The id of the customer group.
    #[schema(value_type = Uuid, required)]
    pub customer_group_id: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "Get a customer group",
        "Returns the group with the number of its customers and the names of their fields.",
        json!({ "customer_group_id": examples::GROUP }),
    )
    .answers::<GroupItem<'_>>(examples::group())
    .refuses(&[Code::CustomerGroupNotFound])
}
