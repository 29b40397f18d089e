use std::collections::BTreeMap;

use async_trait::async_trait;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection};
use rerun_core::Timestamp;
use rerun_core::actor::Actor;
use rerun_core::audit::{AuditEntry, Authorship};
use rerun_core::delivery::{
    Delivery, DeliveryState, MAX_ATTEMPTS, MOST_AT_ONCE, MOST_PENDING, SendError, Verdict, disables,
};
use rerun_core::error::StoreError;
use rerun_core::event::Event;
use rerun_core::ids::{AccountId, CampaignId, LeaseId, WebhookId};
use rerun_core::page::{Page, PageRequest};
use rerun_core::ports::{
    Backlog, CLOCK_TOLERANCE, DeliveryBacklog, DeliveryGauge, DeliveryKey, DeliveryQueue, FanOut,
    FannedOut, LeaseDeliveries, LeasedDelivery, Replay, ReplayDeliveries, SettleDelivery,
    SettledDelivery,
};
use rerun_core::webhook::{DisabledReason, WebhookProgress};
use rerun_diesel::error::Failure;
use rerun_diesel::row::{AuditColumns, AuditRow};
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};
use rerun_diesel::webhooks::{
    AGAIN, AttemptColumns, AttemptRow, DUE, DeliveryColumns, DeliveryRow, WebhookColumns,
    WebhookRow, numbers, queue_sql, wanted_sql, with_attempts,
};
use rerun_diesel::{audit_columns, bare_webhook_columns};
use uuid::Uuid;

use crate::SqliteStore;
use crate::webhooks::{find, head, park};
use crate::write::{Value, append_audit, keep_response};

#[derive(QueryableByName)]
struct AccountRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
}

#[derive(QueryableByName)]
struct DueAccountRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
    #[diesel(sql_type = Bool)]
    ahead: bool,
}

#[derive(QueryableByName)]
struct CursorRow {
    #[diesel(sql_type = Id)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    cursor_seq: i64,
}

#[derive(QueryableByName)]
struct LeasesRow {
    #[diesel(sql_type = BigInt)]
    alive: i64,
    #[diesel(sql_type = BigInt)]
    expired: i64,
}

#[derive(QueryableByName)]
struct TakenRow {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Integer)]
    attempts: i32,
}

#[derive(QueryableByName)]
struct HealthRow {
    #[diesel(sql_type = Nullable<Time>)]
    failing_since: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Text>)]
    disabled_reason: Option<String>,
}

#[derive(QueryableByName)]
struct BacklogRow {
    #[diesel(sql_type = BigInt)]
    pending: i64,
    #[diesel(sql_type = Nullable<Time>)]
    due_since: Option<Timestamp>,
    #[diesel(sql_type = BigInt)]
    disabled: i64,
}

