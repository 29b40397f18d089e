//! Accounts with due work. Generation and deliveries both wait in tables where each account has a queue.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::sql_types::{Array, BigInt, Bool};
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

/// Where work is in its account's queue: when it is due, and its id.
pub(crate) type Place = (Timestamp, Uuid);

/// Up to where accounts' queues were taken, as far as this store knows.
///
/// Until a vacuum, work that was taken leaves entries in the index in front of what is due. A look that begins
/// behind them does not read them. Work can also become due in front of such a place, by a transaction that
/// took long or a clock that is behind. So a queue is read from its beginning again if nothing is due behind the
/// place, and at least once a second.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken(Arc<Mutex<Vec<Reached>>>);

#[derive(Debug)]
struct Reached {
    account: AccountId,
    place: Place,
    /// When the queue was last read from its beginning.
    since: Instant,
}

impl Taken {
    /// How long a queue is not read from its beginning.
    const FOR: Duration = Duration::from_secs(1);

    /// For so many accounts a place is kept.
    const MOST: usize = 64;

    fn lock(&self) -> MutexGuard<'_, Vec<Reached>> {
        let mut reached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reached.retain(|reached| reached.since.elapsed() < Self::FOR);
        reached
    }

    /// Up to where the queue of `account` was taken.
    pub(crate) fn place(&self, account: AccountId) -> Option<Place> {
        let reached = self.lock();
        let found = reached.iter().find(|reached| reached.account == account);
        found.map(|reached| reached.place)
    }

    /// The queue of `account` was taken up to `place`, or to its end.
    pub(crate) fn reach(&self, account: AccountId, place: Option<Place>, from_beginning: bool) {
        let mut reached = self.lock();
        let known = reached.iter().position(|of| of.account == account);
        let known = known.map(|at| reached.swap_remove(at).since);
        let since = if from_beginning {
            Some(Instant::now())
        } else {
            known
        };
        if let (Some(place), Some(since)) = (place, since)
            && reached.len() < Self::MOST
        {
            reached.push(Reached {
                account,
                place,
                since,
            });
        }
    }

    /// Work became due where it had been taken.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    fn all(&self) -> (Vec<Uuid>, Vec<Timestamp>, Vec<Uuid>) {
        let reached = self.lock();
        let mut all = (Vec::new(), Vec::new(), Vec::new());
        for Reached { account, place, .. } in reached.iter() {
            all.0.push(account.as_uuid());
            all.1.push(place.0);
            all.2.push(place.1);
        }
        all
    }
}

impl Queue {
    /// Finds the accounts with due work, `limit` at most, in the order of their ids after `after`.
    ///
    /// If an account's times were set by a clock that was later set back, they are moved: what was to wait
    /// waits as long from now on.
    ///
    /// `taken` is up to where queues were taken, and the column of the ids in these places.
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
        taken: Option<(&Taken, &str)>,
    ) -> Result<Vec<AccountId>, Failure> {
        let (table, (accounts, condition)) = (self.table, self.accounts);
        let follows = if after.is_some() { ">" } else { ">=" };
        let due = format!(
            "SELECT true FROM {table} t WHERE t.account_id = a.account_id AND t.due_at <= ?"
        );
        let behind = taken.map_or_else(String::new, |(_, id)| {
            format!(
                "({due} AND (t.due_at, t.{id}) > \
                   ((?::timestamptz[])[array_position(?::uuid[], a.account_id)], \
                    (?::uuid[])[array_position(?::uuid[], a.account_id)]) \
                 ORDER BY t.due_at, t.{id} LIMIT 1), "
            )
        });
        // The subqueries are limited, so that the planner cannot read all work at once to answer them.
        let text = format!(
            "SELECT a.account_id, coalesce(h.ahead, false) AS ahead \
             FROM (SELECT DISTINCT account_id FROM {accounts} \
               WHERE {condition} AND account_id {follows} ?) a \
             LEFT JOIN LATERAL (SELECT true AS ahead FROM {table} t \
               WHERE t.account_id = a.account_id AND t.due_at IS NOT NULL \
                 AND coalesce(t.set_at, t.due_at) > ? LIMIT 1) h ON true \
             WHERE coalesce({behind}({due} LIMIT 1)) OR h.ahead ORDER BY a.account_id LIMIT ?"
        );
        let text = reach.text(text, "account_id uuid, ahead boolean");
        let ahead_of = now + CLOCK_TOLERANCE;
        let mut look = sql(&text)
            .bind::<Id, _>(after.map_or(Uuid::nil(), AccountId::as_uuid))
            .bind::<Time, _>(ahead_of);
        if let Some((taken, _)) = taken {
            let (of, times, ids) = taken.all();
            look = look
                .bind::<Time, _>(now)
                .bind::<Array<Time>, _>(times)
                .bind::<Array<Id>, _>(of.clone())
                .bind::<Array<Id>, _>(ids)
                .bind::<Array<Id>, _>(of);
        }
        let found = look
            .bind::<Time, _>(now)
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
