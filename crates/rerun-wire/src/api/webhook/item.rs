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
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: WebhookId,
    /// Where events are sent.
    pub url: &'a str,
    /// The types of events that it gets; `null` for all.
    #[schema(value_type = Option<Vec<schema::AuditAction>>, required)]
    pub types: Option<&'a [AuditAction]>,
    /// It gets only events about this campaign; `null` for all.
    #[schema(value_type = Option<Uuid>, required)]
    pub campaign_id: Option<CampaignId>,
    /// What it is for.
    #[schema(required)]
    pub description: Option<&'a str>,
    /// Whether an event waits until the one before is delivered or given up.
    pub ordered: bool,
    #[schema(value_type = schema::WebhookStatus)]
    pub status: WebhookStatus,
    /// Why it is disabled: `requested` by somebody, `gone` (its receiver responded with 410), or
    /// `failing` (nothing was delivered for 5 days). `null` while it is enabled.
    #[schema(value_type = Option<schema::DisabledReason>, required)]
    pub disabled_reason: Option<DisabledReason>,
    /// Since when every attempt has failed; `null` when the last one did not.
    #[serde(serialize_with = "timestamp::option::serialize")]
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub failing_since: Option<Timestamp>,
    /// Every event up to this number is delivered or given up, or is not for this webhook. Replays
    /// do not count.
    #[schema(minimum = 0)]
    pub delivered_sequence: i64,
    /// How many events are queued for it. At most 10,000 are; others wait in the log.
    #[schema(minimum = 0)]
    pub pending: u64,
    /// When it was made.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub updated_at: Timestamp,
    /// What its deliveries are signed with: in the response of its creation only.
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
