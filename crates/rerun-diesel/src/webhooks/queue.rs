//! Deliveries that are queued or leased: the statements, which are the same on both databases.

use std::collections::BTreeMap;

use diesel::RunQueryDsl;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use rerun_core::Timestamp;
use rerun_core::audit::AuditEntry;
use rerun_core::delivery::{MAX_ATTEMPTS, MOST_AT_ONCE, MOST_PENDING, SendError};
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, LeaseId, WebhookId};
use rerun_core::ports::{FanOut, FannedOut, LeaseDeliveries, LeasedDelivery};
use rerun_core::webhook::WebhookProgress;
use uuid::Uuid;

use super::store::{find, head};
use super::{DUE, numbers, queue_sql};
use crate::error::Failure;
use crate::row::audit::{AuditColumns, AuditRow};
use crate::row::webhooks::{WebhookColumns, WebhookRow};
use crate::shared::{Look, Shared, rows};
use crate::sql::sql;
use crate::types::{Id, Time};
use crate::{audit_columns, bare_webhook_columns};

/// The number of an event and of an attempt.
pub(super) type Taken = (i64, i32);

/// See [`accounts_behind`](rerun_core::ports::DeliveryQueue::accounts_behind).
///
/// # Errors
/// [`Failure`].
pub fn accounts_behind<C: Shared>(
    conn: &mut C,
    after: Option<AccountId>,
    limit: u32,
    look: Look,
) -> Result<Vec<AccountId>, Failure> {
    let follows = if after.is_some() { ">" } else { ">=" };
    let text = look(format!(
        "SELECT DISTINCT w.account_id FROM webhooks w \
         WHERE w.account_id {follows} ? AND w.deleted_at IS NULL AND w.disabled_reason IS NULL \
           AND w.cursor_seq < (SELECT h.seq FROM audit_heads h \
             WHERE h.account_id = w.account_id LIMIT 1) \
         ORDER BY w.account_id LIMIT ?"
    ));
    let accounts = sql(&text)
        .bind::<Id, _>(after.map_or(Uuid::nil(), AccountId::as_uuid))
        .bind::<BigInt, _>(i64::from(limit))
        .columns::<(Id,)>()
        .read(conn)?;
    Ok(accounts
        .into_iter()
        .map(|(id,): (Uuid,)| AccountId::new(id))
        .collect())
}

/// See [`fan_out`](rerun_core::ports::DeliveryQueue::fan_out).
///
/// # Errors
/// [`Failure`].
pub fn fan_out<C: Shared>(conn: &mut C, request: FanOut) -> Result<FannedOut, Failure> {
    let account = request.account_id;
    // Read before the entries: every entry up to it is committed.
    let head = head(conn, account)?;
    let text = format!(
        "SELECT id, cursor_seq FROM webhooks WHERE account_id = ? AND deleted_at IS NULL \
           AND disabled_reason IS NULL AND cursor_seq < ? ORDER BY id {}",
        C::TAKE_FREE
    );
    let behind = sql(&text)
        .bind::<Id, _>(account.as_uuid())
        .bind::<BigInt, _>(head)
        .columns::<(Id, BigInt)>()
        .read::<_, (Uuid, i64)>(conn)?;
    let mut fanned_out = FannedOut::default();
    for (id, cursor) in behind {
        let Some(progress) = find(conn, account, WebhookId::new(id))? else {
            continue;
        };
        if progress.pending >= u64::from(MOST_PENDING) {
            continue;
        }
        let end = cursor.saturating_add(request.entries.into());
        let up_to = end.min(head);
        let queued = queue(conn, &progress, false, (cursor, up_to), request.now)?;
        sql("UPDATE webhooks SET cursor_seq = ? WHERE account_id = ? AND id = ?")
            .bind::<BigInt, _>(up_to)
            .bind::<Id, _>(account.as_uuid())
            .bind::<Id, _>(id)
            .execute(conn)?;
        fanned_out.queued += queued;
        fanned_out.more |= up_to < head;
    }
    Ok(fanned_out)
}

/// Queues the entries after a number and up to another that the webhook wants.
pub(super) fn queue<C: Shared>(
    conn: &mut C,
    progress: &WebhookProgress,
    replay: bool,
    (after, up_to): (i64, i64),
    now: Timestamp,
) -> Result<u64, Failure> {
    let webhook = &progress.webhook;
    let text = queue_sql(webhook);
    let mut query = sql(&text)
        .planned_each_time()
        .bind::<Id, _>(webhook.id.as_uuid())
        .bind::<Bool, _>(replay)
        .bind::<Time, _>(now)
        .bind::<Id, _>(webhook.account_id.as_uuid())
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(up_to);
    if let Some(campaign) = webhook.campaign_id {
        query = query.bind::<Id, _>(CampaignId::as_uuid(campaign));
    }
    Ok(rows(query.execute(conn)?))
}

