//! Groups that imports changed, and the previews of reruns for their campaigns.

use async_trait::async_trait;

use crate::audit::AuditDraft;
use crate::campaign::Campaign;
use crate::error::StoreError;
use crate::ids::{AccountId, CampaignId, CustomerGroupId, LeaseId, RunNumber};
use crate::outlook::RunSegment;
use crate::timestamp::Timestamp;

/// A request for a changed group of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakeGroup {
    /// The account.
    pub account_id: AccountId,
    /// The lease.
    pub lease: LeaseId,
    /// When.
    pub now: Timestamp,
}

/// A group that was taken under a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenGroup {
    /// The account.
    pub account_id: AccountId,
    /// The group.
    pub group_id: CustomerGroupId,
    /// The lease.
    pub lease: LeaseId,
    /// How many imports the preview is for: with one more, the group is due again.
    pub imports: i64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

/// What a rerun of a campaign would change, to be kept and to be reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteOutlook {
    /// The campaign as the preview saw it. A store commits only while its version is the same.
    pub campaign: Campaign,
    /// The hash of what would change; `None` when nothing would.
    pub digest: Option<[u8; 32]>,
    /// The entry, if something would change.
    pub audit: Option<AuditDraft>,
}

/// Hands out the groups that imports changed, so that the reruns of their campaigns are previewed.
///
/// [`import_customers`](super::CustomerGroupStore::import_customers) queues a group in its own
/// transaction when it changed it: with the times of
/// [`Due::after_import`](crate::outlook::Due::after_import), or with those of
/// [`Due::put_off`](crate::outlook::Due::put_off) when the group waits already and nobody has it
/// under a lease. What is due, and which lease is alive, is for
/// [`Times`](crate::outlook::Times) to say.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait ChangedGroupQueue: Send + Sync {
    /// Returns up to `limit` accounts that have a group which can be taken, in the order of their
    /// ids, those after `after` only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn accounts_changed(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError>;

    /// Takes that group of an account which is due the longest under a lease, and counts an attempt.
    /// `None` when none can be taken.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn take_group(&self, request: TakeGroup) -> Result<Option<TakenGroup>, StoreError>;

    /// Prolongs the lease of a group by its whole length from `now`; false when it was lost.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn renew_group(&self, taken: TakenGroup, now: Timestamp) -> Result<bool, StoreError>;

    /// Ends the lease of a group. It is due again at `again`, or is done with. A group that was
    /// imported into meanwhile is due when that import says. If the lease was lost, nothing changes.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn leave_group(
        &self,
        taken: TakenGroup,
        again: Option<Timestamp>,
    ) -> Result<(), StoreError>;

    /// Returns up to `limit` `Published` campaigns that want suggestions and whose current run has
    /// the group, in the order of their ids, those after `after` only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn published_for(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        after: Option<CampaignId>,
        limit: u32,
    ) -> Result<Vec<CampaignId>, StoreError>;

    /// Returns the segments that a run has messages for, in any order.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn run_segments(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Vec<RunSegment>, StoreError>;

    /// Keeps what a rerun would change, with its entry, in one transaction; returns false, and
    /// writes nothing, when that was kept already. The campaign's version stays.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the campaign is not at its version any more.
    async fn note_outlook(&self, note: NoteOutlook) -> Result<bool, StoreError>;
}
