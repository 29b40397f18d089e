use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::routes::params::customer_group_id;
use crate::state::State;
use crate::wire::{Answer, GroupItem, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerGroupUpdateRequest)]
pub(crate) struct Request {
    /// The customer group.
    #[schema(value_type = Uuid, required)]
    customer_group_id: Option<String>,
    /// Its new name. White space around it goes.
    #[schema(value_type = String, min_length = 1, max_length = 255, pattern = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$", required)]
    name: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "Rename a customer group",
        "Its customers and its `updated_at` stay. The same name again changes nothing.",
        json!({ "customer_group_id": examples::GROUP, "name": "Spring 2026" }),
    )
    .keyed()
    .answers::<GroupItem<'_>>(examples::group())
    .refuses(&[Code::CustomerGroupNotFound])
}

/// `POST /v1/customer-group/update`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let group = required.text("customer_group_id", body.customer_group_id);
    let name = required.text("name", body.name);
    required.check()?;
    let renamed = state
        .engine
        .groups
        .rename(&caller, customer_group_id(&group), &name, key.as_deref())
        .await?;
    answered(&renamed, GroupItem::from)
}
