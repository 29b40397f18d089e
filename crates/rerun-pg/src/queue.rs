use async_trait::async_trait;
use diesel::sql_types::Nullable;
use diesel::{QueryableByName, RunQueryDsl};
use rerun_core::Timestamp;
use rerun_core::error::StoreError;
use rerun_core::ports::{Backlog, QueueGauge};
use rerun_diesel::sql::sql;
use rerun_diesel::types::Time;

use crate::PgStore;
use crate::write::Value;

#[derive(QueryableByName)]
struct DueRow {
    #[diesel(sql_type = Nullable<Time>)]
    due_at: Option<Timestamp>,
}

#[async_trait]
impl QueueGauge for PgStore {
    async fn backlog(&self, now: Timestamp) -> Result<Backlog, StoreError> {
        self.db
            .run(move |conn| {
                let count = format!(
                    "SELECT count(*) AS value FROM \
                       (SELECT 1 FROM generation_tasks LIMIT {}) AS waiting",
                    Backlog::MOST_COUNTED
                );
                let counted = sql(&count).load::<Value>(conn)?;
                // The oldest of each account that has tasks.
                let oldest = sql("SELECT min(d.due_at) AS due_at \
                     FROM (SELECT DISTINCT account_id FROM runs WHERE completed_at IS NULL) a \
                     CROSS JOIN LATERAL (SELECT t.due_at FROM generation_tasks t \
                       WHERE t.account_id = a.account_id AND t.due_at <= ? \
                         AND (t.lease_id IS NULL OR t.due_at < ?) \
                       ORDER BY t.due_at LIMIT 1) d")
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
