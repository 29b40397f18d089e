use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::item::WebhookItem;
use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookUpdateRequest)]
pub struct Request {
    /// The webhook.
    #[schema(value_type = Uuid, required)]
    pub webhook_id: Option<String>,
    /// Where events are sent.
    #[schema(value_type = Option<String>, max_length = 2_000)]
    pub url: Option<String>,
    /// The types of events that it gets; an empty list for all.
    #[schema(value_type = Option<Vec<schema::AuditAction>>)]
    pub types: Option<Vec<String>>,
    /// Only events about this campaign; an empty text for all events.
    #[schema(value_type = Option<String>)]
    pub campaign_id: Option<String>,
    /// What it is for; an empty text for nothing.
    #[schema(value_type = Option<String>, max_length = 1_000)]
    pub description: Option<String>,
    /// Whether an event waits until the one before is delivered or given up.
    pub ordered: Option<bool>,
    /// Whether it gets events.
    #[schema(value_type = Option<schema::WebhookStatus>)]
    pub status: Option<String>,
    /// With the status `enabled`: it gets all events after this number, whatever it has got of
    /// them. Without a number it goes on where it was.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub after_sequence: Option<Integer>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Change a webhook",
        "What is not given stays. Other types or another campaign are for events that are not queued \
         yet. While it is disabled, nothing is sent, and nothing is lost: enabled again, it goes on \
         where it was, or after `after_sequence`.",
        json!({ "webhook_id": examples::WEBHOOK, "status": "enabled", "after_sequence": 41 }),
    )
    .keyed()
    .answers::<WebhookItem<'_>>(examples::webhook())
    .refuses(&[Code::WebhookNotFound, Code::CampaignNotFound])
}
