use async_trait::async_trait;
use diesel::sql_types::{BigInt, Nullable};
use diesel::{QueryableByName, RunQueryDsl};
use rerun_core::Timestamp;
use rerun_core::delivery::{Delivery, DeliveryState};
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, LeaseId, WebhookId};
use rerun_core::page::{Page, PageRequest};
use rerun_core::ports::{
    Backlog, DeliveryBacklog, DeliveryGauge, DeliveryKey, DeliveryQueue, FanOut, FannedOut,
    LeaseDeliveries, LeasedDelivery, ReplayDeliveries, SettleDelivery, SettledDelivery,
};
use rerun_diesel::shared::renew;
use rerun_diesel::sql::sql;
use rerun_diesel::types::Time;
use rerun_diesel::webhooks::{outcomes, queue};

use crate::PgStore;
use crate::due::Queue;
use crate::write::{append_audit, transaction};

#[derive(QueryableByName)]
struct BacklogRow {
    #[diesel(sql_type = BigInt)]
    pending: i64,
    #[diesel(sql_type = Nullable<Time>)]
    due_since: Option<Timestamp>,
    #[diesel(sql_type = BigInt)]
    disabled: i64,
}

/// Each account with webhooks is looked at once, whatever number of deliveries it has.
const QUEUE: Queue = Queue {
    table: "webhook_deliveries",
    accounts: ("webhooks", "deleted_at IS NULL"),
};

#[async_trait]
impl DeliveryQueue for PgStore {
    async fn accounts_behind(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.accounts(limit, move |conn, reach| {
            queue::accounts_behind(conn, after, limit, reach.look())
        })
        .await
    }

    async fn fan_out(&self, request: FanOut) -> Result<FannedOut, StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| queue::fan_out(conn, request)))
            .await
    }

    async fn accounts_due(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.accounts(limit, move |conn, reach| {
            QUEUE.due_accounts(conn, reach, after, limit, now, None)
        })
        .await
    }

    async fn lease_deliveries(
        &self,
        request: LeaseDeliveries,
    ) -> Result<Vec<LeasedDelivery>, StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| queue::lease(conn, &request)))
            .await
    }

    async fn renew_deliveries(
        &self,
        lease: LeaseId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError> {
        self.db
            .run(move |conn| renew(conn, "webhook_deliveries", lease, now, until))
            .await
    }

    async fn release_deliveries(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError> {
        self.db
            .run(move |conn| queue::release(conn, lease, now))
            .await
    }

    async fn settle_delivery(
        &self,
        request: SettleDelivery,
    ) -> Result<SettledDelivery, StoreError> {
        self.db
            .run(move |conn| {
                transaction(conn, |conn| outcomes::settle(conn, &request, append_audit))
            })
            .await
    }

    async fn list_deliveries(
        &self,
        account: AccountId,
        webhook: WebhookId,
        state: Option<DeliveryState>,
        page: PageRequest<DeliveryKey>,
    ) -> Result<Page<Delivery, DeliveryKey>, StoreError> {
        self.db
            .run(move |conn| outcomes::list(conn, account, webhook, state, &page))
            .await
    }

    async fn replay_deliveries(
        &self,
        request: ReplayDeliveries,
    ) -> Result<Option<u32>, StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| outcomes::replay(conn, &request)))
            .await
    }

    async fn sweep_deliveries(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| outcomes::sweep(conn, before, limit)))
            .await
    }
}

#[async_trait]
impl DeliveryGauge for PgStore {
    async fn delivery_backlog(&self, now: Timestamp) -> Result<DeliveryBacklog, StoreError> {
        self.db
            .run(move |conn| {
                let text = format!(
                    "SELECT (SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries \
                         WHERE due_at IS NOT NULL \
                         ORDER BY account_id, due_at LIMIT {}) AS waiting) AS pending, \
                       (SELECT min(d.due_at) \
                         FROM (SELECT DISTINCT account_id FROM webhooks WHERE deleted_at IS NULL) a \
                         CROSS JOIN LATERAL (SELECT t.due_at FROM webhook_deliveries t \
                           WHERE t.account_id = a.account_id AND t.due_at <= ? \
                             AND (t.lease_id IS NULL OR t.due_at < ?) \
                           ORDER BY t.due_at LIMIT 1) d) AS due_since, \
                       (SELECT count(*) FROM webhooks WHERE deleted_at IS NULL \
                         AND disabled_reason IS NOT NULL) AS disabled",
                    Backlog::MOST_COUNTED
                );
                let row = sql(&text)
                    .bind::<Time, _>(now)
                    .bind::<Time, _>(now)
                    .get_result::<BacklogRow>(conn)?;
                Ok(DeliveryBacklog {
                    pending: u64::try_from(row.pending).unwrap_or_default(),
                    due_since: row.due_since,
                    disabled: u64::try_from(row.disabled).unwrap_or_default(),
                })
            })
            .await
    }
}
