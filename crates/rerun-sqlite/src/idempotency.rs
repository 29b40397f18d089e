use async_trait::async_trait;
use diesel::sql_types::{Binary, Text};
use diesel::{QueryableByName, RunQueryDsl};
use rerun_core::Timestamp;
use rerun_core::error::StoreError;
use rerun_core::ids::AccountId;
use rerun_core::ports::{IdempotencyStore, IdempotentResponse, KeptResponse};
use rerun_diesel::responses::keep_response;
use rerun_diesel::row::chain_hash;
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};

use crate::SqliteStore;

#[derive(QueryableByName)]
struct ResponseRow {
    #[diesel(sql_type = Text)]
    endpoint: String,
    #[diesel(sql_type = Binary)]
    fingerprint: Vec<u8>,
    #[diesel(sql_type = Text)]
    response: String,
}

#[async_trait]
impl IdempotencyStore for SqliteStore {
    async fn find_response(
        &self,
        account: AccountId,
        key: &str,
        not_before: Timestamp,
    ) -> Result<Option<KeptResponse>, StoreError> {
        let key = key.to_owned();
        self.readers
            .run(move |conn| {
                let row = sql(
                    "SELECT endpoint, fingerprint, response FROM idempotency_keys \
                     WHERE account_id = ? AND key = ? AND created_at >= ?",
                )
                .bind::<Id, _>(account.as_uuid())
                .bind::<Text, _>(key)
                .bind::<Time, _>(not_before)
                .load::<ResponseRow>(conn)?
                .pop();
                let Some(row) = row else { return Ok(None) };
                let fingerprint = chain_hash(&row.fingerprint)?;
                Ok(Some(KeptResponse {
                    endpoint: row.endpoint,
                    fingerprint,
                    response: row.response,
                }))
            })
            .await
    }

    async fn keep_response(
        &self,
        account: AccountId,
        response: IdempotentResponse,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |conn| keep_response(conn, account, Some(&response), now))
            .await
    }

    async fn forget_responses(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |conn| {
            let forgotten = sql("DELETE FROM idempotency_keys WHERE created_at < ?")
                .bind::<Time, _>(before)
                .execute(conn)?;
            Ok(u64::try_from(forgotten).unwrap_or(u64::MAX))
        })
        .await
    }
}
