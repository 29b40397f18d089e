//! The audit log as the source of events.

use async_trait::async_trait;

use crate::audit::{AuditAction, AuditEntry};
use crate::error::StoreError;
use crate::feed::EventPage;
use crate::ids::{AccountId, CampaignId};
use crate::page::Limit;

/// Which events to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Those about this campaign.
    pub campaign_id: Option<CampaignId>,
    /// Those of these types, each named once; `None` for every type.
    pub types: Option<Vec<AuditAction>>,
}

/// Reads the audit log as a stream: oldest first, from a number on. The numbers of an account have
/// no gaps and are in the order of the commits, so that a reader misses nothing.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Entries with a number above `after`, oldest first, as many as a page takes, and the number of
    /// the newest entry, which was read before them. `None` when the filter names a campaign that
    /// the account does not have.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn events(
        &self,
        account: AccountId,
        filter: &EventFilter,
        after: i64,
        limit: Limit,
    ) -> Result<Option<EventPage<AuditEntry>>, StoreError>;

    /// The number of the newest entry of each of these accounts that has one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn event_heads(
        &self,
        accounts: &[AccountId],
    ) -> Result<Vec<(AccountId, i64)>, StoreError>;
}
