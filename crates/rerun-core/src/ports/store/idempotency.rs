//! Responses that are kept under idempotency keys.

use async_trait::async_trait;

use crate::Timestamp;
use crate::error::StoreError;
use crate::ids::AccountId;

/// A request that carries an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// What the key was given to; a key is good for one endpoint of one account.
    pub endpoint: &'static str,
    /// The key, 1 to 255 characters.
    pub key: String,
    /// Hash of the request: another one under the same key is refused.
    pub fingerprint: [u8; 32],
}

/// A response to keep under its key, in the transaction that it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotentResponse {
    /// The key.
    pub key: IdempotencyKey,
    /// The outcome as JSON.
    pub response: String,
}

/// A response that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptResponse {
    /// Hash of the request that it answered.
    pub fingerprint: [u8; 32],
    /// The outcome as JSON.
    pub response: String,
}

/// How long a response is kept under its key.
pub const IDEMPOTENCY_WINDOW: std::time::Duration = std::time::Duration::from_hours(24);

/// Keeps the responses of requests with an idempotency key. They are written by the methods
/// whose transaction they belong to; a key that is older than [`IDEMPOTENCY_WINDOW`] at that
/// moment is written over.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait IdempotencyStore: Send + Sync {
    /// The response kept for the key since `not_before`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_response(
        &self,
        account: AccountId,
        endpoint: &'static str,
        key: &str,
        not_before: Timestamp,
    ) -> Result<Option<KeptResponse>, StoreError>;

    /// Forgets responses kept before `before`; answers how many those were.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn forget_responses(&self, before: Timestamp) -> Result<u64, StoreError>;
}
