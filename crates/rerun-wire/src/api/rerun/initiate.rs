use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::REFUSALS;
use crate::items::RunStartedItem;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunInitiateRequest)]
pub struct Request {
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The id of the customer group for the rerun.
    #[schema(value_type = Uuid, required)]
    pub new_customer_group_id: Option<String>,
    /// Which messages can be reused; by default those of the current run.
    #[schema(value_type = Option<schema::ReuseFrom>)]
    pub reuse_from: Option<String>,
    /// Whether to allow fields to segment by for which no customer of the group has a value. By
    /// default they are refused. This applies to this request only.
    #[schema(default = false)]
    pub allow_missing_fields: Option<bool>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "Initiate a rerun for a new customer group",
        "Starts a new run of a published campaign, in one atomic step. Segments of the new group \
         that have a published message reuse it, messages for the other segments are queued for \
         generation, and the messages of the previous run are archived. If there are new \
         segments, the campaign is `Processing`, and `Ready for review` once they are generated. \
         If there are none, it is `Ready to publish` at once. If several requests initiate a \
         rerun of one campaign at the same time, exactly one succeeds.",
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
