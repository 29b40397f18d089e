//! Schedules and their firings.

use async_trait::async_trait;

use super::idempotency::IdempotentResponse;
use crate::audit::AuditDraft;
use crate::error::StoreError;
use crate::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber, ScheduleId};
use crate::page::{CreatedKey, Page, PageRequest};
use crate::schedule::{Firing, FiringKey, Outcome, Schedule, ScheduleState, ScheduleView};
use crate::timestamp::Timestamp;

/// A schedule to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSchedule {
    /// The schedule.
    pub schedule: Schedule,
    /// The most schedules that the account may have.
    pub limit: u32,
    /// The audit entry.
    pub audit: AuditDraft,
    /// The response to keep under an idempotency key.
    pub response: Option<IdempotentResponse>,
}

/// A schedule to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateSchedule {
    /// The schedule as the decision saw it. A store commits only while its version is the same.
    pub schedule: Schedule,
    /// The schedule as it is to be. Its version does not count.
    pub to: Schedule,
    /// The audit entry; `None` when nothing changes but the response is to be kept.
    pub audit: Option<AuditDraft>,
    /// The response to keep under an idempotency key.
    pub response: Option<IdempotentResponse>,
    /// When.
    pub now: Timestamp,
}

/// A schedule to delete with its firings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteSchedule {
    /// The schedule as the decision saw it. A store commits only while its version is the same.
    pub schedule: Schedule,
    /// The audit entry.
    pub audit: AuditDraft,
    /// The response to keep under an idempotency key.
    pub response: Option<IdempotentResponse>,
    /// When.
    pub now: Timestamp,
}

/// What became of times of a schedule. It is written in one transaction: that of the run, if one is
/// started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiringChange {
    /// The schedule as the decision saw it. A store commits only while its version is the same.
    pub schedule: Schedule,
    /// The state that the schedule has then.
    pub state: ScheduleState,
    /// The firings. One that waited takes its own place; every other time must not have one yet.
    pub firings: Vec<Firing>,
    /// Entries about firings that started nothing.
    pub audits: Vec<AuditDraft>,
}

/// Firings that start nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleFirings {
    /// What became of the times.
    pub change: FiringChange,
    /// The response to keep under an idempotency key.
    pub response: Option<IdempotentResponse>,
    /// When.
    pub now: Timestamp,
}

/// A schedule that is due, under a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueSchedule {
    /// The account.
    pub account_id: AccountId,
    /// The schedule.
    pub id: ScheduleId,
}

/// Keeps schedules.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait ScheduleStore: Send + Sync {
    /// Adds a schedule. Returns `false`, and adds nothing, when the account has as many as it may have.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its group was deleted meanwhile, or the idempotency key was used
    /// meanwhile.
    async fn create_schedule(&self, create: CreateSchedule) -> Result<bool, StoreError>;

    /// Changes a schedule. Any lease on it ends.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not at its version any more, when its group was deleted
    /// meanwhile, or the idempotency key was used meanwhile.
    async fn update_schedule(&self, update: UpdateSchedule) -> Result<(), StoreError>;

    /// Deletes a schedule with its firings.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not at its version any more, or the idempotency key was used
    /// meanwhile.
    async fn delete_schedule(&self, delete: DeleteSchedule) -> Result<(), StoreError>;

    /// The schedule with its last firing.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_schedule(
        &self,
        account: AccountId,
        id: ScheduleId,
    ) -> Result<Option<ScheduleView>, StoreError>;

    /// The account's schedules with their last firings, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_schedules(
        &self,
        account: AccountId,
        page: PageRequest<CreatedKey>,
    ) -> Result<Page<ScheduleView, CreatedKey>, StoreError>;

    /// The firings of a schedule, newest first: those with this outcome, if one is given.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn firings(
        &self,
        account: AccountId,
        schedule: ScheduleId,
        outcome: Option<Outcome>,
        page: PageRequest<FiringKey>,
    ) -> Result<Page<Firing, FiringKey>, StoreError>;

    /// Whether the group's customers changed since the run started. It is also true when the run was
    /// for another group. `None` if the group does not exist.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn group_changed(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Option<bool>, StoreError>;
}

/// Hands out schedules that are due, and takes what became of their times.
///
/// A schedule is due when its time has come, or when one of its firings waits and the campaign is
/// published or gone. A lease keeps servers out of each other's way; it decides nothing: a firing
/// counts only while the schedule is at its version, and each time has one firing.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait ScheduleQueue: Send + Sync {
    /// Takes up to `limit` due schedules until `until`, the longest due first. A lease that ends later
    /// than `until` was given before the clock was set back, and does not count.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn lease_schedules(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueSchedule>, StoreError>;

    /// Writes down what became of times for which nothing was started. The lease ends.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the schedule is not at its version any more, when a time has a
    /// firing already, or the idempotency key was used meanwhile.
    async fn settle_firings(&self, settle: SettleFirings) -> Result<(), StoreError>;
}

/// Tells an operator whether schedules are fired.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait ScheduleGauge: Send + Sync {
    /// When the schedule was due that has been due the longest at `now`, in all accounts; `None` if none
    /// is due. It is asked every few seconds at most, without locks.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn schedule_due_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;
}
