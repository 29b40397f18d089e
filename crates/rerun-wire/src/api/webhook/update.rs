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
    /// The id of the webhook.
    #[schema(value_type = Uuid, required)]
    pub webhook_id: Option<String>,
    /// The URL that events are sent to.
    #[schema(value_type = Option<String>, max_length = 2_000)]
    pub url: Option<String>,
    /// The types of the events to send. An empty list means all types.
    #[schema(value_type = Option<Vec<schema::AuditAction>>)]
    pub types: Option<Vec<String>>,
    /// The id of a campaign: only events about it are sent. An empty text means all events.
    #[schema(value_type = Option<String>)]
    pub campaign_id: Option<String>,
    /// What the webhook is for. An empty text removes the description.
    #[schema(value_type = Option<String>, max_length = 1_000)]
    pub description: Option<String>,
    /// Whether each event waits until the previous one is delivered or given up.
    pub ordered: Option<bool>,
    /// Whether events are sent to it.
    #[schema(value_type = Option<schema::WebhookStatus>)]
    pub status: Option<String>,
    /// With the status `enabled`: all events after this number are sent, even if they were sent
    /// before. By default the webhook continues where it stopped.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub after_sequence: Option<Integer>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Update a webhook",
        "Fields that are not given stay as they are. New `types` and a new `campaign_id` apply to \
         events that are not queued yet. While a webhook is disabled, nothing is sent and nothing \
         is lost: once it is enabled again, it continues where it stopped, or after \
         `after_sequence`.",
        json!({ "webhook_id": examples::WEBHOOK, "status": "enabled", "after_sequence": 41 }),
    )
    .keyed()
    .answers::<WebhookItem<'_>>(examples::webhook())
    .refuses(&[Code::WebhookNotFound, Code::CampaignNotFound])
}
