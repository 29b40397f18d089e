//! What statements need that both stores share, so that each is written once.
//!
//! A function over [`Shared`] runs on a connection to either database. Values are bound as in
//! [`sql`](crate::sql::sql); rows are read by position, with [`Reads`].

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::query_dsl::LoadQuery;
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{Connection, RunQueryDsl};
use uuid::Uuid;

use crate::sql::{Takes, Typed};
use crate::types::{Id, Time};

/// A database of which both stores' statements are understood, with all values that they have.
pub trait Dialect:
    Backend
    + Takes<Id, Uuid>
    + Takes<Time, DateTime<Utc>>
    + Takes<BigInt, i64>
    + for<'a> Takes<Text, &'a str>
{
}

impl<DB> Dialect for DB where
    DB: Backend
        + Takes<Id, Uuid>
        + Takes<Time, DateTime<Utc>>
        + Takes<BigInt, i64>
        + for<'a> Takes<Text, &'a str>
{
}

/// A connection that reads rows of this type from columns of these.
pub trait Reads<ST, R>: Connection {
    /// Runs the statement and returns its rows.
    ///
    /// # Errors
    /// What diesel reports.
    fn rows(&mut self, statement: Typed<'_, Self::Backend, ST>) -> QueryResult<Vec<R>>;
}

/// A connection to either database, with all rows that shared statements read.
pub trait Shared:
    Connection<Backend: Dialect>
    + Reads<(Id,), (Uuid,)>
    + Reads<(BigInt,), (i64,)>
    + Reads<(Nullable<Time>,), (Option<DateTime<Utc>>,)>
{
}

impl<ST, R, C> Reads<ST, R> for C
where
    C: Connection,
    for<'q> Typed<'q, C::Backend, ST>: LoadQuery<'q, C, R>,
{
    fn rows(&mut self, statement: Typed<'_, C::Backend, ST>) -> QueryResult<Vec<R>> {
        statement.load::<R>(self)
    }
}

#[cfg(feature = "postgres")]
impl Shared for diesel::PgConnection {}

#[cfg(feature = "sqlite")]
impl Shared for diesel::SqliteConnection {}