/// When the oldest delivery of a webhook `w` that waits is due. It is found for one webhook after the other:
/// with `EXISTS` the planner may read all that waits for all of them.
const OLDEST: &str = "(SELECT min(d.due_at) FROM webhook_deliveries d \
     WHERE d.account_id = ? AND d.webhook_id = w.id AND d.due_at IS NOT NULL)";

/// See [`lease_deliveries`](rerun_core::ports::DeliveryQueue::lease_deliveries).
///
/// # Errors
/// [`Failure`].
pub fn lease<C: Shared>(
    conn: &mut C,
    request: &LeaseDeliveries,
) -> Result<Vec<LeasedDelivery>, Failure> {
    let account = request.account_id.as_uuid();
    // Whoever leases for a webhook holds its row, so that no two count what is on its way at once.
    let text = format!(
        "SELECT {} FROM webhooks w WHERE w.account_id = ? AND w.deleted_at IS NULL \
           AND w.disabled_reason IS NULL AND {OLDEST} <= ? ORDER BY {OLDEST}, w.id {}",
        bare_webhook_columns!(),
        C::TAKE_FREE
    );
    let webhooks = sql(&text)
        .bind::<Id, _>(account)
        .bind::<Id, _>(account)
        .bind::<Time, _>(request.now)
        .bind::<Id, _>(account)
        .columns::<WebhookColumns>()
        .read::<_, WebhookRow>(conn)?;
    let mut left = i64::from(request.limit);
    let mut leased = Vec::new();
    for row in webhooks {
        if left <= 0 {
            break;
        }
        let webhook = WebhookProgress::try_from(row)?.webhook;
        let taken = take(conn, request, webhook.id, webhook.ordered, left)?;
        left -= i64::try_from(taken.len()).unwrap_or(i64::MAX);
        let mut entries = entries(conn, request.account_id, &taken)?;
        for (seq, attempts) in taken {
            let entry = entries
                .remove(&seq)
                .ok_or_else(|| StoreError::corrupt("webhook_deliveries: one without an entry"))?;
            leased.push(LeasedDelivery {
                webhook_id: webhook.id,
                url: webhook.url.clone(),
                secrets: webhook.signing(request.now),
                entry,
                attempt: u32::try_from(attempts).unwrap_or(u32::MAX),
            });
        }
    }
    Ok(leased)
}

/// Takes what is due for one webhook, whose row is locked.
fn take<C: Shared>(
    conn: &mut C,
    request: &LeaseDeliveries,
    webhook: WebhookId,
    ordered: bool,
    left: i64,
) -> Result<Vec<Taken>, Failure> {
    let (account, webhook) = (request.account_id.as_uuid(), webhook.as_uuid());
    let leases = sql("SELECT \
           coalesce(sum(CASE WHEN due_at >= ? THEN 1 ELSE 0 END), 0) AS alive, \
           coalesce(sum(CASE WHEN due_at < ? THEN 1 ELSE 0 END), 0) AS expired \
         FROM webhook_deliveries WHERE account_id = ? AND webhook_id = ? \
           AND lease_id IS NOT NULL")
    .bind::<Time, _>(request.now)
    .bind::<Time, _>(request.now)
    .bind::<Id, _>(account)
    .bind::<Id, _>(webhook)
    .columns::<(BigInt, BigInt)>()
    .read::<_, (i64, i64)>(conn)?;
    let (alive, expired) = leases.first().copied().unwrap_or_default();
    if expired > 0 {
        interrupted(conn, request, webhook)?;
    }
    let most = if ordered { 1 } else { i64::from(MOST_AT_ONCE) };
    let room = (most - alive).min(left);
    if room <= 0 {
        return Ok(Vec::new());
    }
    // Found first and then taken by their keys: in one statement the planner may compare all that is due with
    // those few.
    let text = if ordered {
        format!(
            "SELECT seq FROM webhook_deliveries WHERE account_id = ? AND webhook_id = ? AND {DUE} \
               AND seq = (SELECT min(p.seq) FROM webhook_deliveries p \
                 WHERE p.account_id = ? AND p.webhook_id = ? AND p.state = 'pending')"
        )
    } else {
        format!(
            "SELECT seq FROM webhook_deliveries WHERE account_id = ? AND webhook_id = ? AND {DUE} \
             ORDER BY due_at, seq LIMIT {room}"
        )
    };
    let mut query = sql(&text)
        .bind::<Id, _>(account)
        .bind::<Id, _>(webhook)
        .bind::<Time, _>(request.now)
        .bind::<Time, _>(request.now);
    if ordered {
        query = query.bind::<Id, _>(account).bind::<Id, _>(webhook);
    }
    let due = query.columns::<(BigInt,)>().read::<_, (i64,)>(conn)?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!(
        "UPDATE webhook_deliveries SET lease_id = ?, due_at = ?, set_at = ?, \
           attempts = attempts + 1, tried = tried + 1 \
         WHERE account_id = ? AND webhook_id = ? AND seq IN ({}) \
           AND (lease_id IS NULL OR due_at < ?) RETURNING seq, attempts",
        numbers(due.into_iter().map(|(seq,)| seq))
    );
    let mut taken = sql(&text)
        .planned_each_time()
        .bind::<Id, _>(request.lease.as_uuid())
        .bind::<Time, _>(request.until)
        .bind::<Time, _>(request.now)
        .bind::<Id, _>(account)
        .bind::<Id, _>(webhook)
        .bind::<Time, _>(request.now)
        .columns::<(BigInt, Integer)>()
        .read::<_, Taken>(conn)?;
    taken.sort_unstable();
    Ok(taken)
}

