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
    /// The URL that events are sent to. It must start with `https://`, its host must have public
    /// addresses only, and it must contain no user name and no fragment. The operator can allow
    /// `http://` and other addresses.
    #[schema(value_type = String, max_length = 2_000, required)]
    pub url: Option<String>,
    /// The types of the events to send; by default all types.
    #[schema(value_type = Option<Vec<schema::AuditAction>>, min_items = 1)]
    pub types: Option<Vec<String>>,
    /// The id of a campaign: only events about it are sent. By default all events are sent.
    #[schema(value_type = Option<Uuid>)]
    pub campaign_id: Option<String>,
    /// What the webhook is for.
    #[schema(value_type = Option<String>, max_length = 1_000)]
    pub description: Option<String>,
    /// Whether each event waits until the previous one is delivered or given up.
    #[schema(value_type = Option<bool>, default = false)]
    pub ordered: Option<bool>,
    /// The events after this number are sent; by default, the events from now on. A number beyond
    /// the newest event counts as the newest.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub after_sequence: Option<Integer>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Create a webhook",
        "Sends events to the URL from now on, or those after `after_sequence`. Each is signed \
         with the webhook's `secret`. The secret is returned only here and by \
         `webhook/rotate-secret`. An account may have 20 webhooks unless the operator set another \
         limit.",
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
