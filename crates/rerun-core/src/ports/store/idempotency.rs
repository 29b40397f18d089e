//! Responses that are kept under idempotency keys.

use async_trait::async_trait;
use serde::Serialize;

use crate::Timestamp;
use crate::error::StoreError;
use crate::ids::AccountId;

/// A request that carries an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// What the key was given to. The key belongs to the account: at another endpoint it is
    /// refused.
    pub endpoint: &'static str,
    /// The key, 1 to 255 characters.
    pub key: String,
    /// Hash of the request: another one under the same key is refused.
    pub fingerprint: [u8; 32],
}

impl IdempotencyKey {
    /// The response to keep for a request that came to `outcome`.
    ///
    /// # Errors
    /// [`StoreError::Backend`] for an outcome that cannot be written as JSON, or is longer than
    /// [`IdempotentResponse::MAX_BYTES`].
    pub fn answered(&self, outcome: &impl Serialize) -> Result<IdempotentResponse, StoreError> {
        let response =
            serde_json::to_string(outcome).map_err(|error| StoreError::Backend(error.into()))?;
        if response.len() > IdempotentResponse::MAX_BYTES {
            return Err(StoreError::Backend(
                "the response is too long to be kept".into(),
            ));
        }
        Ok(IdempotentResponse {
            key: self.clone(),
            response,
        })
    }
}

/// A response to keep under its key, in the transaction that it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotentResponse {
    /// The key.
    pub key: IdempotencyKey,
    /// The outcome as JSON. It holds ids, numbers and names, never texts of messages or values of
    /// customers.
    pub response: String,
}

impl IdempotentResponse {
    /// The longest response in bytes.
    pub const MAX_BYTES: usize = 16 * 1024;
}

/// A response that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptResponse {
    /// What the key was given to.
    pub endpoint: String,
    /// Hash of the request that it answered.
    pub fingerprint: [u8; 32],
    /// The outcome as JSON.
    pub response: String,
}

/// How long a response is kept under its key.
pub const IDEMPOTENCY_WINDOW: std::time::Duration = std::time::Duration::from_hours(24);

/// Keeps the responses of requests with an idempotency key. They are written by the methods
/// whose transaction they belong to, also when nothing else is written; a key that is older than
/// [`IDEMPOTENCY_WINDOW`] at that moment is written over.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait IdempotencyStore: Send + Sync {
    /// The response kept for the account's key since `not_before`, whatever the endpoint.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_response(
        &self,
        account: AccountId,
        key: &str,
        not_before: Timestamp,
    ) -> Result<Option<KeptResponse>, StoreError>;

    /// Keeps the response of a request that changes nothing else.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the key was used meanwhile.
    async fn keep_response(
        &self,
        account: AccountId,
        response: IdempotentResponse,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Forgets responses kept before `before`; answers how many those were.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn forget_responses(&self, before: Timestamp) -> Result<u64, StoreError>;
}
