//! Rows of webhooks and of their deliveries.

use chrono::{DateTime, Utc};
use diesel::Queryable;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use rerun_core::audit::AuditAction;
use rerun_core::delivery::{Attempt, Delivery, SendError};
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, AuditEntryId, CampaignId, WebhookId};
use rerun_core::webhook::{Webhook, WebhookProgress};
use uuid::Uuid;

use super::{corrupt, row, text};
use crate::types::{Id, Time};

/// The columns of [`WebhookRow`] that the table `webhooks AS w` has.
#[macro_export]
macro_rules! webhook_own_columns {
    () => {
        "w.account_id AS webhook_account_id, w.id AS webhook_id, w.url AS webhook_url, \
         w.types AS webhook_types, w.campaign_id AS webhook_campaign_id, \
         w.description AS webhook_description, w.ordered AS webhook_ordered, \
         w.disabled_reason AS webhook_disabled_reason, \
         w.failing_since AS webhook_failing_since, w.secret_number AS webhook_secret_number, \
         w.previous_secret_until AS webhook_previous_secret_until, \
         w.version AS webhook_version, w.created_at AS webhook_created_at, \
         w.updated_at AS webhook_updated_at, w.cursor_seq AS webhook_cursor_seq"
    };
}

/// All columns of [`WebhookRow`] of the table `webhooks AS w`. Pending deliveries are counted up to
/// the most that may wait.
#[macro_export]
macro_rules! webhook_columns {
    () => {
        concat!(
            $crate::webhook_own_columns!(),
            ", (SELECT min(d.seq) FROM webhook_deliveries d WHERE d.account_id = ? \
                 AND d.webhook_id = w.id AND d.state = 'pending' AND NOT d.replayed) \
                 AS webhook_first_pending, \
               (SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries d \
                 WHERE d.account_id = ? AND d.webhook_id = w.id \
                   AND d.state = 'pending' LIMIT 10000) AS waiting) AS webhook_pending"
        )
    };
}

/// The same for who does not ask how far the webhook is.
#[macro_export]
macro_rules! bare_webhook_columns {
    () => {
        concat!(
            $crate::webhook_own_columns!(),
            ", CAST(NULL AS bigint) AS webhook_first_pending, \
               CAST(0 AS bigint) AS webhook_pending"
        )
    };
}

row! {
    /// A row of `webhooks`, and how far the webhook is.
    WebhookRow, WebhookColumns {
        webhook_account_id: Uuid = Id,
        webhook_id: Uuid = Id,
        webhook_url: String = Text,
        webhook_types: Option<String> = Nullable<Text>,
        webhook_campaign_id: Option<Uuid> = Nullable<Id>,
        webhook_description: Option<String> = Nullable<Text>,
        webhook_ordered: bool = Bool,
        webhook_disabled_reason: Option<String> = Nullable<Text>,
        webhook_failing_since: Option<DateTime<Utc>> = Nullable<Time>,
        webhook_secret_number: i32 = Integer,
        webhook_previous_secret_until: Option<DateTime<Utc>> = Nullable<Time>,
        webhook_version: i64 = BigInt,
        webhook_created_at: DateTime<Utc> = Time,
        webhook_updated_at: DateTime<Utc> = Time,
        webhook_cursor_seq: i64 = BigInt,
        webhook_first_pending: Option<i64> = Nullable<BigInt>,
        webhook_pending: i64 = BigInt,
    }
}

fn types(stored: &str) -> Result<Vec<AuditAction>, StoreError> {
    serde_json::from_str(stored).map_err(|_error| corrupt("webhooks", "types", stored))
}

impl TryFrom<WebhookRow> for WebhookProgress {
    type Error = StoreError;

    fn try_from(row: WebhookRow) -> Result<Self, StoreError> {
        let number = row.webhook_secret_number;
        let webhook = Webhook {
            account_id: AccountId::new(row.webhook_account_id),
            id: WebhookId::new(row.webhook_id),
            url: row.webhook_url,
            types: row.webhook_types.as_deref().map(types).transpose()?,
            campaign_id: row.webhook_campaign_id.map(CampaignId::new),
            description: row.webhook_description,
            ordered: row.webhook_ordered,
            disabled: row
                .webhook_disabled_reason
                .map(|reason| text("webhooks", "disabled_reason", &reason))
                .transpose()?,
            failing_since: row.webhook_failing_since,
            secret_number: u32::try_from(number)
                .map_err(|_negative| corrupt("webhooks", "secret_number", number))?,
            previous_secret_until: row.webhook_previous_secret_until,
            version: row.webhook_version,
            created_at: row.webhook_created_at,
            updated_at: row.webhook_updated_at,
        };
        let delivered = row.webhook_first_pending.map(|first| first - 1);
        Ok(Self {
            webhook,
            // An event that waits was queued before the webhook went on, or was queued again when
            // it was set back.
            delivered_sequence: delivered
                .unwrap_or(row.webhook_cursor_seq)
                .min(row.webhook_cursor_seq),
            pending: u64::try_from(row.webhook_pending).unwrap_or_default(),
        })
    }
}

/// Columns of [`DeliveryRow`] of the tables `webhook_deliveries AS d` and `audit_entries AS a`.
pub(crate) const DELIVERY_COLUMNS: &str =
    "d.seq, a.id AS event_id, a.action, d.state, d.due_at AS next_attempt_at";

row! {
    /// A row of `webhook_deliveries`, with what a list says of its event.
    DeliveryRow, DeliveryColumns {
        seq: i64 = BigInt,
        event_id: Uuid = Id,
        action: String = Text,
        state: String = Text,
        next_attempt_at: Option<DateTime<Utc>> = Nullable<Time>,
    }
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = StoreError;

    /// Without its attempts.
    fn try_from(row: DeliveryRow) -> Result<Self, StoreError> {
        Ok(Self {
            event_id: AuditEntryId::new(row.event_id),
            event_type: row.action,
            sequence: row.seq,
            state: text("webhook_deliveries", "state", &row.state)?,
            attempts: Vec::new(),
            next_attempt_at: row.next_attempt_at,
        })
    }
}

/// Columns of [`AttemptRow`].
pub(crate) const ATTEMPT_COLUMNS: &str = "seq, at, status, duration_ms, error";

row! {
    /// A row of `webhook_attempts`.
    AttemptRow, AttemptColumns {
        seq: i64 = BigInt,
        at: DateTime<Utc> = Time,
        status: Option<i32> = Nullable<Integer>,
        duration_ms: i64 = BigInt,
        error: Option<String> = Nullable<Text>,
    }
}

impl TryFrom<AttemptRow> for Attempt {
    type Error = StoreError;

    fn try_from(row: AttemptRow) -> Result<Self, StoreError> {
        let error = |error: String| text::<SendError>("webhook_attempts", "error", &error);
        Ok(Self {
            at: row.at,
            status: row
                .status
                .map(u16::try_from)
                .transpose()
                .map_err(|_range| corrupt("webhook_attempts", "status", row.status))?,
            duration: std::time::Duration::from_millis(
                u64::try_from(row.duration_ms).unwrap_or_default(),
            ),
            error: row.error.map(error).transpose()?,
        })
    }
}
