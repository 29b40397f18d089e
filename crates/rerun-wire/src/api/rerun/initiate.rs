use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::REFUSALS;
use crate::items::RunStartedItem;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunInitiateRequest)]
pub struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The group to take the campaign to.
    #[schema(value_type = Uuid, required)]
    pub new_customer_group_id: Option<String>,
    /// By default the current run.
    #[schema(value_type = Option<schema::ReuseFrom>)]
    pub reuse_from: Option<String>,
    /// Whether fields to segment by that no customer of the group has are allowed. By default
    /// they are refused. This applies to this request only.
    #[schema(default = false)]
    pub allow_missing_fields: Option<bool>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "Take a published campaign to a new customer group",
        "In one atomic step: segments of the new group that have a published message reuse it, \
         the others are queued for generation, and the messages of the run before are archived. \
         With new segments the campaign is `Processing`, then `Ready for review`; without, it is \
         `Ready to publish` at once. Of any number of initiates at the same time one succeeds.",
        json!({
            "campaign_id": examples::CAMPAIGN,
            "new_customer_group_id": examples::GROUP,
            "reuse_from": "current_run",
        }),
    )
    .keyed()
    .answers::<RunStartedItem<'_>>(examples::started())
    .refuses(&REFUSALS)
}
