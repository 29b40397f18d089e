//! Deliveries of events to webhooks. The audit log is their only source.

use async_trait::async_trait;

use crate::audit::AuditEntry;
use crate::delivery::{Attempt, Delivery, DeliveryState, Verdict};
use crate::error::StoreError;
use crate::idempotency::IdempotencyKey;
use crate::ids::{AccountId, AuditEntryId, LeaseId, WebhookId};
use crate::page::{Page, PageRequest};
use crate::timestamp::Timestamp;
use crate::webhook::{DisabledReason, SecretNumber};

/// The place of a delivery in a list: its event's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeliveryKey(pub i64);

/// A request to queue what is new in an account's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FanOut {
    /// The account.
    pub account_id: AccountId,
    /// The most entries that are looked at for each webhook.
    pub entries: u32,
    /// When.
    pub now: Timestamp,
}

/// What was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FannedOut {
    /// How many deliveries were queued.
    pub queued: u64,
    /// Whether there may be more to queue at once.
    pub more: bool,
}

/// A request for deliveries of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseDeliveries {
    /// The account.
    pub account_id: AccountId,
    /// The lease.
    pub lease: LeaseId,
    /// The most deliveries.
    pub limit: u32,
    /// When.
    pub now: Timestamp,
    /// How long the lease lasts.
    pub until: Timestamp,
}

/// A delivery that was taken under a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedDelivery {
    /// The webhook.
    pub webhook_id: WebhookId,
    /// Where to send it.
    pub url: String,
    /// The numbers of the secrets that sign, newest first.
    pub secrets: Vec<SecretNumber>,
    /// The entry that is the event.
    pub entry: AuditEntry,
    /// Which attempt this is, from 1. It was written with the lease.
    pub attempt: u32,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettleDelivery {
    /// The account.
    pub account_id: AccountId,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The event's number.
    pub sequence: i64,
    /// The lease under which it was taken.
    pub lease: LeaseId,
    /// The attempt.
    pub attempt: Attempt,
    /// What follows from it.
    pub verdict: Verdict,
    /// For the entry, if the webhook is disabled.
    pub audit_id: AuditEntryId,
    /// When.
    pub now: Timestamp,
}

/// What a settled attempt changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SettledDelivery {
    /// Whether the lease still held the delivery. If not, nothing changed.
    pub counted: bool,
    /// Why the webhook is disabled, if it is from now on.
    pub disabled: Option<DisabledReason>,
}

/// What to send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// The events that the webhook wants from one number to another, both included. They may be
    /// from before it was made.
    Range {
        /// The first.
        from: i64,
        /// The last.
        to: i64,
    },
    /// What was given up.
    Failed,
}

/// A request to send events again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayDeliveries {
    /// The account.
    pub account_id: AccountId,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// Which.
    pub what: Replay,
    /// The most deliveries to queue: more than this is refused.
    pub most: u32,
    /// When.
    pub now: Timestamp,
    /// The key that the number is kept under.
    pub key: Option<IdempotencyKey>,
}

/// Hands out the events that are to be delivered, and takes the results.
///
/// A delivery is due when its time has come and no live lease holds it. What is said of due times
/// and clocks at [`GenerationQueue`](super::GenerationQueue) is true here too.
///
/// No webhook has more than [`MOST_AT_ONCE`](crate::delivery::MOST_AT_ONCE) deliveries under live
/// leases, and an ordered one has one: that with the least number of those that wait.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait DeliveryQueue: Send + Sync {
    /// Returns up to `limit` accounts that have enabled webhooks which are behind the log, in the
    /// order of their ids, those after `after` only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn accounts_behind(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountId>, StoreError>;

    /// Queues deliveries of the account's new entries to each enabled webhook that wants them,
    /// and moves each webhook on in the log, in one transaction. Webhooks that have
    /// [`MOST_PENDING`](crate::delivery::MOST_PENDING) deliveries stay where they are; so do
    /// those that another transaction holds.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn fan_out(&self, request: FanOut) -> Result<FannedOut, StoreError>;

    /// Returns up to `limit` accounts that have due deliveries, in the order of their ids, those
    /// after `after` only. Moves the times of deliveries that were set before the clock went back;
    /// an account that had such deliveries is returned too.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn accounts_due(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError>;

    /// Takes due deliveries of one account under a lease, the longest due first, and counts an
    /// attempt for each. Deliveries that have had all their attempts, because nobody said how the
    /// last one ended, are given up in place of that.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn lease_deliveries(
        &self,
        request: LeaseDeliveries,
    ) -> Result<Vec<LeasedDelivery>, StoreError>;

    /// Prolongs a lease that is still alive at `now`; returns how many deliveries it holds.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn renew_deliveries(
        &self,
        lease: LeaseId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Gives back what a lease still holds, due at once. The attempts that were counted with the
    /// lease do not count.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn release_deliveries(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError>;

    /// Writes what became of an attempt, in one transaction. A result whose lease was lost
    /// meanwhile changes nothing. The webhook is failing from its first failed attempt on, until
    /// one is delivered, and is disabled when [`disables`](crate::delivery::disables) says so; an
    /// entry says that.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn settle_delivery(&self, settle: SettleDelivery) -> Result<SettledDelivery, StoreError>;

    /// The webhook's deliveries, newest event first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_deliveries(
        &self,
        account: AccountId,
        webhook: WebhookId,
        state: Option<DeliveryState>,
        page: PageRequest<DeliveryKey>,
    ) -> Result<Page<Delivery, DeliveryKey>, StoreError>;

    /// Queues events of the log again, with all their attempts: those up to where the webhook is
    /// in the log. What waits is due at once. Returns how many are queued; `None` when they would
    /// be more than `most`, and nothing is.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the webhook is gone or disabled; others.
    async fn replay_deliveries(&self, request: ReplayDeliveries)
    -> Result<Option<u32>, StoreError>;

    /// Deletes up to `limit` deliveries that ended before `before`, with their attempts, attempts
    /// before it, and what deleted webhooks left; returns how many rows went.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn sweep_deliveries(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}

/// How much waits to be delivered, in all accounts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeliveryBacklog {
    /// Deliveries that wait. Stores stop counting at
    /// [`Backlog::MOST_COUNTED`](super::Backlog::MOST_COUNTED).
    pub pending: u64,
    /// When the delivery that waits longest became due, among those to enabled webhooks; `None` when
    /// none is due.
    pub due_since: Option<Timestamp>,
    /// How many webhooks are disabled.
    pub disabled: u64,
}

/// Tells an operator whether deliveries keep up.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait DeliveryGauge: Send + Sync {
    /// What waits at `now`. It is asked every few seconds at most, without locks.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delivery_backlog(&self, now: Timestamp) -> Result<DeliveryBacklog, StoreError>;
}
