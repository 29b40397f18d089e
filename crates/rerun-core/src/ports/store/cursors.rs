//! How far the logs of accounts are published in a stream of a message broker.

use async_trait::async_trait;

use crate::error::StoreError;
use crate::ids::{AccountId, LeaseId};
use crate::timestamp::Timestamp;

/// A request for the right to publish an account's events in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseCursor {
    /// The account.
    pub account_id: AccountId,
    /// The stream.
    pub stream: String,
    /// The lease.
    pub lease: LeaseId,
    /// When.
    pub now: Timestamp,
    /// How long the lease lasts.
    pub until: Timestamp,
}

/// A request to note what is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveCursor {
    /// The lease under which it was published, and for how long that is to last from now on.
    pub lease: LeaseCursor,
    /// The number of the last event that the stream has.
    pub sequence: i64,
}

/// Keeps the place of each account in a stream.
///
/// A lease is alive until its end. One that was taken more than
/// [`CLOCK_TOLERANCE`](super::CLOCK_TOLERANCE) in the future is not: the clock was set back.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait EventCursors: Send + Sync {
    /// Returns up to `limit` accounts that have events which are not published in the stream, in the
    /// order of their ids, those after `after` only, and without those under a live lease.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn accounts_unpublished(
        &self,
        stream: &str,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError>;

    /// Takes the lease and returns the number of the last published event, 0 before the first. `None`
    /// when another lease is alive, and for an account without events.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn lease_cursor(&self, request: LeaseCursor) -> Result<Option<i64>, StoreError>;

    /// Moves the place and prolongs the lease. Returns false, and changes nothing, when another lease
    /// was taken meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn move_cursor(&self, request: MoveCursor) -> Result<bool, StoreError>;

    /// Gives a lease back.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn release_cursor(
        &self,
        account: AccountId,
        stream: &str,
        lease: LeaseId,
    ) -> Result<(), StoreError>;

    /// Returns when the oldest event that is not published in the stream was written; `None` when all
    /// are published. It is asked every few seconds at most, without locks.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn unpublished_since(&self, stream: &str) -> Result<Option<Timestamp>, StoreError>;
}
