//! Accounts with due work. Generation and deliveries both wait in tables where each account has a queue.

use diesel::sql_types::{BigInt, Bool};
use diesel::{PgConnection, QueryableByName, RunQueryDsl};
use rerun_core::Timestamp;
use rerun_core::ids::AccountId;
use rerun_core::ports::CLOCK_TOLERANCE;
use rerun_diesel::error::Failure;
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};
use uuid::Uuid;

use crate::reach::Reach;

#[derive(QueryableByName)]
struct DueAccountRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
    #[diesel(sql_type = Bool)]
    ahead: bool,
}

/// A table of work that waits.
pub(crate) struct Queue {
    pub(crate) table: &'static str,
    /// Rows of another table, one at least for each account that may have work: table and condition. They
    /// must be few, since all of them are read.
    pub(crate) accounts: (&'static str, &'static str),
}

impl Queue {
    /// Finds the accounts with due work, `limit` at most, in the order of their ids after `after`.
    ///
    /// If an account's times were set by a clock that was later set back, they are moved: what was to wait
    /// waits as long from now on.
    ///
    /// # Errors
    /// If a statement fails.
    pub(crate) fn due_accounts(
        &self,
        conn: &mut PgConnection,
        reach: Reach,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, Failure> {
        let (table, (accounts, condition)) = (self.table, self.accounts);
        let follows = if after.is_some() { ">" } else { ">=" };
        // The subqueries are limited, so that the planner cannot read all work at once to answer them.
        let text = format!(
            "SELECT a.account_id, coalesce(h.ahead, false) AS ahead \
             FROM (SELECT DISTINCT account_id FROM {accounts} \
               WHERE {condition} AND account_id {follows} ?) a \
             LEFT JOIN LATERAL (SELECT true AS due FROM {table} t \
               WHERE t.account_id = a.account_id AND t.due_at <= ? LIMIT 1) d ON true \
             LEFT JOIN LATERAL (SELECT true AS ahead FROM {table} t \
               WHERE t.account_id = a.account_id AND t.due_at IS NOT NULL \
                 AND coalesce(t.set_at, t.due_at) > ? LIMIT 1) h ON true \
             WHERE d.due OR h.ahead ORDER BY a.account_id LIMIT ?"
        );
        let text = reach.text(text, "account_id uuid, ahead boolean");
        let ahead_of = now + CLOCK_TOLERANCE;
        let found = sql(&text)
            .bind::<Id, _>(after.map_or(Uuid::nil(), AccountId::as_uuid))
            .bind::<Time, _>(now)
            .bind::<Time, _>(ahead_of)
            .bind::<BigInt, _>(i64::from(limit))
            .load::<DueAccountRow>(conn)?;
        // Without a time zone the sum does not depend on the session.
        let text = format!(
            "UPDATE {table} SET due_at = ((?::timestamptz AT TIME ZONE 'UTC') \
               + (due_at - coalesce(set_at, due_at))) AT TIME ZONE 'UTC', set_at = ? \
             WHERE account_id = ? AND due_at IS NOT NULL AND coalesce(set_at, due_at) > ?"
        );
        for row in found.iter().filter(|row| row.ahead) {
            sql(&text)
                .bind::<Time, _>(now)
                .bind::<Time, _>(now)
                .bind::<Id, _>(row.account_id)
                .bind::<Time, _>(ahead_of)
                .execute(conn)?;
        }
        let account = |row: DueAccountRow| AccountId::new(row.account_id);
        Ok(found.into_iter().map(account).collect())
    }
}
