//! Responses that are kept for repeated requests: the statements, which are the same on both databases.

use diesel::RunQueryDsl;
use diesel::sql_types::{BigInt, Binary, Text};
use rerun_core::Timestamp;
use rerun_core::error::StoreError;
use rerun_core::ids::AccountId;
use rerun_core::ports::{IDEMPOTENCY_WINDOW, IdempotencyKey, IdempotentResponse};

use crate::error::Failure;
use crate::shared::{Shared, number};
use crate::sql::sql;
use crate::types::{Id, Time};

/// Refuses a key under which a response is kept, before an import does work in vain.
///
/// # Errors
/// [`StoreError::Conflict`]; others.
pub fn check_key<C: Shared>(
    conn: &mut C,
    account: AccountId,
    key: Option<&IdempotencyKey>,
    now: Timestamp,
) -> Result<(), Failure> {
    let Some(IdempotencyKey { key, .. }) = key else {
        return Ok(());
    };
    let used = sql("SELECT count(*) FROM idempotency_keys \
                    WHERE account_id = ? AND key = ? AND created_at >= ?")
    .bind::<Id, _>(account.as_uuid())
    .bind::<Text, _>(key.as_str())
    .bind::<Time, _>(now - IDEMPOTENCY_WINDOW)
    .columns::<(BigInt,)>();
    if number(conn, used)? == 0 {
        Ok(())
    } else {
        Err(StoreError::Conflict.into())
    }
}

/// Keeps a response under its key, in the place of one that is too old to count. A younger one
/// means that another request with the key got here first.
///
/// # Errors
/// [`StoreError::Conflict`]; others.
pub fn keep_response<C: Shared>(
    conn: &mut C,
    account: AccountId,
    response: Option<&IdempotentResponse>,
    now: Timestamp,
) -> Result<(), Failure> {
    let Some(IdempotentResponse { key, response }) = response else {
        return Ok(());
    };
    let kept = sql("INSERT INTO idempotency_keys \
           (account_id, endpoint, key, fingerprint, response, created_at) \
         VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (account_id, key) DO UPDATE SET \
           endpoint = excluded.endpoint, fingerprint = excluded.fingerprint, \
           response = excluded.response, created_at = excluded.created_at \
         WHERE idempotency_keys.created_at < ?")
    .bind::<Id, _>(account.as_uuid())
    .bind::<Text, _>(key.endpoint)
    .bind::<Text, _>(key.key.as_str())
    .bind::<Binary, _>(key.fingerprint.as_slice())
    .bind::<Text, _>(response.as_str())
    .bind::<Time, _>(now)
    .bind::<Time, _>(now - IDEMPOTENCY_WINDOW)
    .execute(conn)?;
    if kept == 0 {
        Err(StoreError::Conflict.into())
    } else {
        Ok(())
    }
}
