//! Responses that are kept under idempotency keys.

use async_trait::async_trait;

use crate::error::StoreError;
use crate::ids::AccountId;
use crate::timestamp::Timestamp;

pub use crate::idempotency::{IdempotencyKey, IdempotentResponse};

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