/// Notes the attempts of which nobody said how they ended, and gives up what has had all of its
/// attempts.
fn interrupted<C: Shared>(
    conn: &mut C,
    request: &LeaseDeliveries,
    webhook: Uuid,
) -> Result<(), Failure> {
    let account = request.account_id.as_uuid();
    sql(
        "INSERT INTO webhook_attempts (account_id, webhook_id, seq, no, at, duration_ms, error) \
         SELECT ?, webhook_id, seq, tried, due_at, 0, ? FROM webhook_deliveries \
         WHERE account_id = ? AND webhook_id = ? AND lease_id IS NOT NULL AND due_at < ? \
         ON CONFLICT DO NOTHING",
    )
    .bind::<Id, _>(account)
    .bind::<Text, _>(SendError::Interrupted.as_str())
    .bind::<Id, _>(account)
    .bind::<Id, _>(webhook)
    .bind::<Time, _>(request.now)
    .execute(conn)?;
    sql(
        "UPDATE webhook_deliveries SET state = 'failed', due_at = NULL, set_at = NULL, \
           lease_id = NULL, ended_at = ? \
         WHERE account_id = ? AND webhook_id = ? AND lease_id IS NOT NULL AND due_at < ? \
           AND attempts >= ?",
    )
    .bind::<Time, _>(request.now)
    .bind::<Id, _>(account)
    .bind::<Id, _>(webhook)
    .bind::<Time, _>(request.now)
    .bind::<BigInt, _>(i64::from(MAX_ATTEMPTS))
    .execute(conn)?;
    Ok(())
}

fn entries<C: Shared>(
    conn: &mut C,
    account: AccountId,
    taken: &[Taken],
) -> Result<BTreeMap<i64, AuditEntry>, Failure> {
    let text = format!(
        "SELECT {} FROM audit_entries a WHERE a.account_id = ? AND a.seq IN ({})",
        audit_columns!(),
        numbers(taken.iter().map(|(seq, _)| *seq))
    );
    let found = sql(&text)
        .planned_each_time()
        .bind::<Id, _>(account.as_uuid())
        .columns::<AuditColumns>()
        .read::<_, AuditRow>(conn)?;
    let entry = |row| AuditEntry::try_from(row).map(|entry| (entry.seq, entry));
    Ok(found.into_iter().map(entry).collect::<Result<_, _>>()?)
}

/// See [`release_deliveries`](rerun_core::ports::DeliveryQueue::release_deliveries).
///
/// # Errors
/// [`Failure`].
pub fn release<C: Shared>(conn: &mut C, lease: LeaseId, now: Timestamp) -> Result<u64, Failure> {
    let released = sql("UPDATE webhook_deliveries \
         SET lease_id = NULL, due_at = ?, set_at = NULL, attempts = attempts - 1, \
           tried = tried - 1 \
         WHERE lease_id = ?")
    .bind::<Time, _>(now)
    .bind::<Id, _>(lease.as_uuid())
    .execute(conn)?;
    Ok(rows(released))
}
