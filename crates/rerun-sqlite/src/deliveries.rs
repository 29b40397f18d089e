use std::convert::identity;

use async_trait::async_trait;
use diesel::sql_types::{BigInt, Bool, Nullable};
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection};
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
use rerun_diesel::shared::renew;
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};
use rerun_diesel::webhooks::{outcomes, queue};
use uuid::Uuid;

use crate::SqliteStore;
use crate::write::append_audit;

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

/// Goes from account to account by an index, whatever number of deliveries each has.
fn accounts_due(
    conn: &mut SqliteConnection,
    after: Option<AccountId>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<DueAccountRow>, Failure> {
    let follows = if after.is_some() { ">" } else { ">=" };
    let text = format!(
        "WITH RECURSIVE accounts AS ( \
           SELECT * FROM (SELECT account_id FROM webhook_deliveries \
             WHERE due_at IS NOT NULL AND account_id {follows} ? ORDER BY account_id LIMIT 1) \
           UNION ALL SELECT (SELECT t.account_id FROM webhook_deliveries t \
             WHERE t.due_at IS NOT NULL AND t.account_id > a.account_id \
             ORDER BY t.account_id LIMIT 1) \
           FROM accounts a WHERE a.account_id IS NOT NULL), \
         looked AS (SELECT a.account_id, \
           EXISTS (SELECT 1 FROM webhook_deliveries t WHERE t.account_id = a.account_id \
              AND t.due_at <= ?) AS due, \
           EXISTS (SELECT 1 FROM webhook_deliveries t WHERE t.account_id = a.account_id \
              AND t.due_at IS NOT NULL AND coalesce(t.set_at, t.due_at) > ?) AS ahead \
           FROM accounts a WHERE a.account_id IS NOT NULL) \
         SELECT account_id, ahead FROM looked WHERE due OR ahead LIMIT ?"
    );
    let found = sql(&text)
        .bind::<Id, _>(after.map_or(Uuid::nil(), AccountId::as_uuid))
        .bind::<Time, _>(now)
        .bind::<Time, _>(now + CLOCK_TOLERANCE)
        .bind::<BigInt, _>(i64::from(limit))
        .load::<DueAccountRow>(conn)?;
    Ok(found)
}

/// After the clock was set back: what was to wait waits for as long from now on.
fn move_times(
    conn: &mut SqliteConnection,
    accounts: Vec<Uuid>,
    now: Timestamp,
) -> Result<(), Failure> {
    for account in accounts {
        sql("UPDATE webhook_deliveries \
               SET due_at = ? + (due_at - coalesce(set_at, due_at)), set_at = ? \
             WHERE account_id = ? AND due_at IS NOT NULL AND coalesce(set_at, due_at) > ?")
        .bind::<Time, _>(now)
        .bind::<Time, _>(now)
        .bind::<Id, _>(account)
        .bind::<Time, _>(now + CLOCK_TOLERANCE)
        .execute(conn)?;
    }
    Ok(())
}

#[async_trait]
impl DeliveryQueue for SqliteStore {
    async fn accounts_behind(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.readers
            .run(move |conn| queue::accounts_behind(conn, after, limit, identity))
            .await
    }

    async fn fan_out(&self, request: FanOut) -> Result<FannedOut, StoreError> {
        self.write(move |conn| queue::fan_out(conn, request)).await
    }

    async fn accounts_due(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        let found = self
            .readers
            .run(move |conn| accounts_due(conn, after, limit, now))
            .await?;
        let ahead: Vec<Uuid> = found
            .iter()
            .filter(|row| row.ahead)
            .map(|row| row.account_id)
            .collect();
        if !ahead.is_empty() {
            self.write(move |conn| move_times(conn, ahead, now)).await?;
        }
        let account = |row: DueAccountRow| AccountId::new(row.account_id);
        Ok(found.into_iter().map(account).collect())
    }

    async fn lease_deliveries(
        &self,
        request: LeaseDeliveries,
    ) -> Result<Vec<LeasedDelivery>, StoreError> {
        self.write(move |conn| queue::lease(conn, &request)).await
    }

    async fn renew_deliveries(
        &self,
        lease: LeaseId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write(move |conn| renew(conn, "webhook_deliveries", lease, now, until))
            .await
    }

    async fn release_deliveries(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError> {
        self.write(move |conn| queue::release(conn, lease, now))
            .await
    }

    async fn settle_delivery(
        &self,
        request: SettleDelivery,
    ) -> Result<SettledDelivery, StoreError> {
        self.write(move |conn| outcomes::settle(conn, &request, append_audit))
            .await
    }

    async fn list_deliveries(
        &self,
        account: AccountId,
        webhook: WebhookId,
        state: Option<DeliveryState>,
        page: PageRequest<DeliveryKey>,
    ) -> Result<Page<Delivery, DeliveryKey>, StoreError> {
        self.read(move |conn| outcomes::list(conn, account, webhook, state, &page))
            .await
    }

    async fn replay_deliveries(
        &self,
        request: ReplayDeliveries,
    ) -> Result<Option<u32>, StoreError> {
        self.write(move |conn| outcomes::replay(conn, &request))
            .await
    }

    async fn sweep_deliveries(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write(move |conn| outcomes::sweep(conn, before, limit))
            .await
    }
}

#[async_trait]
impl DeliveryGauge for SqliteStore {
    async fn delivery_backlog(&self, now: Timestamp) -> Result<DeliveryBacklog, StoreError> {
        self.readers
            .run(move |conn| {
                let text = format!(
                    "WITH RECURSIVE accounts AS ( \
                       SELECT * FROM (SELECT account_id FROM webhook_deliveries \
                         WHERE due_at IS NOT NULL ORDER BY account_id LIMIT 1) \
                       UNION ALL SELECT (SELECT t.account_id FROM webhook_deliveries t \
                         WHERE t.due_at IS NOT NULL AND t.account_id > a.account_id \
                         ORDER BY t.account_id LIMIT 1) \
                       FROM accounts a WHERE a.account_id IS NOT NULL) \
                     SELECT (SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries \
                         WHERE due_at IS NOT NULL \
                         ORDER BY account_id, due_at LIMIT {}) AS waiting) AS pending, \
                       (SELECT min((SELECT t.due_at FROM webhook_deliveries t \
                           WHERE t.account_id = a.account_id AND t.due_at <= ? \
                             AND (t.lease_id IS NULL OR t.due_at < ?) \
                           ORDER BY t.due_at LIMIT 1)) FROM accounts a \
                         WHERE a.account_id IS NOT NULL) AS due_since, \
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
