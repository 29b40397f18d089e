use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::item::WebhookItem;
use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookCreateRequest)]
pub struct Request {
    /// Where events are sent: `https`, a name or address that everybody can reach, no user name and
    /// no fragment.
    #[schema(value_type = String, max_length = 2_000, required)]
    pub url: Option<String>,
    /// The types of events that it gets; all when not given.
    #[schema(value_type = Option<Vec<schema::AuditAction>>, min_items = 1)]
    pub types: Option<Vec<String>>,
    /// Only events about this campaign.
    #[schema(value_type = Option<Uuid>)]
    pub campaign_id: Option<String>,
    /// What it is for.
    #[schema(value_type = Option<String>, max_length = 1_000)]
    pub description: Option<String>,
    /// Whether an event waits until the one before is delivered or given up.
    #[schema(value_type = Option<bool>, default = false)]
    pub ordered: Option<bool>,
    /// It gets events after this number; those from now on when not given. A number beyond the
    /// newest event counts as the newest.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub after_sequence: Option<Integer>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Make a webhook",
        "Events are sent to its URL from now on, or from a number on, each signed with its `secret`. \
         The secret is shown here and by its rotation, and nowhere else. An account may have 20 \
         webhooks unless the operator set another number.",
        json!({
            "url": "https://example.com/rerun",
            "types": ["campaign.published", "run.failed"],
            "description": "For the data team",
        }),
    )
    .keyed()
    .answers::<WebhookItem<'_>>({
        let mut made = examples::webhook();
        made["secret"] = json!("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDqk7O3aG6GkM=");
        made
    })
    .refuses(&[Code::CampaignNotFound])
}
