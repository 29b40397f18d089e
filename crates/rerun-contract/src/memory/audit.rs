//! The audit log, and the feed that is read from it.

use async_trait::async_trait;
use rerun_core::audit::{AuditAction, AuditEntry, ChainHead, Unlogged};
use rerun_core::error::StoreError;
use rerun_core::feed::EventPage;
use rerun_core::ids::AccountId;
use rerun_core::page::{AuditKey, Limit, Page, PageRequest, filling};
use rerun_core::ports::{AuditFilter, AuditStore, EventFilter, EventLog};

use super::{MemoryStore, page};

#[async_trait]
impl AuditStore for MemoryStore {
    async fn list_audit(
        &self,
        account: AccountId,
        filter: AuditFilter,
        request: PageRequest<AuditKey>,
    ) -> Result<Option<Page<AuditEntry, AuditKey>>, StoreError> {
        Ok(self.read(account, |account| {
            if filter
                .campaign_id
                .is_some_and(|id| !account.campaigns.contains_key(&id))
            {
                return None;
            }
            let entries = account
                .entries
                .iter()
                .rev()
                .filter(|e| filter.campaign_id.is_none() || e.campaign_id == filter.campaign_id)
                .filter(|e| {
                    filter
                        .action
                        .is_none_or(|action| e.action == action.as_str())
                })
                .cloned();
            Some(page(
                entries,
                &request,
                |e| AuditKey(e.seq),
                |one, other| one.0 < other.0,
            ))
        }))
    }

    async fn audit_chain(
        &self,
        account: AccountId,
        after: i64,
        limit: u16,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(account, |account| {
            let later = account.entries.iter().filter(|entry| entry.seq > after);
            filling(
                later
                    .take(usize::from(limit))
                    .cloned()
                    .map(Ok::<_, StoreError>),
            )
        })
    }

    async fn audit_head(&self, account: AccountId) -> Result<ChainHead, StoreError> {
        Ok(self.read(account, |account| account.head))
    }

    async fn audit_accounts(&self) -> Result<Vec<AccountId>, StoreError> {
        let state = self.lock();
        let with_chain = state
            .iter()
            .filter(|(_, account)| account.head != ChainHead::EMPTY);
        Ok(with_chain.map(|(id, _)| *id).collect())
    }

    async fn first_unlogged(&self, _account: AccountId) -> Result<Option<Unlogged>, StoreError> {
        // Nobody can change state without its entry, or take an entry away.
        Ok(None)
    }
}

#[async_trait]
impl EventLog for MemoryStore {
    async fn events(
        &self,
        account: AccountId,
        filter: &EventFilter,
        after: i64,
        limit: Limit,
    ) -> Result<Option<EventPage<AuditEntry>>, StoreError> {
        Ok(self.read(account, |account| {
            if filter
                .campaign_id
                .is_some_and(|id| !account.campaigns.contains_key(&id))
            {
                return None;
            }
            let wanted = |entry: &&AuditEntry| {
                let of_type = |types: &Vec<AuditAction>| {
                    types.iter().any(|action| entry.action == action.as_str())
                };
                (filter.campaign_id.is_none() || entry.campaign_id == filter.campaign_id)
                    && filter.types.as_ref().is_none_or(of_type)
            };
            let request = PageRequest {
                limit,
                after: Some(after),
            };
            let entries = account.entries.iter().filter(wanted).cloned();
            let page = page(entries, &request, |e| e.seq, |one, other| one > other);
            Some(EventPage::new(page, after, account.head.seq))
        }))
    }

    async fn event_heads(
        &self,
        accounts: &[AccountId],
    ) -> Result<Vec<(AccountId, i64)>, StoreError> {
        let state = self.lock();
        let heads = accounts.iter().filter_map(|account| {
            let head = state.get(account)?.head;
            (head != ChainHead::EMPTY).then_some((*account, head.seq))
        });
        Ok(heads.collect())
    }
}
