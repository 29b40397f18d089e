//! The queue of messages to generate.

use async_trait::async_trait;

use crate::error::StoreError;
use crate::generation::{GenerationTask, NearestMessage, SettledRun, TaskResult};
use crate::ids::{AccountId, AuditEntryId, CampaignId, LeaseId, MessageId, RunNumber};
use crate::timestamp::Timestamp;

pub use crate::timestamp::CLOCK_TOLERANCE;

/// Results of one lease for messages of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleRun {
    /// The account.
    pub account_id: AccountId,
    /// The campaign.
    pub campaign_id: CampaignId,
    /// The run.
    pub run_number: RunNumber,
    /// The lease under which the messages were taken.
    pub lease: LeaseId,
    /// What became of each message. All are of the run above.
    pub results: Vec<TaskResult>,
    /// For the entry of the run's end.
    pub audit_id: AuditEntryId,
    /// When.
    pub now: Timestamp,
}

/// A request for tasks of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTasks {
    /// The account.
    pub account_id: AccountId,
    /// The lease.
    pub lease: LeaseId,
    /// The most tasks.
    pub limit: u32,
    /// The most bytes of attributes, templates and briefs, each brief and template counted once
    /// for each campaign. The task with which they are reached is the last one.
    pub bytes: u64,
    /// When.
    pub now: Timestamp,
    /// How long the lease lasts.
    pub until: Timestamp,
}

/// Hands out the messages that are to be generated, and takes the results.
///
/// A message is due when its time has come and no live lease holds it. Leases keep workers out
/// of each other's way; they never decide alone: a result counts only while its lease is alive
/// and its message still waits, so that each message is stored once.
///
/// Every task that waits has the time when its due time was set. If that is more than
/// [`CLOCK_TOLERANCE`] in the future, the clock was set back, and the task waits from now on for as
/// long as it was to wait from then on. Therefore nothing stops when a clock changes.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait GenerationQueue: Send + Sync {
    /// Returns up to `limit` accounts that have due messages, in the order of their ids, those
    /// after `after` only. Moves the times of tasks that were set before the clock went back; an
    /// account that had such tasks is returned too.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn due_accounts(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError>;

    /// Takes due messages of one account under a lease, the longest due first. A store may let those wait for up
    /// to a second that were stored after others which were due later, as long as such others are left. Runs that
    /// were `Queued` are `Processing` then.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn lease(&self, request: LeaseTasks) -> Result<Vec<GenerationTask>, StoreError>;

    /// The approved messages that are suggested for these messages, in any order; a message without a
    /// suggestion is left out. Long texts may be cut to
    /// [`Example::MAX_BYTES`](crate::generation::Example::MAX_BYTES) characters.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn examples(
        &self,
        account: AccountId,
        messages: Vec<MessageId>,
    ) -> Result<Vec<NearestMessage>, StoreError>;

    /// Prolongs a lease that is still alive at `now`; answers how many messages it holds.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn renew(
        &self,
        lease: LeaseId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Gives back what a lease still holds, due at once.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn release(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError>;

    /// Stores results in one transaction, together with what [`crate::change::generated`] says
    /// of run and campaign. Results whose message the lease does not hold any more, or held only
    /// until before `now`, are dropped. A message that is to be tried again leaves the lease and
    /// is due at its time, with one more failed attempt. A message that was put off leaves it in
    /// the same way, and its wait is added to the time that it was put off in total. The campaign
    /// gets the next version when its status changes.
    ///
    /// What the calls cost is added to the run's usage, whatever became of their messages, and is
    /// kept with the content that was made.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn settle(&self, settle: SettleRun) -> Result<SettledRun, StoreError>;
}

/// How much waits to be generated, in all accounts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Messages in the queue, those that are leased or wait for another attempt too. Stores stop
    /// counting at [`Backlog::MOST_COUNTED`].
    pub messages: u64,
    /// Since when that message is due which has been due the longest; `None` when none is due.
    pub due_since: Option<Timestamp>,
}

impl Backlog {
    /// The largest number of messages that is told: counting more would cost more than knowing
    /// it is worth.
    pub const MOST_COUNTED: u32 = 1_000_000;
}

/// Tells an operator whether workers keep up.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait QueueGauge: Send + Sync {
    /// What waits at `now`. It is asked every few seconds at most, without locks, and never reads
    /// a message.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn backlog(&self, now: Timestamp) -> Result<Backlog, StoreError>;
}
