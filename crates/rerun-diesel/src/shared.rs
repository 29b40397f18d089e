//! Helpers for statements that both stores share, so that each statement is written once.
//!
//! A function over [`Shared`] runs on a connection to either database. Values are bound as in
//! [`sql`]; rows are read by position, with [`Reads`].

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text};
use diesel::{Connection, RunQueryDsl};
use rerun_core::Timestamp;
use rerun_core::audit::AuditDraft;
use rerun_core::error::StoreError;
use rerun_core::ids::LeaseId;
use uuid::Uuid;

use crate::error::Failure;
use crate::row::audit::{AuditColumns, AuditRow};
use crate::row::schedules::{FiringColumns, FiringRow, ScheduleColumns, ScheduleRow};
use crate::row::webhooks::{
    AttemptColumns, AttemptRow, DeliveryColumns, DeliveryRow, WebhookColumns, WebhookRow,
};
use crate::sql::{Reads, Takes, Typed, sql};
use crate::types::{Id, Time};

/// A database of which both stores' statements are understood, with all values that they have.
pub trait Dialect:
    Backend
    + Takes<Id, Uuid>
    + Takes<Nullable<Id>, Option<Uuid>>
    + Takes<Time, DateTime<Utc>>
    + Takes<Nullable<Time>, Option<DateTime<Utc>>>
    + Takes<BigInt, i64>
    + Takes<Integer, i32>
    + Takes<Nullable<Integer>, Option<i32>>
    + Takes<Nullable<Bool>, Option<bool>>
    + Takes<Bool, bool>
    + Takes<Nullable<Text>, Option<String>>
    + for<'a> Takes<Text, &'a str>
    + for<'a> Takes<Nullable<Text>, Option<&'a str>>
    + for<'a> Takes<Binary, &'a [u8]>
    + for<'a> Takes<Nullable<Binary>, Option<&'a [u8]>>
{
}

impl<DB> Dialect for DB where
    DB: Backend
        + Takes<Id, Uuid>
        + Takes<Nullable<Id>, Option<Uuid>>
        + Takes<Time, DateTime<Utc>>
        + Takes<Nullable<Time>, Option<DateTime<Utc>>>
        + Takes<BigInt, i64>
        + Takes<Integer, i32>
        + Takes<Nullable<Integer>, Option<i32>>
        + Takes<Nullable<Bool>, Option<bool>>
        + Takes<Bool, bool>
        + Takes<Nullable<Text>, Option<String>>
        + for<'a> Takes<Text, &'a str>
        + for<'a> Takes<Nullable<Text>, Option<&'a str>>
        + for<'a> Takes<Binary, &'a [u8]>
        + for<'a> Takes<Nullable<Binary>, Option<&'a [u8]>>
{
}

/// A connection to either database, with all rows that shared statements read.
pub trait Shared:
    Connection<Backend: Dialect>
    + Reads<(Id,), (Uuid,)>
    + Reads<(BigInt,), (i64,)>
    + Reads<(Nullable<Time>,), (Option<DateTime<Utc>>,)>
    + Reads<(Id, BigInt), (Uuid, i64)>
    + Reads<(BigInt, BigInt), (i64, i64)>
    + Reads<(BigInt, Integer), (i64, i32)>
    + Reads<(Id, BigInt, Integer), (Uuid, i64, i32)>
    + Reads<(Binary, BigInt), (Vec<u8>, i64)>
    + Reads<(Nullable<Time>, Nullable<Text>), (Option<DateTime<Utc>>, Option<String>)>
    + Reads<AuditColumns, AuditRow>
    + Reads<WebhookColumns, WebhookRow>
    + Reads<DeliveryColumns, DeliveryRow>
    + Reads<AttemptColumns, AttemptRow>
    + Reads<ScheduleColumns, ScheduleRow>
    + Reads<FiringColumns, FiringRow>
{
    /// What at the end of a statement locks its rows, where somebody else may write at the same time.
    const TAKE: &'static str;
    /// The same, without the rows that somebody else has locked.
    const TAKE_FREE: &'static str;
}

/// Puts a statement that finds accounts into the form in which it is sent: as it stands, or within another one that
/// has the same values and finds the same columns.
pub type Look = fn(String) -> String;

/// Appends an entry to its account's chain; each store has its own way to lock the head.
pub type Append<C> = fn(&mut C, AuditDraft) -> Result<(), Failure>;

/// The one number that a statement returns.
pub(crate) fn number<C: Shared>(
    conn: &mut C,
    statement: Typed<'_, C::Backend, (BigInt,)>,
) -> Result<i64, Failure> {
    let found = conn.rows(statement)?;
    Ok(found.first().map_or(0, |(number,): &(i64,)| *number))
}

/// A count for an `integer` column.
pub(crate) fn int(count: u32) -> Result<i32, StoreError> {
    i32::try_from(count).map_err(|error| StoreError::Backend(error.into()))
}

/// How many rows a statement wrote.
pub(crate) fn rows(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(feature = "postgres")]
impl Shared for diesel::PgConnection {
    const TAKE: &'static str = "FOR NO KEY UPDATE";
    const TAKE_FREE: &'static str = "FOR NO KEY UPDATE SKIP LOCKED";
}

#[cfg(feature = "sqlite")]
impl Shared for diesel::SqliteConnection {
    // There is one writer at a time.
    const TAKE: &'static str = "";
    const TAKE_FREE: &'static str = "";
}

/// Prolongs a lease of rows of `table` that it still holds at `now`; returns how many these are. See
/// [`GenerationQueue::renew`](rerun_core::ports::GenerationQueue::renew) and
/// [`DeliveryQueue::renew_deliveries`](rerun_core::ports::DeliveryQueue::renew_deliveries).
///
/// # Errors
/// [`Failure`].
pub fn renew<C: Shared>(
    conn: &mut C,
    table: &str,
    lease: LeaseId,
    now: Timestamp,
    until: Timestamp,
) -> Result<u64, Failure> {
    let text =
        format!("UPDATE {table} SET due_at = ?, set_at = ? WHERE lease_id = ? AND due_at >= ?");
    let held = sql(&text)
        .bind::<Time, _>(until)
        .bind::<Time, _>(now)
        .bind::<Id, _>(lease.as_uuid())
        .bind::<Time, _>(now)
        .execute(conn)?;
    Ok(rows(held))
}
