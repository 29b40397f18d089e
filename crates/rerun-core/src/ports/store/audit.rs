//! The audit log.

use async_trait::async_trait;

use crate::audit::{AuditAction, AuditEntry, ChainHead, Unlogged};
use crate::error::StoreError;
use crate::ids::{AccountId, CampaignId};
use crate::page::{AuditKey, Page, PageRequest};

/// Which entries of the audit log to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Those about this campaign.
    pub campaign_id: Option<CampaignId>,
    /// Those of this action.
    pub action: Option<AuditAction>,
}

/// Reads the audit log. Entries are written by the methods whose transaction they belong to.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// The account's entries, newest first; `None` when the filter names a campaign that the
    /// account does not have.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_audit(
        &self,
        account: AccountId,
        filter: AuditFilter,
        page: PageRequest<AuditKey>,
    ) -> Result<Option<Page<AuditEntry, AuditKey>>, StoreError>;

    /// Up to `limit` entries with a number above `after`, oldest first: fewer where their contents
    /// fill a [`Page`], but at least one if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn audit_chain(
        &self,
        account: AccountId,
        after: i64,
        limit: u16,
    ) -> Result<Vec<AuditEntry>, StoreError>;

    /// The newest entry of the account's chain as the store keeps it apart from the entries.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn audit_head(&self, account: AccountId) -> Result<ChainHead, StoreError>;

    /// The accounts that have a chain, entries, customer groups or campaigns, in the order of
    /// their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn audit_accounts(&self) -> Result<Vec<AccountId>, StoreError>;

    /// The first piece of the account's state, at one moment, that no entry of its log accounts
    /// for. Entries without state are none: what they are about may have been deleted since. To
    /// be called when the chain is known to be whole.
    ///
    /// - Each group and each campaign has the entry of its creation, and one of the time of its
    ///   last change. (Not a campaign that is `Processing`: messages come in without entries.)
    /// - Each run has the entry of its start; a synthesised one that of its campaign's creation.
    /// - Each run with published messages has the entry of that, unless it is synthesised; each
    ///   cancelled run that of its cancellation.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn first_unlogged(&self, account: AccountId) -> Result<Option<Unlogged>, StoreError>;
}
