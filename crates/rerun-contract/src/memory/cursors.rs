//! Places in streams.

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, LeaseId};
use rerun_core::ports::{CLOCK_TOLERANCE, EventCursors, LeaseCursor, MoveCursor};

use super::{Account, Cursor, MemoryStore};

impl Cursor {
    fn is_held(&self, now: Timestamp) -> bool {
        self.lease
            .as_ref()
            .is_some_and(|lease| lease.until > now && lease.now <= now + CLOCK_TOLERANCE)
    }

    fn is_held_by(&self, lease: LeaseId) -> bool {
        self.lease.as_ref().is_some_and(|held| held.lease == lease)
    }
}

impl Account {
    fn published(&self, stream: &str) -> i64 {
        self.cursors.get(stream).map_or(0, |cursor| cursor.sequence)
    }
}

#[async_trait]
impl EventCursors for MemoryStore {
    async fn accounts_unpublished(
        &self,
        stream: &str,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        let state = self.lock();
        let is_free = |account: &Account| {
            let cursor = account.cursors.get(stream);
            !cursor.is_some_and(|cursor| cursor.is_held(now))
        };
        let found = state
            .iter()
            .filter(|(id, _)| after.is_none_or(|after| **id > after))
            .filter(|(_, account)| account.published(stream) < account.head.seq)
            .filter(|(_, account)| is_free(account));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(found.map(|(id, _)| *id).take(limit).collect())
    }

    async fn lease_cursor(&self, request: LeaseCursor) -> Result<Option<i64>, StoreError> {
        self.write_account(request.account_id, |account| {
            if account.head.seq == 0 {
                return Ok(None);
            }
            let cursor = account.cursors.entry(request.stream.clone()).or_default();
            if cursor.is_held(request.now) {
                return Ok(None);
            }
            cursor.lease = Some(request);
            Ok(Some(cursor.sequence))
        })
    }

    async fn move_cursor(&self, request: MoveCursor) -> Result<bool, StoreError> {
        let MoveCursor { lease, sequence } = request;
        self.write_account(lease.account_id, |account| {
            let cursor = account.cursors.entry(lease.stream.clone()).or_default();
            let held = cursor.is_held_by(lease.lease);
            if held {
                cursor.sequence = sequence;
                cursor.lease = Some(lease);
            }
            Ok(held)
        })
    }

    async fn release_cursor(
        &self,
        account: AccountId,
        stream: &str,
        lease: LeaseId,
    ) -> Result<(), StoreError> {
        self.write_account(account, |account| {
            let cursor = account.cursors.get_mut(stream);
            if let Some(cursor) = cursor.filter(|cursor| cursor.is_held_by(lease)) {
                cursor.lease = None;
            }
            Ok(())
        })
    }

    async fn unpublished_since(&self, stream: &str) -> Result<Option<Timestamp>, StoreError> {
        let state = self.lock();
        let oldest = state.values().filter_map(|account| {
            let next = account.published(stream) + 1;
            account.entries.iter().find(|entry| entry.seq == next)
        });
        Ok(oldest.map(|entry| entry.created_at).min())
    }
}
