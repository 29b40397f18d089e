use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{JsonCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::routes::params::customer_group_id;
use crate::state::State;
use crate::wire::{self, Answer, GroupItem};

#[derive(Deserialize, ToSchema)]
#[schema(as = CustomerGroupGetRequest)]
pub(crate) struct Request {
    /// The customer group.
    #[schema(value_type = Uuid, required)]
    customer_group_id: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::CustomerGroups,
        "Get a customer group",
        "With the number of its customers.",
        json!({ "customer_group_id": examples::GROUP }),
    )
    .answers::<GroupItem<'_>>(examples::group())
    .refuses(&[Code::CustomerGroupNotFound])
}

/// `POST /v1/customer-group/get`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let group = required.text("customer_group_id", body.customer_group_id);
    required.check()?;
    let group = state
        .engine
        .groups
        .get(&caller, customer_group_id(&group))
        .await?;
    wire::json(&GroupItem::from(&group))
}
