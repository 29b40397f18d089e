use std::sync::Arc;

use super::{Listed, PageQuery, listed};
use crate::audit::{AuditEntry, Caller, ChainBreak, ChainCheck};
use crate::error::{Error, StoreError};
use crate::ids::AccountId;
use crate::page::CursorScope;
use crate::ports::{AuditFilter, AuditStore};

/// The audit log.
#[derive(Clone)]
pub struct AuditLog {
    store: Arc<dyn AuditStore>,
}

/// How many entries are read at once when a chain is checked.
const CHAIN_PAGE: u16 = 1_000;

impl AuditLog {
    /// Over this port.
    #[must_use]
    pub fn new(store: Arc<dyn AuditStore>) -> Self {
        Self { store }
    }

    /// The account's entries, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is none; [`Error::CampaignNotFound`] when
    /// the filter names a campaign that is not there; [`Error::Store`].
    pub async fn list(
        &self,
        caller: &Caller,
        filter: AuditFilter,
        page: &PageQuery,
    ) -> Result<Listed<AuditEntry>, Error> {
        let narrowed_by = format!("{filter:?}");
        let scope = CursorScope {
            list: "audit",
            account: caller.account_id,
            narrowed_by: &narrowed_by,
        };
        let page = page.resolve(scope)?;
        let found = self
            .store
            .list_audit(caller.account_id, filter, page)
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

    /// Checks that an account's log is as it was written; answers how many entries it has, or
    /// the first break.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn verify(&self, account: AccountId) -> Result<Result<i64, ChainBreak>, StoreError> {
        // The head is read first: entries that are written meanwhile come after it.
        let head = self.store.audit_head(account).await?;
        let mut check = ChainCheck::default();
        let mut after = 0;
        loop {
            let entries = self.store.audit_chain(account, after, CHAIN_PAGE).await?;
            let Some(last) = entries.last().map(|entry| entry.seq) else {
                break;
            };
            for entry in entries.iter().filter(|entry| entry.seq <= head.seq) {
                if let Err(broken) = check.next(entry) {
                    return Ok(Err(broken));
                }
            }
            if last >= head.seq {
                break;
            }
            after = last;
        }
        Ok(check.finish(&head))
    }
}