fn rows(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn accounts_behind(
    conn: &mut SqliteConnection,
    after: Option<AccountId>,
    limit: u32,
) -> Result<Vec<AccountId>, Failure> {
    let follows = if after.is_some() { ">" } else { ">=" };
    let text = format!(
        "SELECT DISTINCT w.account_id FROM webhooks w \
         JOIN audit_heads h ON h.account_id = w.account_id \
         WHERE w.account_id {follows} ? AND w.deleted_at IS NULL AND w.disabled_reason IS NULL \
           AND w.cursor_seq < h.seq ORDER BY w.account_id LIMIT ?"
    );
    let accounts = sql(&text)
        .bind::<Id, _>(after.map_or(Uuid::nil(), AccountId::as_uuid))
        .bind::<BigInt, _>(i64::from(limit))
        .load::<AccountRow>(conn)?;
    let account = |row: AccountRow| AccountId::new(row.account_id);
    Ok(accounts.into_iter().map(account).collect())
}

/// Goes from account to account by an index, whatever number of deliveries each has.
fn accounts_due(
    conn: &mut SqliteConnection,
    after: Option<AccountId>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<DueAccountRow>, Failure> {
    let follows = if after.is_some() { ">" } else { ">=" };
    let text = format!(
        "WITH RECURSIVE accounts AS ( \
           SELECT * FROM (SELECT account_id FROM webhook_deliveries \
             WHERE due_at IS NOT NULL AND account_id {follows} ? ORDER BY account_id LIMIT 1) \
           UNION ALL SELECT (SELECT t.account_id FROM webhook_deliveries t \
             WHERE t.due_at IS NOT NULL AND t.account_id > a.account_id \
             ORDER BY t.account_id LIMIT 1) \
           FROM accounts a WHERE a.account_id IS NOT NULL), \
         looked AS (SELECT a.account_id, \
           EXISTS (SELECT 1 FROM webhook_deliveries t WHERE t.account_id = a.account_id \
              AND t.due_at <= ?) AS due, \
           EXISTS (SELECT 1 FROM webhook_deliveries t WHERE t.account_id = a.account_id \
              AND t.due_at IS NOT NULL AND coalesce(t.set_at, t.due_at) > ?) AS ahead \
           FROM accounts a WHERE a.account_id IS NOT NULL) \
         SELECT account_id, ahead FROM looked WHERE due OR ahead LIMIT ?"
    );
    let found = sql(&text)
        .bind::<Id, _>(after.map_or(Uuid::nil(), AccountId::as_uuid))
        .bind::<Time, _>(now)
        .bind::<Time, _>(now + CLOCK_TOLERANCE)
        .bind::<BigInt, _>(i64::from(limit))
        .load::<DueAccountRow>(conn)?;
    Ok(found)
}

/// After the clock was set back: what was to wait waits for as long from now on.
fn move_times(
    conn: &mut SqliteConnection,
    accounts: Vec<Uuid>,
    now: Timestamp,
) -> Result<(), Failure> {
    for account in accounts {
        sql("UPDATE webhook_deliveries \
               SET due_at = ? + (due_at - coalesce(set_at, due_at)), set_at = ? \
             WHERE account_id = ? AND due_at IS NOT NULL AND coalesce(set_at, due_at) > ?")
        .bind::<Time, _>(now)
        .bind::<Time, _>(now)
        .bind::<Id, _>(account)
        .bind::<Time, _>(now + CLOCK_TOLERANCE)
        .execute(conn)?;
    }
    Ok(())
}

fn fan_out(conn: &mut SqliteConnection, request: FanOut) -> Result<FannedOut, Failure> {
    let account = request.account_id;
    let head = head(conn, account)?;
    let behind = sql(
        "SELECT id, cursor_seq FROM webhooks WHERE account_id = ? AND deleted_at IS NULL \
           AND disabled_reason IS NULL AND cursor_seq < ? \
         ORDER BY id",
    )
    .bind::<Id, _>(account.as_uuid())
    .bind::<BigInt, _>(head)
    .load::<CursorRow>(conn)?;
    let mut fanned_out = FannedOut::default();
    for row in behind {
        let Some(progress) = find(conn, account, WebhookId::new(row.id))? else {
            continue;
        };
        if progress.pending >= u64::from(MOST_PENDING) {
            continue;
        }
        let end = row.cursor_seq.saturating_add(request.entries.into());
        let up_to = end.min(head);
        let queued = queue(conn, &progress, false, (row.cursor_seq, up_to), request.now)?;
        sql("UPDATE webhooks SET cursor_seq = ? WHERE account_id = ? AND id = ?")
            .bind::<BigInt, _>(up_to)
            .bind::<Id, _>(account.as_uuid())
            .bind::<Id, _>(row.id)
            .execute(conn)?;
        fanned_out.queued += queued;
        fanned_out.more |= up_to < head;
    }
    Ok(fanned_out)
}

/// Queues the entries after a number and up to another that the webhook wants.
fn queue(
    conn: &mut SqliteConnection,
    progress: &WebhookProgress,
    replay: bool,
    (after, up_to): (i64, i64),
    now: Timestamp,
) -> Result<u64, Failure> {
    let webhook = &progress.webhook;
    let text = queue_sql(webhook);
    let mut query = sql(&text)
        .planned_anew()
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

fn lease(
    conn: &mut SqliteConnection,
    request: &LeaseDeliveries,
) -> Result<Vec<LeasedDelivery>, Failure> {
    let account = request.account_id.as_uuid();
    let text = concat!(
        "SELECT ",
        bare_webhook_columns!(),
        " FROM webhooks w WHERE w.account_id = ? AND w.deleted_at IS NULL \
           AND w.disabled_reason IS NULL \
           AND EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.account_id = ? \
             AND d.webhook_id = w.id AND d.due_at <= ?) \
         ORDER BY (SELECT min(d.due_at) FROM webhook_deliveries d WHERE d.account_id = ? \
             AND d.webhook_id = w.id AND d.due_at IS NOT NULL), w.id"
    );
    let webhooks = sql(text)
        .bind::<Id, _>(account)
        .bind::<Id, _>(account)
        .bind::<Time, _>(request.now)
        .bind::<Id, _>(account)
        .columns::<WebhookColumns>()
        .load::<WebhookRow>(conn)?;
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
        for row in taken {
            let entry = entries
                .remove(&row.seq)
                .ok_or_else(|| StoreError::corrupt("webhook_deliveries: one without an entry"))?;
            leased.push(LeasedDelivery {
                webhook_id: webhook.id,
                url: webhook.url.clone(),
                secrets: webhook.signing(request.now),
                entry,
                attempt: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            });
        }
    }
    Ok(leased)
}

/// Takes what is due for one webhook.
fn take(
    conn: &mut SqliteConnection,
    request: &LeaseDeliveries,
    webhook: WebhookId,
    ordered: bool,
    left: i64,
) -> Result<Vec<TakenRow>, Failure> {
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
    .get_result::<LeasesRow>(conn)?;
    if leases.expired > 0 {
        interrupted(conn, request, webhook)?;
    }
    let most = if ordered { 1 } else { i64::from(MOST_AT_ONCE) };
    let room = (most - leases.alive).min(left);
    if room <= 0 {
        return Ok(Vec::new());
    }
    let which = if ordered {
        "(SELECT min(p.seq) FROM webhook_deliveries p \
           WHERE p.account_id = ? AND p.webhook_id = ? AND p.state = 'pending')"
            .to_owned()
    } else {
        format!(
            "(SELECT seq FROM webhook_deliveries WHERE account_id = ? AND webhook_id = ? \
               AND {DUE} ORDER BY due_at, seq LIMIT {room})"
        )
    };
    let text = format!(
        "UPDATE webhook_deliveries SET lease_id = ?, due_at = ?, set_at = ?, \
           attempts = attempts + 1, tried = tried + 1 \
         WHERE account_id = ? AND webhook_id = ? AND seq IN {which} AND {DUE} \
         RETURNING seq, attempts"
    );
    let mut query = sql(&text)
        .bind::<Id, _>(request.lease.as_uuid())
        .bind::<Time, _>(request.until)
        .bind::<Time, _>(request.now)
        .bind::<Id, _>(account)
        .bind::<Id, _>(webhook)
        .bind::<Id, _>(account)
        .bind::<Id, _>(webhook);
    if !ordered {
        query = query
            .bind::<Time, _>(request.now)
            .bind::<Time, _>(request.now);
    }
    let mut taken = query
        .bind::<Time, _>(request.now)
        .bind::<Time, _>(request.now)
        .load::<TakenRow>(conn)?;
    taken.sort_by_key(|row| row.seq);
    Ok(taken)
}

/// Notes the attempts of which nobody said how they ended, and gives up what has had all of its
/// attempts.
fn interrupted(
    conn: &mut SqliteConnection,
    request: &LeaseDeliveries,
    webhook: Uuid,
) -> Result<(), Failure> {
    let account = request.account_id.as_uuid();
    sql(
        "INSERT INTO webhook_attempts (account_id, webhook_id, seq, no, at, duration_ms, error) \
         SELECT account_id, webhook_id, seq, tried, due_at, 0, ? FROM webhook_deliveries \
         WHERE account_id = ? AND webhook_id = ? AND lease_id IS NOT NULL AND due_at < ? \
         ON CONFLICT DO NOTHING",
    )
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

fn entries(
    conn: &mut SqliteConnection,
    account: AccountId,
    taken: &[TakenRow],
) -> Result<BTreeMap<i64, AuditEntry>, Failure> {
    let text = format!(
        "SELECT {} FROM audit_entries a WHERE a.account_id = ? AND a.seq IN ({})",
        audit_columns!(),
        numbers(taken.iter().map(|row| row.seq))
    );
    let found = sql(&text)
        .planned_anew()
        .bind::<Id, _>(account.as_uuid())
        .columns::<AuditColumns>()
        .load::<AuditRow>(conn)?;
    let entry = |row| AuditEntry::try_from(row).map(|entry| (entry.seq, entry));
    Ok(found.into_iter().map(entry).collect::<Result<_, _>>()?)
}

fn health(
    conn: &mut SqliteConnection,
    settle: &SettleDelivery,
) -> Result<Option<HealthRow>, Failure> {
    let row = sql("SELECT failing_since, disabled_reason FROM webhooks \
                   WHERE account_id = ? AND id = ? AND deleted_at IS NULL")
    .bind::<Id, _>(settle.account_id.as_uuid())
    .bind::<Id, _>(settle.webhook_id.as_uuid())
    .load::<HealthRow>(conn)?
    .pop();
    Ok(row)
}

fn settle(
    conn: &mut SqliteConnection,
    settle: &SettleDelivery,
) -> Result<SettledDelivery, Failure> {
    let nothing = SettledDelivery::default();
    let (account, webhook) = (settle.account_id.as_uuid(), settle.webhook_id.as_uuid());
    let Some(health) = health(conn, settle)? else {
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
           AND due_at >= ? RETURNING tried AS attempts, seq",
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
    .load::<TakenRow>(conn)?
    .pop();
    let Some(held) = held else { return Ok(nothing) };
    let attempt = &settle.attempt;
    sql("INSERT INTO webhook_attempts \
           (account_id, webhook_id, seq, no, at, status, duration_ms, error) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
    .bind::<Id, _>(account)
    .bind::<Id, _>(webhook)
    .bind::<BigInt, _>(settle.sequence)
    .bind::<Integer, _>(held.attempts)
    .bind::<Time, _>(attempt.at)
    .bind::<Nullable<Integer>, _>(attempt.status.map(i32::from))
    .bind::<BigInt, _>(i64::try_from(attempt.duration.as_millis()).unwrap_or(i64::MAX))
    .bind::<Nullable<Text>, _>(attempt.error.map(SendError::as_str))
    .execute(conn)?;
    let disabled = judge_webhook(conn, settle, &health)?;
    Ok(SettledDelivery {
        counted: true,
        disabled,
    })
}

/// What the attempt means for its webhook.
fn judge_webhook(
    conn: &mut SqliteConnection,
    settle: &SettleDelivery,
    health: &HealthRow,
) -> Result<Option<DisabledReason>, Failure> {
    let delivered = settle.verdict == Verdict::Delivered;
    let since = health.failing_since;
    if delivered == since.is_some() {
        let since = (!delivered).then_some(settle.attempt.at);
        sql("UPDATE webhooks SET failing_since = ? WHERE account_id = ? AND id = ?")
            .bind::<Nullable<Time>, _>(since)
            .bind::<Id, _>(settle.account_id.as_uuid())
            .bind::<Id, _>(settle.webhook_id.as_uuid())
            .execute(conn)?;
    }
    let Some(reason) = disables(settle.verdict, since, settle.now)
        .filter(|_reason| health.disabled_reason.is_none())
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
    append_audit(
        conn,
        author.of(Event::WebhookDisabled {
            webhook_id: settle.webhook_id,
            reason,
        }),
    )?;
    Ok(Some(reason))
}

fn list(
    conn: &mut SqliteConnection,
    account: AccountId,
    webhook: WebhookId,
    state: Option<DeliveryState>,
    page: &PageRequest<DeliveryKey>,
) -> Result<Page<Delivery, DeliveryKey>, Failure> {
    let of_state = if state.is_some() {
        "AND d.state = ?"
    } else {
        ""
    };
    let text = format!(
        "SELECT d.seq, a.id, a.action, d.state, d.due_at FROM \
           (SELECT * FROM webhook_deliveries d WHERE d.account_id = ? AND d.webhook_id = ? \
             AND d.seq < ? {of_state} ORDER BY d.seq DESC LIMIT ?) d \
         JOIN audit_entries a ON a.account_id = ? AND a.seq = d.seq ORDER BY d.seq DESC"
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
        .columns::<DeliveryColumns>()
        .load::<DeliveryRow>(conn)?;
    let deliveries: Vec<Delivery> = found
        .into_iter()
        .map(Delivery::try_from)
        .collect::<Result<_, _>>()?;
    let text = format!(
        "SELECT seq, at, status, duration_ms, error FROM webhook_attempts \
         WHERE account_id = ? AND webhook_id = ? AND seq IN ({}) ORDER BY seq, no",
        numbers(deliveries.iter().map(|delivery| delivery.sequence))
    );
    let attempts = sql(&text)
        .planned_anew()
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(webhook.as_uuid())
        .columns::<AttemptColumns>()
        .load::<AttemptRow>(conn)?;
    let deliveries = with_attempts(deliveries, attempts)?.into_iter().map(Ok);
    Page::read::<Failure>(deliveries, page.limit, |delivery| {
        DeliveryKey(delivery.sequence)
    })
}

fn replay(conn: &mut SqliteConnection, request: &ReplayDeliveries) -> Result<Option<u32>, Failure> {
    let (account, id) = (request.account_id, request.webhook_id);
    let locked = sql(
        "SELECT id, cursor_seq FROM webhooks WHERE account_id = ? AND id = ? \
           AND deleted_at IS NULL AND disabled_reason IS NULL",
    )
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(id.as_uuid())
    .load::<CursorRow>(conn)?
    .pop();
    let progress = find(conn, account, id)?;
    let (Some(locked), Some(progress)) = (locked, progress) else {
        return Err(StoreError::Conflict.into());
    };
    let more = i64::from(request.most) + 1;
    let queued = match request.what {
        Replay::Range { from, to } => {
            let (after, up_to) = (from.saturating_sub(1).max(0), to.min(locked.cursor_seq));
            let text = format!(
                "SELECT count(*) AS value FROM (SELECT 1 FROM audit_entries a WHERE {} LIMIT ?) \
                 AS wanted",
                wanted_sql(&progress.webhook)
            );
            let mut query = sql(&text)
                .planned_anew()
                .bind::<Id, _>(account.as_uuid())
                .bind::<BigInt, _>(after)
                .bind::<BigInt, _>(up_to);
            if let Some(campaign) = progress.webhook.campaign_id {
                query = query.bind::<Id, _>(campaign.as_uuid());
            }
            let wanted = query.bind::<BigInt, _>(more).get_result::<Value>(conn)?;
            if wanted.value >= more {
                return Ok(None);
            }
            queue(conn, &progress, true, (after, up_to), request.now)?
        }
        Replay::Failed => {
            let failed = sql(
                "SELECT count(*) AS value FROM (SELECT 1 FROM webhook_deliveries \
                 WHERE account_id = ? AND webhook_id = ? AND state = 'failed' LIMIT ?) AS failed",
            )
            .bind::<Id, _>(account.as_uuid())
            .bind::<Id, _>(id.as_uuid())
            .bind::<BigInt, _>(more)
            .get_result::<Value>(conn)?;
            if failed.value >= more {
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

fn sweep(conn: &mut SqliteConnection, before: Timestamp, limit: u32) -> Result<u64, Failure> {
    let limit = i64::from(limit);
    let mut swept = sql(
        "DELETE FROM webhook_deliveries WHERE (account_id, webhook_id, seq) IN \
           (SELECT account_id, webhook_id, seq FROM webhook_deliveries \
            WHERE ended_at < ? LIMIT ?)",
    )
    .bind::<Time, _>(before)
    .bind::<BigInt, _>(limit)
    .execute(conn)?;
    swept += sql(
        "DELETE FROM webhook_attempts WHERE (account_id, webhook_id, seq, no) IN \
           (SELECT account_id, webhook_id, seq, no FROM webhook_attempts \
            WHERE at < ? LIMIT ?)",
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
           AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d \
             WHERE d.account_id = webhooks.account_id AND d.webhook_id = webhooks.id)")
    .execute(conn)?;
    Ok(rows(swept))
}

#[async_trait]
impl DeliveryQueue for SqliteStore {
    async fn accounts_behind(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.readers
            .run(move |conn| accounts_behind(conn, after, limit))
            .await
    }

    async fn fan_out(&self, request: FanOut) -> Result<FannedOut, StoreError> {
        self.write(move |conn| fan_out(conn, request)).await
    }

    async fn accounts_due(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        let found = self
            .readers
            .run(move |conn| accounts_due(conn, after, limit, now))
            .await?;
        let ahead: Vec<Uuid> = found
            .iter()
            .filter(|row| row.ahead)
            .map(|row| row.account_id)
            .collect();
        if !ahead.is_empty() {
            self.write(move |conn| move_times(conn, ahead, now)).await?;
        }
        let account = |row: DueAccountRow| AccountId::new(row.account_id);
        Ok(found.into_iter().map(account).collect())
    }

    async fn lease_deliveries(
        &self,
        request: LeaseDeliveries,
    ) -> Result<Vec<LeasedDelivery>, StoreError> {
        self.write(move |conn| lease(conn, &request)).await
    }

    async fn renew_deliveries(
        &self,
        lease: LeaseId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write(move |conn| {
            let held = sql("UPDATE webhook_deliveries SET due_at = ?, set_at = ? \
                                WHERE lease_id = ? AND due_at >= ?")
            .bind::<Time, _>(until)
            .bind::<Time, _>(now)
            .bind::<Id, _>(lease.as_uuid())
            .bind::<Time, _>(now)
            .execute(conn)?;
            Ok(rows(held))
        })
        .await
    }

    async fn release_deliveries(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError> {
        self.write(move |conn| {
            let released = sql("UPDATE webhook_deliveries \
                     SET lease_id = NULL, due_at = ?, set_at = NULL, attempts = attempts - 1, \
                       tried = tried - 1 \
                     WHERE lease_id = ?")
            .bind::<Time, _>(now)
            .bind::<Id, _>(lease.as_uuid())
            .execute(conn)?;
            Ok(rows(released))
        })
        .await
    }

    async fn settle_delivery(
        &self,
        request: SettleDelivery,
    ) -> Result<SettledDelivery, StoreError> {
        self.write(move |conn| settle(conn, &request)).await
    }

    async fn list_deliveries(
        &self,
        account: AccountId,
        webhook: WebhookId,
        state: Option<DeliveryState>,
        page: PageRequest<DeliveryKey>,
    ) -> Result<Page<Delivery, DeliveryKey>, StoreError> {
        self.read(move |conn| list(conn, account, webhook, state, &page))
            .await
    }

    async fn replay_deliveries(
        &self,
        request: ReplayDeliveries,
    ) -> Result<Option<u32>, StoreError> {
        self.write(move |conn| replay(conn, &request)).await
    }

    async fn sweep_deliveries(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write(move |conn| sweep(conn, before, limit)).await
    }
}

#[async_trait]
impl DeliveryGauge for SqliteStore {
    async fn delivery_backlog(&self, now: Timestamp) -> Result<DeliveryBacklog, StoreError> {
        self.readers
            .run(move |conn| {
                let text = format!(
                    "WITH RECURSIVE accounts AS ( \
                       SELECT * FROM (SELECT account_id FROM webhook_deliveries \
                         WHERE due_at IS NOT NULL ORDER BY account_id LIMIT 1) \
                       UNION ALL SELECT (SELECT t.account_id FROM webhook_deliveries t \
                         WHERE t.due_at IS NOT NULL AND t.account_id > a.account_id \
                         ORDER BY t.account_id LIMIT 1) \
                       FROM accounts a WHERE a.account_id IS NOT NULL) \
                     SELECT (SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries \
                         WHERE due_at IS NOT NULL LIMIT {}) AS waiting) AS pending, \
                       (SELECT min((SELECT t.due_at FROM webhook_deliveries t \
                           WHERE t.account_id = a.account_id AND t.due_at <= ? \
                             AND (t.lease_id IS NULL OR t.due_at < ?) \
                           ORDER BY t.due_at LIMIT 1)) FROM accounts a \
                         WHERE a.account_id IS NOT NULL) AS due_since, \
                       (SELECT count(*) FROM webhooks WHERE deleted_at IS NULL \
                         AND disabled_reason IS NOT NULL) AS disabled",
                    Backlog::MOST_COUNTED
                );
                let row = sql(&text)
                    .bind::<Time, _>(now)
                    .bind::<Time, _>(now)
                    .get_result::<BacklogRow>(conn)?;
                Ok(DeliveryBacklog {
                    pending: u64::try_from(row.pending).unwrap_or_default(),
                    due_since: row.due_since,
                    disabled: u64::try_from(row.disabled).unwrap_or_default(),
                })
            })
            .await
    }
}
