use std::sync::Arc;

use super::{Listed, PageQuery, listed};
use crate::actor::Actor;
use crate::audit::{AuditEntry, ChainBreak, ChainCheck, ChainHead};
use crate::error::{Error, StoreError};
use crate::ids::AccountId;
use crate::page::{CursorKey, CursorScope};
use crate::ports::{AuditFilter, AuditStore};

/// The audit log.
#[derive(Clone)]
pub struct AuditLog {
    store: Arc<dyn AuditStore>,
    cursors: CursorKey,
}

/// How many entries are read at once when a chain is checked. The store bounds their bytes.
const CHAIN_PAGE: u16 = 200;

impl AuditLog {
    /// Over this port.
    #[must_use]
    pub fn new(store: Arc<dyn AuditStore>) -> Self {
        Self {
            store,
            cursors: CursorKey::default(),
        }
    }

    /// Seals cursors with this key, in place of the one that everybody knows.
    #[must_use]
    pub fn sealing_with(mut self, key: CursorKey) -> Self {
        self.cursors = key;
        self
    }

    /// The account's entries, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is not valid; [`Error::CampaignNotFound`] when
    /// the filter names a campaign that is not there; [`Error::Store`].
    pub async fn list(
        &self,
        actor: &Actor,
        filter: AuditFilter,
        page: &PageQuery,
    ) -> Result<Listed<AuditEntry>, Error> {
        let narrowed_by = format!("{filter:?}");
        let scope = CursorScope {
            key: self.cursors,
            list: "audit",
            account: actor.account_id,
            narrowed_by: &narrowed_by,
        };
        let page = page.resolve(scope)?;
        let found = self
            .store
            .list_audit(actor.account_id, filter, page)
            .await?;
        listed(found.ok_or(Error::CampaignNotFound)?, scope)
    }

    /// The accounts whose logs can be checked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts(&self) -> Result<Vec<AccountId>, StoreError> {
        self.store.audit_accounts().await
    }

    /// Checks that an account's log is as it was written and accounts for the account's state;
    /// returns how many entries it has, or the first break.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn verify(&self, account: AccountId) -> Result<Result<i64, ChainBreak>, StoreError> {
        let head = self.verify_with(account, None).await?;
        Ok(head.map(|head| head.seq))
    }

    /// The same; returns the newest entry. The log must have the entry that is `expected`: the
    /// newest one of an earlier check, which was kept where nobody could change it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn verify_with(
        &self,
        account: AccountId,
        expected: Option<ChainHead>,
    ) -> Result<Result<ChainHead, ChainBreak>, StoreError> {
        let head = match self.verify_chain(account, expected).await? {
            Ok(head) => head,
            Err(broken) => return Ok(Err(broken)),
        };
        let unlogged = self.store.first_unlogged(account).await?;
        Ok(unlogged.map_or(Ok(head), |unlogged| Err(unlogged.into())))
    }

    async fn verify_chain(
        &self,
        account: AccountId,
        expected: Option<ChainHead>,
    ) -> Result<Result<ChainHead, ChainBreak>, StoreError> {
        let mut check = ChainCheck::expecting(expected);
        let mut head = ChainHead::EMPTY;
        loop {
            let entries = self
                .store
                .audit_chain(account, check.seq(), CHAIN_PAGE)
                .await?;
            for entry in &entries {
                if let Err(broken) = check.next(entry) {
                    return Ok(Err(broken));
                }
            }
            if entries.is_empty() && check.seq() < head.seq {
                return Ok(check.finish(&head));
            }
            // It is written with the entries, so that one that is read after them reaches them,
            // and those that are written meanwhile are in the next part.
            head = self.store.audit_head(account).await?;
            if head.seq < check.seq() {
                let surplus = self.store.audit_chain(account, head.seq, 1).await?;
                let broken = surplus.first().map(|entry| ChainBreak::Surplus {
                    seq: entry.seq,
                    id: entry.id,
                });
                return Ok(broken.map_or_else(|| check.finish(&head), Err));
            }
            if head.seq == check.seq() {
                return Ok(check.finish(&head));
            }
        }
    }
}
