use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use rerun_core::Timestamp;
use rerun_core::error::StoreError;
use rerun_core::ids::AccountId;
use rerun_core::ports::{IdempotencyStore, IdempotentResponse, KeptResponse};
use rerun_diesel::responses::keep_response;
use rerun_diesel::row::audit::chain_hash;
use rerun_diesel::types::{At, Uid};

use crate::SqliteStore;
use crate::schema::idempotency_keys;

#[derive(Queryable, Selectable)]
#[diesel(table_name = idempotency_keys, check_for_backend(Sqlite))]
struct ResponseRow {
    endpoint: String,
    fingerprint: Vec<u8>,
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
                let row = idempotency_keys::table
                    .find((Uid(account.as_uuid()), key))
                    .filter(idempotency_keys::created_at.ge(At(not_before)))
                    .select(ResponseRow::as_select())
                    .get_result(conn);
                let Some(row) = row.optional()? else {
                    return Ok(None);
                };
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
            let old = idempotency_keys::table.filter(idempotency_keys::created_at.lt(At(before)));
            let forgotten = diesel::delete(old).execute(conn)?;
            Ok(u64::try_from(forgotten).unwrap_or(u64::MAX))
        })
        .await
    }
}
