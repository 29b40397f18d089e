use async_trait::async_trait;
use diesel::sql_types::Nullable;
use diesel::{QueryableByName, RunQueryDsl};
use rerun_core::Timestamp;
use rerun_core::error::StoreError;
use rerun_core::ports::{Backlog, QueueGauge};
use rerun_diesel::sql::sql;
use rerun_diesel::types::Time;

use crate::SqliteStore;
use crate::write::Value;

#[derive(QueryableByName)]
struct DueRow {
    #[diesel(sql_type = Nullable<Time>)]
    due_at: Option<Timestamp>,
}

#[async_trait]
impl QueueGauge for SqliteStore {
    async fn backlog(&self, now: Timestamp) -> Result<Backlog, StoreError> {
        self.readers
            .run(move |conn| {
                let count = format!(
                    "SELECT count(*) AS value FROM \
                       (SELECT 1 FROM generation_tasks LIMIT {}) AS waiting",
                    Backlog::MOST_COUNTED
                );
                let counted = sql(&count).load::<Value>(conn)?;
                // From account to account by an index: the oldest of each.
                let oldest = sql("WITH RECURSIVE accounts AS ( \
                       SELECT * FROM (SELECT account_id FROM generation_tasks \
                         ORDER BY account_id LIMIT 1) \
                       UNION ALL SELECT (SELECT t.account_id FROM generation_tasks t \
                         WHERE t.account_id > a.account_id ORDER BY t.account_id LIMIT 1) \
                       FROM accounts a WHERE a.account_id IS NOT NULL) \
                     SELECT min((SELECT t.due_at FROM generation_tasks t \
                       WHERE t.account_id = a.account_id AND t.due_at <= ? \
                         AND (t.lease_id IS NULL OR t.due_at < ?) \
                       ORDER BY t.due_at LIMIT 1)) AS due_at \
                     FROM accounts a WHERE a.account_id IS NOT NULL")
                .bind::<Time, _>(now)
                .bind::<Time, _>(now)
                .load::<DueRow>(conn)?;
                Ok(Backlog {
                    messages: counted
                        .first()
                        .and_then(|row| u64::try_from(row.value).ok())
                        .unwrap_or_default(),
                    due_since: oldest.first().and_then(|row| row.due_at),
                })
            })
            .await
    }
}
