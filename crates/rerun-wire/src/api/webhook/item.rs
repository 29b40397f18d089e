use rerun_core::audit::AuditAction;
use rerun_core::ids::{CampaignId, WebhookId};
use rerun_core::usecases::WithSecret;
use rerun_core::webhook::{DisabledReason, WebhookProgress, WebhookStatus};
use rerun_core::{Timestamp, timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::schema;

/// A webhook.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookItem<'a> {
    /// The id of the webhook.
    #[schema(value_type = Uuid)]
    pub id: WebhookId,
    /// The URL that events are sent to.
    pub url: &'a str,
    /// The types of the events that are sent; `null` if all types are sent.
    #[schema(value_type = Option<Vec<schema::AuditAction>>, required)]
    pub types: Option<&'a [AuditAction]>,
    /// The id of the campaign whose events are sent; `null` if all events are sent.
    #[schema(value_type = Option<Uuid>, required)]
    pub campaign_id: Option<CampaignId>,
    /// What the webhook is for.
    #[schema(required)]
    pub description: Option<&'a str>,
    /// Whether each event waits until the previous one is delivered or given up.
    pub ordered: bool,
    #[schema(value_type = schema::WebhookStatus)]
    pub status: WebhookStatus,
    /// Why it is disabled; `null` if it is enabled.
    #[schema(value_type = Option<schema::DisabledReason>, required)]
    pub disabled_reason: Option<DisabledReason>,
    /// Since when every attempt has failed; `null` if the last attempt did not fail.
    #[serde(serialize_with = "timestamp::option::serialize")]
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub failing_since: Option<Timestamp>,
    /// Every event up to this number is delivered, given up, or excluded by the webhook's filters.
    /// Replays do not count.
    #[schema(minimum = 0)]
    pub delivered_sequence: i64,
    /// How many events are queued for it. At most 10,000 events are queued; further events wait in
    /// the log.
    #[schema(minimum = 0)]
    pub pending: u64,
    /// When it was created.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub updated_at: Timestamp,
    /// The secret that deliveries are signed with. It is sent only in the response to
    /// `webhook/create`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    pub secret: Option<&'a str>,
}

impl<'a> From<&'a WebhookProgress> for WebhookItem<'a> {
    fn from(progress: &'a WebhookProgress) -> Self {
        let webhook = &progress.webhook;
        Self {
            id: webhook.id,
            url: &webhook.url,
            types: webhook.types.as_deref(),
            campaign_id: webhook.campaign_id,
            description: webhook.description.as_deref(),
            ordered: webhook.ordered,
            status: webhook.status(),
            disabled_reason: webhook.disabled,
            failing_since: webhook.failing_since,
            delivered_sequence: progress.delivered_sequence,
            pending: progress.pending,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
            secret: None,
        }
    }
}

impl<'a> From<&'a WithSecret> for WebhookItem<'a> {
    fn from(made: &'a WithSecret) -> Self {
        Self {
            secret: Some(made.secret.expose()),
            ..Self::from(&made.webhook)
        }
    }
}
