//! Places of accounts in streams: the statements, which are the same on both databases.

use diesel::RunQueryDsl;
use diesel::sql_types::{BigInt, Nullable, Text};
use rerun_core::Timestamp;
use rerun_core::ids::{AccountId, LeaseId};
use rerun_core::ports::{CLOCK_TOLERANCE, LeaseCursor, MoveCursor};
use uuid::Uuid;

use crate::error::Failure;
use crate::shared::{Look, Shared};
use crate::sql::sql;
use crate::types::{Id, Time};

/// See [`EventCursors::accounts_unpublished`](rerun_core::ports::EventCursors::accounts_unpublished).
///
/// # Errors
/// [`Failure`].
pub fn accounts_unpublished<C: Shared>(
    conn: &mut C,
    stream: &str,
    after: Option<AccountId>,
    limit: u32,
    now: Timestamp,
    look: Look,
) -> Result<Vec<AccountId>, Failure> {
    let follows = if after.is_some() { ">" } else { ">=" };
    // A subquery is for one account after the other; a join may read the places of all accounts.
    let text = look(format!(
        "SELECT h.account_id FROM audit_heads h WHERE h.account_id {follows} ? \
           AND coalesce((SELECT h.seq > c.seq \
               AND (c.lease_id IS NULL OR c.leased_until <= ? OR c.leased_at > ?) \
             FROM event_cursors c WHERE c.account_id = h.account_id AND c.stream = ? LIMIT 1), \
             h.seq > 0) \
         ORDER BY h.account_id LIMIT ?"
    ));
    let accounts = conn.rows(
        sql(&text)
            .bind::<Id, _>(after.map_or(Uuid::nil(), AccountId::as_uuid))
            .bind::<Time, _>(now)
            .bind::<Time, _>(now + CLOCK_TOLERANCE)
            .bind::<Text, _>(stream)
            .bind::<BigInt, _>(i64::from(limit))
            .columns::<(Id,)>(),
    )?;
    Ok(accounts
        .into_iter()
        .map(|(id,)| AccountId::new(id))
        .collect())
}

/// See [`EventCursors::lease_cursor`](rerun_core::ports::EventCursors::lease_cursor).
///
/// # Errors
/// [`Failure`].
pub fn lease_cursor<C: Shared>(
    conn: &mut C,
    request: &LeaseCursor,
) -> Result<Option<i64>, Failure> {
    let taken = conn.rows(
        sql("INSERT INTO event_cursors \
               (account_id, stream, seq, lease_id, leased_at, leased_until) \
             SELECT h.account_id, ?, 0, ?, ?, ? FROM audit_heads h WHERE h.account_id = ? \
             ON CONFLICT (account_id, stream) DO UPDATE SET lease_id = excluded.lease_id, \
               leased_at = excluded.leased_at, leased_until = excluded.leased_until \
             WHERE event_cursors.lease_id IS NULL OR event_cursors.leased_until <= ? \
               OR event_cursors.leased_at > ? \
             RETURNING seq")
        .bind::<Text, _>(&*request.stream)
        .bind::<Id, _>(request.lease.as_uuid())
        .bind::<Time, _>(request.now)
        .bind::<Time, _>(request.until)
        .bind::<Id, _>(request.account_id.as_uuid())
        .bind::<Time, _>(request.now)
        .bind::<Time, _>(request.now + CLOCK_TOLERANCE)
        .columns::<(BigInt,)>(),
    )?;
    Ok(taken.first().map(|(seq,)| *seq))
}

/// See [`EventCursors::move_cursor`](rerun_core::ports::EventCursors::move_cursor).
///
/// # Errors
/// [`Failure`].
pub fn move_cursor<C: Shared>(conn: &mut C, request: &MoveCursor) -> Result<bool, Failure> {
    let lease = &request.lease;
    let moved = sql(
        "UPDATE event_cursors SET seq = ?, leased_at = ?, leased_until = ? \
                     WHERE account_id = ? AND stream = ? AND lease_id = ?",
    )
    .bind::<BigInt, _>(request.sequence)
    .bind::<Time, _>(lease.now)
    .bind::<Time, _>(lease.until)
    .bind::<Id, _>(lease.account_id.as_uuid())
    .bind::<Text, _>(&*lease.stream)
    .bind::<Id, _>(lease.lease.as_uuid())
    .execute(conn)?;
    Ok(moved > 0)
}

/// See [`EventCursors::release_cursor`](rerun_core::ports::EventCursors::release_cursor).
///
/// # Errors
/// [`Failure`].
pub fn release_cursor<C: Shared>(
    conn: &mut C,
    account: AccountId,
    stream: &str,
    lease: LeaseId,
) -> Result<(), Failure> {
    sql(
        "UPDATE event_cursors SET lease_id = NULL, leased_at = NULL, leased_until = NULL \
         WHERE account_id = ? AND stream = ? AND lease_id = ?",
    )
    .bind::<Id, _>(account.as_uuid())
    .bind::<Text, _>(stream)
    .bind::<Id, _>(lease.as_uuid())
    .execute(conn)?;
    Ok(())
}

/// See [`EventCursors::unpublished_since`](rerun_core::ports::EventCursors::unpublished_since).
///
/// # Errors
/// [`Failure`].
pub fn unpublished_since<C: Shared>(
    conn: &mut C,
    stream: &str,
) -> Result<Option<Timestamp>, Failure> {
    let oldest = conn.rows(
        sql("SELECT min(e.created_at) FROM audit_heads h \
             LEFT JOIN event_cursors c ON c.account_id = h.account_id AND c.stream = ? \
             JOIN audit_entries e ON e.account_id = h.account_id \
               AND e.seq = coalesce(c.seq, 0) + 1 \
             WHERE h.seq > coalesce(c.seq, 0)")
        .bind::<Text, _>(stream)
        .columns::<(Nullable<Time>,)>(),
    )?;
    Ok(oldest.into_iter().find_map(|(since,)| since))
}
