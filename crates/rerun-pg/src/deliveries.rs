use async_trait::async_trait;
use diesel::sql_types::{BigInt, Bool, Nullable};
use diesel::{PgConnection, QueryableByName, RunQueryDsl};
use rerun_core::Timestamp;
use rerun_core::delivery::{Delivery, DeliveryState};
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, LeaseId, WebhookId};
use rerun_core::page::{Page, PageRequest};
use rerun_core::ports::{
    Backlog, CLOCK_TOLERANCE, DeliveryBacklog, DeliveryGauge, DeliveryKey, DeliveryQueue, FanOut,
    FannedOut, LeaseDeliveries, LeasedDelivery, ReplayDeliveries, SettleDelivery, SettledDelivery,
};
use rerun_diesel::error::Failure;
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};
use rerun_diesel::webhooks::{outcomes, queue};
use uuid::Uuid;

use crate::PgStore;
use crate::write::{append_audit, transaction};

#[derive(QueryableByName)]
struct DueAccountRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
    #[diesel(sql_type = Bool)]
    ahead: bool,
}

#[derive(QueryableByName)]
struct BacklogRow {
    #[diesel(sql_type = BigInt)]
    pending: i64,
    #[diesel(sql_type = Nullable<Time>)]
    due_since: Option<Timestamp>,
    #[diesel(sql_type = BigInt)]
    disabled: i64,
}

/// Looks at each account with webhooks once, whatever number of deliveries it has.
fn accounts_due(
    conn: &mut PgConnection,
    after: Option<AccountId>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<AccountId>, Failure> {
    let follows = if after.is_some() { ">" } else { ">=" };
    let text = format!(
        "SELECT a.account_id, coalesce(h.ahead, false) AS ahead \
         FROM (SELECT DISTINCT account_id FROM webhooks \
           WHERE deleted_at IS NULL AND account_id {follows} ?) a \
         LEFT JOIN LATERAL (SELECT true AS due FROM webhook_deliveries t \
           WHERE t.account_id = a.account_id AND t.due_at <= ? LIMIT 1) d ON true \
         LEFT JOIN LATERAL (SELECT true AS ahead FROM webhook_deliveries t \
           WHERE t.account_id = a.account_id AND t.due_at IS NOT NULL \
             AND coalesce(t.set_at, t.due_at) > ? LIMIT 1) h ON true \
         WHERE d.due OR h.ahead ORDER BY a.account_id LIMIT ?"
    );
    let ahead_of = now + CLOCK_TOLERANCE;
    let found = sql(&text)
        .bind::<Id, _>(after.map_or(Uuid::nil(), AccountId::as_uuid))
        .bind::<Time, _>(now)
        .bind::<Time, _>(ahead_of)
        .bind::<BigInt, _>(i64::from(limit))
        .load::<DueAccountRow>(conn)?;
    for row in found.iter().filter(|row| row.ahead) {
        // The clock was set back: what was to wait waits for as long from now on. Without a time zone
        // the sum does not depend on the session.
        sql("UPDATE webhook_deliveries \
               SET due_at = ((?::timestamptz AT TIME ZONE 'UTC') \
                 + (due_at - coalesce(set_at, due_at))) AT TIME ZONE 'UTC', set_at = ? \
             WHERE account_id = ? AND due_at IS NOT NULL AND coalesce(set_at, due_at) > ?")
        .bind::<Time, _>(now)
        .bind::<Time, _>(now)
        .bind::<Id, _>(row.account_id)
        .bind::<Time, _>(ahead_of)
        .execute(conn)?;
    }
    let account = |row: DueAccountRow| AccountId::new(row.account_id);
    Ok(found.into_iter().map(account).collect())
}

#[async_trait]
impl DeliveryQueue for PgStore {
    async fn accounts_behind(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.db
            .run(move |conn| queue::accounts_behind(conn, after, limit))
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
        self.db
            .run(move |conn| accounts_due(conn, after, limit, now))
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
            .run(move |conn| queue::renew(conn, lease, now, until))
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
