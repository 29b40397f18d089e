//! Outcomes of deliveries: the statements, which are the same on both databases.

use chrono::{DateTime, Utc};
use diesel::RunQueryDsl;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use rerun_core::Timestamp;
use rerun_core::actor::Actor;
use rerun_core::audit::Authorship;
use rerun_core::delivery::{Delivery, DeliveryState, SendError, Verdict, disables};
use rerun_core::error::StoreError;
use rerun_core::event::Event;
use rerun_core::ids::{AccountId, WebhookId};
use rerun_core::page::{Page, PageRequest};
use rerun_core::ports::{DeliveryKey, Replay, ReplayDeliveries, SettleDelivery, SettledDelivery};
use rerun_core::webhook::DisabledReason;

use super::queue::{Taken, queue};
use super::store::{find, park};
use super::{AGAIN, numbers, wanted_sql, with_attempts};
use crate::error::Failure;
use crate::responses::keep_response;
use crate::row::webhooks::{
    ATTEMPT_COLUMNS, AttemptColumns, AttemptRow, DELIVERY_COLUMNS, DeliveryColumns, DeliveryRow,
};
use crate::shared::{Append, Shared, number, rows};
use crate::sql::sql;
use crate::types::{Id, Time};

/// Since when a webhook fails, and why it is disabled.
type Health = (Option<DateTime<Utc>>, Option<String>);

fn health<C: Shared>(
    conn: &mut C,
    settle: &SettleDelivery,
    lock: bool,
) -> Result<Option<Health>, Failure> {
    let lock = if lock { C::TAKE } else { "" };
    let text = format!(
        "SELECT failing_since, disabled_reason FROM webhooks \
         WHERE account_id = ? AND id = ? AND deleted_at IS NULL {lock}"
    );
    let row = sql(&text)
        .bind::<Id, _>(settle.account_id.as_uuid())
        .bind::<Id, _>(settle.webhook_id.as_uuid())
        .columns::<(Nullable<Time>, Nullable<Text>)>()
        .read(conn)?
        .pop();
    Ok(row)
}

