use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, LeaseId};
use rerun_core::ports::{EventCursors, LeaseCursor, MoveCursor};
use rerun_diesel::cursors;

use crate::PgStore;

#[async_trait]
impl EventCursors for PgStore {
    async fn accounts_unpublished(
        &self,
        stream: &str,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        let stream = stream.to_owned();
        self.accounts(limit, move |conn, reach| {
            cursors::accounts_unpublished(conn, &stream, after, limit, now, reach.look())
        })
        .await
    }

    async fn lease_cursor(&self, request: LeaseCursor) -> Result<Option<i64>, StoreError> {
        self.db
            .run(move |conn| cursors::lease_cursor(conn, &request))
            .await
    }

    async fn move_cursor(&self, request: MoveCursor) -> Result<bool, StoreError> {
        self.db
            .run(move |conn| cursors::move_cursor(conn, &request))
            .await
    }

    async fn release_cursor(
        &self,
        account: AccountId,
        stream: &str,
        lease: LeaseId,
    ) -> Result<(), StoreError> {
        let stream = stream.to_owned();
        self.db
            .run(move |conn| cursors::release_cursor(conn, account, &stream, lease))
            .await
    }

    async fn unpublished_since(&self, stream: &str) -> Result<Option<Timestamp>, StoreError> {
        let stream = stream.to_owned();
        self.db
            .run(move |conn| cursors::unpublished_since(conn, &stream))
            .await
    }
}
