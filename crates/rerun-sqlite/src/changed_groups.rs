use std::convert::identity;

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber};
use rerun_core::outlook::RunSegment;
use rerun_core::ports::{ChangedGroupQueue, NoteOutlook, TakeGroup, TakenGroup};
use rerun_diesel::changed_groups;

use crate::SqliteStore;
use crate::write::append_audit;

#[async_trait]
impl ChangedGroupQueue for SqliteStore {
    async fn accounts_changed(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.readers
            .run(move |conn| changed_groups::accounts(conn, after, limit, now, identity))
            .await
    }

    async fn take_group(&self, request: TakeGroup) -> Result<Option<TakenGroup>, StoreError> {
        self.write(move |conn| changed_groups::take(conn, request))
            .await
    }

    async fn renew_group(&self, taken: TakenGroup, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |conn| changed_groups::renew(conn, &taken, now))
            .await
    }

    async fn leave_group(
        &self,
        taken: TakenGroup,
        again: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.write(move |conn| changed_groups::leave(conn, &taken, again))
            .await
    }

    async fn published_for(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        after: Option<CampaignId>,
        limit: u32,
    ) -> Result<Vec<CampaignId>, StoreError> {
        self.readers
            .run(move |conn| changed_groups::published(conn, (account, group), after, limit))
            .await
    }

    async fn run_segments(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Vec<RunSegment>, StoreError> {
        self.readers
            .run(move |conn| changed_groups::run_segments(conn, (account, campaign), run))
            .await
    }

    async fn note_outlook(&self, outlook: NoteOutlook) -> Result<bool, StoreError> {
        self.write(move |conn| changed_groups::note(conn, outlook, append_audit))
            .await
    }
}