/// See [`settle_delivery`](rerun_core::ports::DeliveryQueue::settle_delivery).
///
/// # Errors
/// [`Failure`].
pub fn settle<C: Shared>(
    conn: &mut C,
    settle: &SettleDelivery,
    append: Append<C>,
) -> Result<SettledDelivery, Failure> {
    let nothing = SettledDelivery::default();
    let (account, webhook) = (settle.account_id.as_uuid(), settle.webhook_id.as_uuid());
    let delivered = settle.verdict == Verdict::Delivered;
    let mut health_now = health(conn, settle, !delivered)?;
    // The webhook's row before those of deliveries. Nothing has to change in it when a delivery
    // follows another.
    let recovers = delivered
        && health_now
            .as_ref()
            .is_some_and(|(failing_since, _)| failing_since.is_some());
    if recovers {
        health_now = health(conn, settle, true)?;
    }
    let Some(health_now) = health_now else {
        return Ok(nothing);
    };
    let (state, due_at) = match settle.verdict {
        Verdict::Delivered => (DeliveryState::Delivered, None),
        Verdict::RetryAt(at) => (DeliveryState::Pending, Some(at)),
        Verdict::Failed => (DeliveryState::Failed, None),
        Verdict::Gone => (DeliveryState::Pending, Some(settle.now)),
    };
    let ended_at = (state != DeliveryState::Pending).then_some(settle.now);
    let held = sql(
        "UPDATE webhook_deliveries SET state = ?, due_at = ?, set_at = ?, lease_id = NULL, \
           ended_at = ? WHERE account_id = ? AND webhook_id = ? AND seq = ? AND lease_id = ? \
           AND due_at >= ? RETURNING seq, tried",
    )
    .bind::<Text, _>(state.as_str())
    .bind::<Nullable<Time>, _>(due_at)
    .bind::<Nullable<Time>, _>(due_at.map(|_at| settle.now))
    .bind::<Nullable<Time>, _>(ended_at)
    .bind::<Id, _>(account)
    .bind::<Id, _>(webhook)
    .bind::<BigInt, _>(settle.sequence)
    .bind::<Id, _>(settle.lease.as_uuid())
    .bind::<Time, _>(settle.now)
    .columns::<(BigInt, Integer)>()
    .read::<_, Taken>(conn)?
    .pop();
    let Some((_, tried)) = held else {
        return Ok(nothing);
    };
    let attempt = &settle.attempt;
    sql("INSERT INTO webhook_attempts \
           (account_id, webhook_id, seq, no, at, status, duration_ms, error) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
    .bind::<Id, _>(account)
    .bind::<Id, _>(webhook)
    .bind::<BigInt, _>(settle.sequence)
    .bind::<Integer, _>(tried)
    .bind::<Time, _>(attempt.at)
    .bind::<Nullable<Integer>, _>(attempt.status.map(i32::from))
    .bind::<BigInt, _>(i64::try_from(attempt.duration.as_millis()).unwrap_or(i64::MAX))
    .bind::<Nullable<Text>, _>(attempt.error.map(SendError::as_str))
    .execute(conn)?;
    let disabled = judge_webhook(conn, settle, &health_now, append)?;
    Ok(SettledDelivery {
        counted: true,
        disabled,
    })
}

/// What the attempt means for its webhook, whose row is locked if anything changes.
fn judge_webhook<C: Shared>(
    conn: &mut C,
    settle: &SettleDelivery,
    (since, disabled): &Health,
    append: Append<C>,
) -> Result<Option<DisabledReason>, Failure> {
    let delivered = settle.verdict == Verdict::Delivered;
    let since = *since;
    if delivered == since.is_some() {
        let since = (!delivered).then_some(settle.attempt.at);
        sql("UPDATE webhooks SET failing_since = ? WHERE account_id = ? AND id = ?")
            .bind::<Nullable<Time>, _>(since)
            .bind::<Id, _>(settle.account_id.as_uuid())
            .bind::<Id, _>(settle.webhook_id.as_uuid())
            .execute(conn)?;
    }
    let Some(reason) =
        disables(settle.verdict, since, settle.now).filter(|_reason| disabled.is_none())
    else {
        return Ok(None);
    };
    sql(
        "UPDATE webhooks SET disabled_reason = ?, version = version + 1, updated_at = ? \
         WHERE account_id = ? AND id = ?",
    )
    .bind::<Text, _>(reason.as_str())
    .bind::<Time, _>(settle.now)
    .bind::<Id, _>(settle.account_id.as_uuid())
    .bind::<Id, _>(settle.webhook_id.as_uuid())
    .execute(conn)?;
    park(conn, settle.account_id, settle.webhook_id)?;
    let author = Authorship {
        entry_id: settle.audit_id,
        actor: Actor::system(settle.account_id),
        at: settle.now,
    };
    append(
        conn,
        author.of(Event::WebhookDisabled {
            webhook_id: settle.webhook_id,
            reason,
        }),
    )?;
    Ok(Some(reason))
}

/// See [`list_deliveries`](rerun_core::ports::DeliveryQueue::list_deliveries).
///
/// # Errors
/// [`Failure`].
pub fn list<C: Shared>(
    conn: &mut C,
    account: AccountId,
    webhook: WebhookId,
    state: Option<DeliveryState>,
    page: &PageRequest<DeliveryKey>,
) -> Result<Page<Delivery, DeliveryKey>, Failure> {
    let of_state = if state.is_some() { "AND state = ?" } else { "" };
    // The numbers alone, so that an index has all that is asked of it: SQLite would read every delivery to
    // find the few that failed.
    let text = format!(
        "SELECT {DELIVERY_COLUMNS} FROM \
           (SELECT seq FROM webhook_deliveries WHERE account_id = ? AND webhook_id = ? \
             AND seq < ? {of_state} ORDER BY seq DESC LIMIT ?) f \
         JOIN webhook_deliveries d ON d.account_id = ? AND d.webhook_id = ? AND d.seq = f.seq \
         JOIN audit_entries a ON a.account_id = ? AND a.seq = f.seq ORDER BY f.seq DESC"
    );
    let mut query = sql(&text)
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(webhook.as_uuid())
        .bind::<BigInt, _>(page.after.map_or(i64::MAX, |after| after.0));
    if let Some(state) = state {
        query = query.bind::<Text, _>(state.as_str());
    }
    let found = query
        .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(webhook.as_uuid())
        .bind::<Id, _>(account.as_uuid())
        .columns::<DeliveryColumns>()
        .read::<_, DeliveryRow>(conn)?;
    let deliveries: Vec<Delivery> = found
        .into_iter()
        .map(Delivery::try_from)
        .collect::<Result<_, _>>()?;
    let text = format!(
        "SELECT {ATTEMPT_COLUMNS} FROM webhook_attempts \
         WHERE account_id = ? AND webhook_id = ? AND seq IN ({}) ORDER BY seq, no",
        numbers(deliveries.iter().map(|delivery| delivery.sequence))
    );
    let attempts = sql(&text)
        .planned_each_time()
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(webhook.as_uuid())
        .columns::<AttemptColumns>()
        .read::<_, AttemptRow>(conn)?;
    let deliveries = with_attempts(deliveries, attempts)?.into_iter().map(Ok);
    Page::read::<Failure>(deliveries, page.limit, |delivery| {
        DeliveryKey(delivery.sequence)
    })
}

/// See [`replay_deliveries`](rerun_core::ports::DeliveryQueue::replay_deliveries).
///
/// # Errors
/// [`Failure`].
pub fn replay<C: Shared>(conn: &mut C, request: &ReplayDeliveries) -> Result<Option<u32>, Failure> {
    let (account, id) = (request.account_id, request.webhook_id);
    let text = format!(
        "SELECT cursor_seq FROM webhooks WHERE account_id = ? AND id = ? \
           AND deleted_at IS NULL AND disabled_reason IS NULL {}",
        C::TAKE
    );
    let locked = sql(&text)
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(id.as_uuid())
        .columns::<(BigInt,)>()
        .read::<_, (i64,)>(conn)?
        .pop();
    let progress = find(conn, account, id)?;
    let (Some((cursor,)), Some(progress)) = (locked, progress) else {
        return Err(StoreError::Conflict.into());
    };
    let more = i64::from(request.most) + 1;
    let queued = match request.what {
        Replay::Range { from, to } => {
            let (after, up_to) = (from.saturating_sub(1).max(0), to.min(cursor));
            let text = format!(
                "SELECT count(*) FROM (SELECT 1 FROM audit_entries a WHERE {} LIMIT ?) \
                 AS wanted",
                wanted_sql(&progress.webhook)
            );
            let mut query = sql(&text)
                .planned_each_time()
                .bind::<Id, _>(account.as_uuid())
                .bind::<BigInt, _>(after)
                .bind::<BigInt, _>(up_to);
            if let Some(campaign) = progress.webhook.campaign_id {
                query = query.bind::<Id, _>(campaign.as_uuid());
            }
            let wanted = query.bind::<BigInt, _>(more).columns::<(BigInt,)>();
            if number(conn, wanted)? >= more {
                return Ok(None);
            }
            queue(conn, &progress, true, (after, up_to), request.now)?
        }
        Replay::Failed => {
            let failed = sql("SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries \
                 WHERE account_id = ? AND webhook_id = ? AND state = 'failed' LIMIT ?) AS failed")
            .bind::<Id, _>(account.as_uuid())
            .bind::<Id, _>(id.as_uuid())
            .bind::<BigInt, _>(more)
            .columns::<(BigInt,)>();
            if number(conn, failed)? >= more {
                return Ok(None);
            }
            let text = format!(
                "UPDATE webhook_deliveries SET {AGAIN}, replayed = ?, due_at = ? \
                 WHERE account_id = ? AND webhook_id = ? AND state = 'failed'"
            );
            let queued = sql(&text)
                .bind::<Bool, _>(true)
                .bind::<Time, _>(request.now)
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(id.as_uuid())
                .execute(conn)?;
            rows(queued)
        }
    };
    let queued = u32::try_from(queued).map_err(|error| StoreError::Backend(error.into()))?;
    let key = request.key.as_ref();
    let response = key.map(|key| key.answered(&queued)).transpose()?;
    keep_response(conn, account, response.as_ref(), request.now)?;
    Ok(Some(queued))
}

/// See [`sweep_deliveries`](rerun_core::ports::DeliveryQueue::sweep_deliveries). The oldest go first, so that
/// an index leads to them.
///
/// # Errors
/// [`Failure`].
pub fn sweep<C: Shared>(conn: &mut C, before: Timestamp, limit: u32) -> Result<u64, Failure> {
    let limit = i64::from(limit);
    let mut swept = sql(
        "DELETE FROM webhook_deliveries WHERE (account_id, webhook_id, seq) IN \
           (SELECT account_id, webhook_id, seq FROM webhook_deliveries \
            WHERE ended_at < ? ORDER BY ended_at LIMIT ?)",
    )
    .bind::<Time, _>(before)
    .bind::<BigInt, _>(limit)
    .execute(conn)?;
    swept += sql(
        "DELETE FROM webhook_attempts WHERE (account_id, webhook_id, seq, no) IN \
           (SELECT account_id, webhook_id, seq, no FROM webhook_attempts \
            WHERE at < ? ORDER BY at LIMIT ?)",
    )
    .bind::<Time, _>(before)
    .bind::<BigInt, _>(limit)
    .execute(conn)?;
    swept += sql(
        "DELETE FROM webhook_deliveries WHERE (account_id, webhook_id, seq) IN \
           (SELECT d.account_id, d.webhook_id, d.seq FROM webhooks w \
            JOIN webhook_deliveries d ON d.account_id = w.account_id AND d.webhook_id = w.id \
            WHERE w.deleted_at IS NOT NULL LIMIT ?)",
    )
    .bind::<BigInt, _>(limit)
    .execute(conn)?;
    swept += sql("DELETE FROM webhooks WHERE deleted_at IS NOT NULL \
           AND (SELECT 1 FROM webhook_deliveries d WHERE d.account_id = webhooks.account_id \
             AND d.webhook_id = webhooks.id LIMIT 1) IS NULL")
    .execute(conn)?;
    Ok(rows(swept))
}
