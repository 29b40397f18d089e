use async_trait::async_trait;
use diesel::sql_types::BigInt;
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection};
use rerun_core::Timestamp;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber, ScheduleId};
use rerun_core::page::{CreatedKey, Page, PageRequest};
use rerun_core::ports::{
    CreateSchedule, DeleteSchedule, DueSchedule, ScheduleGauge, ScheduleQueue, ScheduleStore,
    SettleFirings, UpdateSchedule,
};
use rerun_core::schedule::{Firing, FiringKey, Outcome, ScheduleView};
use rerun_diesel::error::Failure;
use rerun_diesel::firing_columns;
use rerun_diesel::row::schedules::{FiringColumns, FiringRow};
use rerun_diesel::schedules::store;
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};
use uuid::Uuid;

use crate::SqliteStore;
use crate::groups::has_group;
use crate::write::append_audit;

#[derive(QueryableByName)]
struct DueRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
    #[diesel(sql_type = Id)]
    id: Uuid,
}

#[async_trait]
impl ScheduleStore for SqliteStore {
    async fn create_schedule(&self, create: CreateSchedule) -> Result<bool, StoreError> {
        self.write(move |conn| store::create(conn, create, has_group, append_audit))
            .await
    }

    async fn update_schedule(&self, update: UpdateSchedule) -> Result<(), StoreError> {
        self.write(move |conn| store::update(conn, update, has_group, append_audit))
            .await
    }

    async fn delete_schedule(&self, delete: DeleteSchedule) -> Result<(), StoreError> {
        self.write(move |conn| store::delete(conn, delete, append_audit))
            .await
    }

    async fn find_schedule(
        &self,
        account: AccountId,
        id: ScheduleId,
    ) -> Result<Option<ScheduleView>, StoreError> {
        self.readers
            .run(move |conn| store::find(conn, account, id, last_firings))
            .await
    }

    async fn list_schedules(
        &self,
        account: AccountId,
        page: PageRequest<CreatedKey>,
    ) -> Result<Page<ScheduleView, CreatedKey>, StoreError> {
        self.readers
            .run(move |conn| store::list(conn, account, &page, last_firings))
            .await
    }

    async fn firings(
        &self,
        account: AccountId,
        schedule: ScheduleId,
        outcome: Option<Outcome>,
        page: PageRequest<FiringKey>,
    ) -> Result<Page<Firing, FiringKey>, StoreError> {
        self.readers
            .run(move |conn| store::firings(conn, account, schedule, outcome, &page))
            .await
    }

    async fn group_changed(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Option<bool>, StoreError> {
        self.readers
            .run(move |conn| store::group_changed(conn, account, group, (campaign, run)))
            .await
    }
}

#[async_trait]
impl ScheduleQueue for SqliteStore {
    async fn lease_schedules(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueSchedule>, StoreError> {
        self.write(move |conn| lease_both(conn, now, until, limit))
            .await
    }

    async fn settle_firings(&self, settle: SettleFirings) -> Result<(), StoreError> {
        self.write(move |conn| store::settle(conn, settle, append_audit))
            .await
    }
}

#[async_trait]
impl ScheduleGauge for SqliteStore {
    async fn schedule_due_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.readers
            .run(move |conn| store::due_since(conn, now))
            .await
    }
}

/// Active schedules whose time has come.
const DUE: &str = "SELECT s.account_id, s.id FROM schedules s WHERE s.due_at <= ? \
     AND (s.lease_until IS NULL OR s.lease_until <= ? OR s.lease_until > ?) \
     ORDER BY s.due_at LIMIT ?";

/// Schedules of which a firing waited for a campaign that is published now, or gone.
const WAITING: &str = "SELECT s.account_id, s.id FROM schedules s WHERE s.waiting_for <= ? \
     AND (s.lease_until IS NULL OR s.lease_until <= ? OR s.lease_until > ?) \
     AND s.status <> 'paused' AND NOT EXISTS (SELECT 1 FROM campaigns c \
       WHERE c.account_id = s.account_id AND c.id = s.campaign_id AND c.status <> 'Published') \
     ORDER BY s.waiting_for LIMIT ?";

/// Those that are due, and then those that waited, together up to a number.
fn lease_both(
    conn: &mut SqliteConnection,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<DueSchedule>, Failure> {
    let mut leased = lease(conn, DUE, now, until, limit)?;
    let taken = u32::try_from(leased.len()).unwrap_or(limit);
    if taken < limit {
        leased.extend(lease(conn, WAITING, now, until, limit - taken)?);
    }
    Ok(leased)
}

fn lease(
    conn: &mut SqliteConnection,
    which: &str,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<DueSchedule>, Failure> {
    let rows = sql(which)
        .bind::<Time, _>(now)
        .bind::<Time, _>(now)
        .bind::<Time, _>(until)
        .bind::<BigInt, _>(i64::from(limit))
        .load::<DueRow>(conn)?;
    // One by one: in one statement the planner may read the whole table to find a few.
    for row in &rows {
        sql("UPDATE schedules SET lease_until = ? WHERE account_id = ? AND id = ?")
            .bind::<Time, _>(until)
            .bind::<Id, _>(row.account_id)
            .bind::<Id, _>(row.id)
            .execute(conn)?;
    }
    let due = rows.into_iter().map(|row| DueSchedule {
        account_id: AccountId::new(row.account_id),
        id: ScheduleId::new(row.id),
    });
    Ok(due.collect())
}

/// The newest firing of each of these schedules.
fn last_firings(
    conn: &mut SqliteConnection,
    account: AccountId,
    schedules: &[ScheduleId],
) -> Result<Vec<FiringRow>, Failure> {
    let places: Vec<&str> = schedules.iter().map(|_id| "?").collect();
    let text = format!(
        "SELECT {} FROM schedules s JOIN schedule_firings f ON f.account_id = ? \
           AND f.schedule_id = s.id AND (f.scheduled_for, f.triggered) = ( \
             SELECT l.scheduled_for, l.triggered FROM schedule_firings l \
             WHERE l.account_id = ? AND l.schedule_id = s.id \
             ORDER BY l.scheduled_for DESC, l.triggered DESC LIMIT 1) \
         WHERE s.account_id = ? AND s.id IN ({})",
        firing_columns!(),
        places.join(", "),
    );
    let mut query = sql(&text)
        .planned_each_time()
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(account.as_uuid());
    for id in schedules {
        query = query.bind::<Id, _>(id.as_uuid());
    }
    Ok(query.columns::<FiringColumns>().load::<FiringRow>(conn)?)
}
