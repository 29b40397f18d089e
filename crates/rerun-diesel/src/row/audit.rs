//! Rows of the audit log, and of what is held against it.

use chrono::{DateTime, Utc};
use diesel::prelude::Queryable;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text};
use rerun_core::audit::{AuditEntry, Unlogged};
use rerun_core::error::StoreError;
use rerun_core::ids::{
    AccountId, AuditEntryId, CampaignId, CustomerGroupId, RunNumber, ScheduleId, UserId, WebhookId,
};
use uuid::Uuid;

use super::{corrupt, row, run_number};
use crate::types::{Id, Time};

/// Columns of [`AuditRow`] of the table `audit_entries AS a`.
#[macro_export]
macro_rules! audit_columns {
    () => {
        "a.account_id AS audit_account_id, a.seq AS audit_seq, a.id AS audit_id, \
         a.action AS audit_action, a.campaign_id AS audit_campaign_id, \
         a.run_number AS audit_run_number, a.user_id AS audit_user_id, \
         a.user_name AS audit_user_name, a.role_code AS audit_role_code, a.ip AS audit_ip, a.request_id AS audit_request_id, \
         a.details AS audit_details, a.created_at AS audit_created_at, a.hash AS audit_hash"
    };
}

row! {
    /// A row of `audit_entries`.
    AuditRow, AuditColumns {
        audit_account_id: Uuid = Id,
        audit_seq: i64 = BigInt,
        audit_id: Uuid = Id,
        audit_action: String = Text,
        audit_campaign_id: Option<Uuid> = Nullable<Id>,
        audit_run_number: Option<i32> = Nullable<Integer>,
        audit_user_id: Option<Uuid> = Nullable<Id>,
        audit_user_name: Option<String> = Nullable<Text>,
        audit_role_code: Option<String> = Nullable<Text>,
        audit_ip: Option<String> = Nullable<Text>,
        audit_request_id: Option<String> = Nullable<Text>,
        audit_details: String = Text,
        audit_created_at: DateTime<Utc> = Time,
        audit_hash: Vec<u8> = Binary,
    }
}

/// A hash of the audit chain.
///
/// # Errors
/// [`StoreError::Corrupt`] unless it has 32 bytes.
pub fn chain_hash(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes
        .try_into()
        .map_err(|_invalid| corrupt("audit", "hash", bytes))
}

impl TryFrom<AuditRow> for AuditEntry {
    type Error = StoreError;

    fn try_from(row: AuditRow) -> Result<Self, StoreError> {
        Ok(Self {
            seq: row.audit_seq,
            id: AuditEntryId::new(row.audit_id),
            account_id: AccountId::new(row.audit_account_id),
            action: row.audit_action,
            campaign_id: row.audit_campaign_id.map(CampaignId::new),
            run_number: row
                .audit_run_number
                .map(|number| run_number("audit_entries", number))
                .transpose()?,
            user_id: row.audit_user_id.map(UserId::new),
            user_name: row.audit_user_name,
            role_code: row.audit_role_code,
            ip: row.audit_ip,
            request_id: row.audit_request_id,
            details: row.audit_details,
            created_at: row.audit_created_at,
            hash: chain_hash(&row.audit_hash)?,
        })
    }
}

/// The statement that finds the first piece of an account's state without its entry in the audit
/// log, ordered by what it is. `group_created` and `group_changed` are the conditions on a row `g`
/// of customer groups, `webhook_created` and `schedule_created` those on a row `w` of webhooks and `s` of
/// schedules, under which these entries are missing. Every `?` is the account.
#[must_use]
pub fn unlogged_sql(
    group_created: &str,
    group_changed: &str,
    webhook_created: &str,
    schedule_created: &str,
) -> String {
    // A difference of sets: looking for each run's entries reads all of its campaign's.
    let unlogged = |runs: &str, actions: &str| {
        format!(
            "d.campaign_id, CAST(d.number AS bigint) FROM ( \
               SELECT r.campaign_id, r.number FROM runs r WHERE r.account_id = ? AND {runs} \
               EXCEPT SELECT a.campaign_id, a.run_number FROM audit_entries a \
               WHERE a.account_id = ? AND a.action IN ({actions})) AS d"
        )
    };
    let made = unlogged("r.synthesised", "'campaign.created'");
    let started = unlogged(
        "NOT r.synthesised",
        "'campaign.launched', 'rerun.initiated'",
    );
    let published = unlogged(
        "r.published > 0 AND NOT r.synthesised",
        "'campaign.published'",
    );
    let cancelled = unlogged("r.status = 'Cancelled'", "'rerun.cancelled'");
    let no_run = "CAST(NULL AS bigint)";
    format!(
        "SELECT {UNLOGGED_COLUMNS} FROM ( \
           SELECT CAST(1 AS bigint) AS kind, g.id AS id, {no_run} AS run FROM customer_groups g \
           WHERE g.account_id = ? AND {group_created} \
           UNION ALL SELECT 2, g.id, {no_run} FROM customer_groups g \
           WHERE g.account_id = ? AND {group_changed} \
           UNION ALL SELECT 3, d.id, {no_run} FROM ( \
             SELECT c.id FROM campaigns c WHERE c.account_id = ? \
             EXCEPT SELECT a.campaign_id FROM audit_entries a \
             WHERE a.account_id = ? AND a.action = 'campaign.created') AS d \
           UNION ALL SELECT 4, d.id, {no_run} FROM ( \
             SELECT c.id, c.updated_at FROM campaigns c \
             WHERE c.account_id = ? AND c.status <> 'Processing' \
             EXCEPT SELECT a.campaign_id, a.created_at FROM audit_entries a \
             WHERE a.account_id = ?) AS d \
           UNION ALL SELECT 5, {made} UNION ALL SELECT 5, {started} \
           UNION ALL SELECT 6, {published} UNION ALL SELECT 7, {cancelled} \
           UNION ALL SELECT 8, w.id, {no_run} FROM webhooks w \
           WHERE w.account_id = ? AND {webhook_created} \
           UNION ALL SELECT 9, s.id, {no_run} FROM schedules s \
           WHERE s.account_id = ? AND {schedule_created} \
         ) AS unlogged ORDER BY kind, id, run LIMIT 1"
    )
}

pub(super) const UNLOGGED_COLUMNS: &str = "kind, id, run";

row! {
    /// A row of [`unlogged_sql`].
    UnloggedRow, UnloggedColumns {
        kind: i64 = BigInt,
        id: Uuid = Id,
        run: Option<i64> = Nullable<BigInt>,
    }
}

impl TryFrom<UnloggedRow> for Unlogged {
    type Error = StoreError;

    fn try_from(row: UnloggedRow) -> Result<Self, StoreError> {
        let group = CustomerGroupId::new(row.id);
        let campaign = CampaignId::new(row.id);
        let run = row.run.and_then(RunNumber::new);
        Ok(match (row.kind, run) {
            (1, None) => Self::Group(group),
            (2, None) => Self::GroupChange(group),
            (3, None) => Self::Campaign(campaign),
            (4, None) => Self::CampaignChange(campaign),
            (5, Some(run)) => Self::RunStart { campaign, run },
            (6, Some(run)) => Self::Publication { campaign, run },
            (7, Some(run)) => Self::Cancellation { campaign, run },
            (8, None) => Self::Webhook(WebhookId::new(row.id)),
            (9, None) => Self::Schedule(ScheduleId::new(row.id)),
            _ => return Err(corrupt("runs", "number", row.run)),
        })
    }
}
