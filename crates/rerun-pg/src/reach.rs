//! Statements that find the accounts with work, also while one of the servers of a distributed database is lost.

use std::convert::identity;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::PgConnection;
use diesel::connection::SimpleConnection;
use rerun_core::error::{StoreError, chain};
use rerun_diesel::error::Failure;
use rerun_diesel::shared::Look;

use crate::PgStore;
use crate::places::Places;
use crate::write::transaction;

/// A server that does not answer for so long is lost, in milliseconds. Each look waits so long for one that stands
/// still.
const PATIENCE: &str = "SET LOCAL citus.node_connection_timeout = 300";

/// How long a lost server is not asked again.
const LOST_FOR: Duration = Duration::from_secs(10);

/// How a statement is sent that finds accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// As it stands. It needs every server.
    Database,
    /// To each server of a distributed database, for the accounts that are there. What a lost server has is
    /// not found.
    EachServer,
}

impl Reach {
    /// For statements that find nothing but `account_id`.
    pub(crate) fn look(self) -> Look {
        match self {
            Self::Database => identity,
            Self::EachServer => |text| by_server(&text, "account_id uuid"),
        }
    }

    /// The statement `text` in this way, with the same values. It finds `columns`, named with their types, and
    /// its rows are in the order of these.
    pub(crate) fn text(self, text: String, columns: &str) -> String {
        match self {
            Self::Database => text,
            Self::EachServer => by_server(&text, columns),
        }
    }
}

/// A server has parts of the tables, and no table by its own name. So in the statement that it gets, each name
/// is that of a subquery with the parts that are there. The values become literals.
fn by_server(text: &str, columns: &str) -> String {
    let places = ", ?".repeat(text.matches('?').count());
    let text = text
        .replace('%', "%%")
        .replace('\'', "''")
        .replace('?', "%L");
    format!(
        "WITH look AS (SELECT format('{text}'{places}) AS text), \
         tables AS (SELECT p.nodename, p.nodeport, format('%s AS NOT MATERIALIZED (%s)', s.logicalrelid, \
             string_agg(format('SELECT * FROM %s', shard_name(s.logicalrelid, s.shardid)), ' UNION ALL ')) \
             AS parts \
           FROM look, pg_dist_shard s JOIN pg_dist_shard_placement p USING (shardid) \
           WHERE look.text ~ ('\\m' || s.logicalrelid || '\\M') \
           GROUP BY p.nodename, p.nodeport, s.logicalrelid), \
         servers AS (SELECT nodename, nodeport, format('WITH %s SELECT coalesce(json_agg(f), ''[]'') \
             FROM (%s) AS f', string_agg(parts, ', '), min(look.text)) AS command \
           FROM tables, look GROUP BY nodename, nodeport) \
         SELECT f.* FROM (SELECT array_agg(nodename::text) AS names, \
             array_agg(nodeport::integer) AS ports, array_agg(command) AS commands FROM servers) s, \
           LATERAL master_run_on_worker(names, ports, commands, true) AS a, \
           LATERAL json_to_recordset(CASE WHEN a.success THEN a.result::json ELSE '[]' END) \
             AS f ({columns}) ORDER BY f"
    )
}

impl PgStore {
    /// Until when a server is taken to be lost.
    fn lost_until(&self) -> MutexGuard<'_, Option<Instant>> {
        let guarded = self.lost_until.lock();
        guarded.unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a statement over all accounts. Where tables are distributed and it fails, it is run `by_part`, which
    /// is for those servers alone that answer.
    ///
    /// # Errors
    /// If the statement fails; where tables are distributed, if it fails by part, too.
    pub(crate) async fn tried<T: Send + 'static>(
        &self,
        at_once: impl FnOnce(&mut PgConnection) -> Result<T, Failure> + Send + 'static,
        by_part: impl FnOnce(&mut PgConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.places() == Places::Alone {
            return self.db.run(at_once).await;
        }
        let lost_until = *self.lost_until();
        if lost_until.is_none_or(|until| until <= Instant::now()) {
            let error = match self.db.run(at_once).await {
                Ok(done) => return Ok(done),
                Err(error) => chain(&error),
            };
            tracing::warn!(
                error,
                "a server of the database is lost: work goes on for accounts on the others"
            );
            *self.lost_until() = Some(Instant::now() + LOST_FOR);
        }
        self.db
            .run(move |conn| {
                transaction(conn, |conn| {
                    conn.batch_execute(PATIENCE)?;
                    by_part(conn)
                })
            })
            .await
    }

    /// Up to `limit` accounts, as `look` finds them.
    ///
    /// # Errors
    /// As [`tried`](Self::tried).
    pub(crate) async fn accounts<A: Send + 'static>(
        &self,
        limit: u32,
        look: impl Fn(&mut PgConnection, Reach) -> Result<Vec<A>, Failure> + Send + Sync + 'static,
    ) -> Result<Vec<A>, StoreError> {
        let look = Arc::new(look);
        let by_part = Arc::clone(&look);
        let mut found = self
            .tried(
                move |conn| look(conn, Reach::Database),
                move |conn| by_part(conn, Reach::EachServer),
            )
            .await?;
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found)
    }
}
