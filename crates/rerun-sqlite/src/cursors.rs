use std::convert::identity;

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, LeaseId};
use rerun_core::ports::{EventCursors, LeaseCursor, MoveCursor};
use rerun_diesel::cursors;

use crate::SqliteStore;

#[async_trait]
impl EventCursors for SqliteStore {
    async fn accounts_unpublished(
        &self,
        stream: &str,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        let stream = stream.to_owned();
        self.readers
            .run(move |conn| {
                cursors::accounts_unpublished(conn, &stream, after, limit, now, identity)
            })
            .await
    }

    async fn lease_cursor(&self, request: LeaseCursor) -> Result<Option<i64>, StoreError> {
        self.write(move |conn| cursors::lease_cursor(conn, &request))
            .await
    }

    async fn move_cursor(&self, request: MoveCursor) -> Result<bool, StoreError> {
        self.write(move |conn| cursors::move_cursor(conn, &request))
            .await
    }

    async fn release_cursor(
        &self,
        account: AccountId,
        stream: &str,
        lease: LeaseId,
    ) -> Result<(), StoreError> {
        let stream = stream.to_owned();
        self.write(move |conn| cursors::release_cursor(conn, account, &stream, lease))
            .await
    }

    async fn unpublished_since(&self, stream: &str) -> Result<Option<Timestamp>, StoreError> {
        let stream = stream.to_owned();
        self.readers
            .run(move |conn| cursors::unpublished_since(conn, &stream))
            .await
    }
}
