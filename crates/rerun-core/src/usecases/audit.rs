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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use uuid::Uuid;

    use super::*;
    use crate::audit::{AuditEntry, Authorship};
    use crate::event::Event;
    use crate::ids::{AuditEntryId, CampaignId};
    use crate::ports::MockAuditStore;
    use crate::timestamp::Timestamp;

    const ACCOUNT: AccountId = AccountId::new(Uuid::from_u128(1));

    fn entries(number: u128) -> Vec<AuditEntry> {
        let mut head = ChainHead::EMPTY;
        let entry = |n| {
            let author = Authorship {
                entry_id: AuditEntryId::new(Uuid::from_u128(n)),
                actor: Actor::system(ACCOUNT),
                at: Timestamp::UNIX_EPOCH,
            };
            let entry = author
                .of(Event::CampaignCreated {
                    campaign_id: CampaignId::new(Uuid::from_u128(n)),
                    name: "Offers".into(),
                })
                .sealed(&head);
            head = head_of(&entry);
            entry
        };
        (1..=number).map(entry).collect()
    }

    fn head_of(entry: &AuditEntry) -> ChainHead {
        ChainHead {
            seq: entry.seq,
            hash: entry.hash,
        }
    }

    /// What is found in a log of these entries that grows by one after each time its head is read,
    /// up to the number of `heads`.
    async fn verified(
        entries: Vec<AuditEntry>,
        heads: Vec<ChainHead>,
        expected: Option<ChainHead>,
    ) -> Result<ChainHead, ChainBreak> {
        let mut store = MockAuditStore::new();
        store
            .expect_audit_chain()
            .returning(move |_, after, limit| {
                let later = entries.iter().filter(|entry| entry.seq > after);
                let limit = usize::from(limit);
                Ok(later.take(limit).cloned().collect())
            });
        let heads = Mutex::new(heads.into_iter());
        store.expect_audit_head().returning(move |_| {
            let head = heads.lock().unwrap().next();
            Ok(head.expect("the head is read once more than it moves"))
        });
        store.expect_first_unlogged().returning(|_| Ok(None));
        store
            .expect_audit_accounts()
            .returning(|| Ok(vec![ACCOUNT]));
        let log = AuditLog::new(Arc::new(store));
        assert_eq!(log.accounts().await.unwrap(), [ACCOUNT]);
        log.verify_with(ACCOUNT, expected).await.unwrap()
    }

    #[tokio::test]
    async fn a_log_is_read_up_to_the_head_that_was_kept_with_it() {
        let all = entries(3);
        let head = |n: usize| head_of(&all[n - 1]);
        assert_eq!(
            verified(all.clone(), vec![head(3)], None).await,
            Ok(head(3))
        );
        assert_eq!(
            verified(Vec::new(), vec![ChainHead::EMPTY], None).await,
            Ok(ChainHead::EMPTY)
        );
        // The head is ahead of what was read first, and the log ends before it.
        let cut = verified(all[..2].to_vec(), vec![head(3), head(3)], None).await;
        let Err(ChainBreak::Truncated { expected, found }) = cut else {
            panic!("{cut:?}");
        };
        assert_eq!((expected, found), (3, 2));
        let none = verified(Vec::new(), vec![head(3), head(3)], None).await;
        assert!(
            matches!(
                none,
                Err(ChainBreak::Truncated {
                    expected: 3,
                    found: 0
                })
            ),
            "{none:?}"
        );
        // An entry behind the head that was kept.
        let surplus = verified(all.clone(), vec![head(2)], None).await;
        assert!(
            matches!(surplus, Err(ChainBreak::Surplus { seq: 3, .. })),
            "{surplus:?}"
        );
        let other = ChainHead {
            hash: [9; 32],
            ..head(3)
        };
        let other = verified(all.clone(), vec![other], None).await;
        assert!(
            matches!(other, Err(ChainBreak::OtherHead { seq: 3 })),
            "{other:?}"
        );
    }

    #[tokio::test]
    async fn a_log_of_several_pages_is_read_to_its_end() {
        let all = entries(2 * u128::from(CHAIN_PAGE) + 1);
        let head = head_of(all.last().unwrap());
        assert_eq!(verified(all, vec![head; 3], None).await, Ok(head));
    }

    #[tokio::test]
    async fn an_entry_that_follows_the_head_meanwhile_is_no_surplus() {
        let all = entries(3);
        let (read, written) = (all[..2].to_vec(), all[2..].to_vec());
        let head = head_of(&all[1]);
        let mut store = MockAuditStore::new();
        let mut chain = |after: i64, entries: Vec<AuditEntry>| {
            store
                .expect_audit_chain()
                .withf(move |_, asked, _| *asked == after)
                .returning(move |_, _, _| Ok(entries.clone()));
        };
        chain(0, read);
        chain(2, written);
        store.expect_audit_head().returning(move |_| Ok(head));
        store.expect_first_unlogged().returning(|_| Ok(None));
        let log = AuditLog::new(Arc::new(store));
        assert_eq!(log.verify(ACCOUNT).await.unwrap(), Ok(2));
    }

    #[tokio::test]
    async fn a_log_has_the_entry_that_was_noted_elsewhere() {
        let all = entries(3);
        let head = |n: usize| head_of(&all[n - 1]);
        for noted in [head(2), head(3)] {
            let found = verified(all.clone(), vec![head(3)], Some(noted)).await;
            assert_eq!(found, Ok(head(3)));
        }
        let forged = ChainHead {
            hash: [9; 32],
            ..head(2)
        };
        let found = verified(all.clone(), vec![head(3)], Some(forged)).await;
        assert!(
            matches!(found, Err(ChainBreak::Unexpected { seq: 2, .. })),
            "{found:?}"
        );
        let cut = verified(all[..2].to_vec(), vec![head(2)], Some(head(3))).await;
        let Err(ChainBreak::Truncated { expected, found }) = cut else {
            panic!("{cut:?}");
        };
        assert_eq!((expected, found), (3, 2));
        let other = ChainHead {
            hash: [9; 32],
            ..head(2)
        };
        let cut = verified(all[..2].to_vec(), vec![other], Some(head(3))).await;
        assert!(matches!(cut, Err(ChainBreak::Truncated { .. })), "{cut:?}");
    }
}
