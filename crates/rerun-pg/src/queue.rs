use async_trait::async_trait;
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
    #[diesel(sql_type = Time)]
    due_at: Timestamp,
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
                let oldest = sql("SELECT due_at FROM generation_tasks \
                                  WHERE due_at <= ? AND (lease_id IS NULL OR due_at < ?) \
                                  ORDER BY due_at LIMIT 1")
                .bind::<Time, _>(now)
                .bind::<Time, _>(now)
                .load::<DueRow>(conn)?;
                Ok(Backlog {
                    messages: counted
                        .first()
                        .and_then(|row| u64::try_from(row.value).ok())
                        .unwrap_or_default(),
                    due_since: oldest.first().map(|row| row.due_at),
                })
            })
            .await
    }
}
