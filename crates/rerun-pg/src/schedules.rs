use async_trait::async_trait;
use diesel::sql_types::BigInt;
use diesel::{PgConnection, QueryableByName, RunQueryDsl};
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

use crate::PgStore;
use crate::groups::{IdRow, hold_group};
use crate::places::Places;
use crate::reach::Reach;
use crate::write::{append_audit, transaction};

#[derive(QueryableByName)]
struct AccountRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
    #[diesel(sql_type = BigInt)]
    schedules: i64,
}

#[async_trait]
impl ScheduleStore for PgStore {
    async fn create_schedule(&self, create: CreateSchedule) -> Result<bool, StoreError> {
        self.db
            .run(move |conn| {
                transaction(conn, |conn| {
                    store::create(conn, create, hold_group, append_audit)
                })
            })
            .await
    }

    async fn update_schedule(&self, update: UpdateSchedule) -> Result<(), StoreError> {
        self.db
            .run(move |conn| {
                transaction(conn, |conn| {
                    store::update(conn, update, hold_group, append_audit)
                })
            })
            .await
    }

    async fn delete_schedule(&self, delete: DeleteSchedule) -> Result<(), StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| store::delete(conn, delete, append_audit)))
            .await
    }

    async fn find_schedule(
        &self,
        account: AccountId,
        id: ScheduleId,
    ) -> Result<Option<ScheduleView>, StoreError> {
        self.db
            .run(move |conn| store::find(conn, account, id, last_firings))
            .await
    }

    async fn list_schedules(
        &self,
        account: AccountId,
        page: PageRequest<CreatedKey>,
    ) -> Result<Page<ScheduleView, CreatedKey>, StoreError> {
        self.db
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
        self.db
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
        self.db
            .run(move |conn| store::group_changed(conn, account, group, (campaign, run)))
            .await
    }
}

#[async_trait]
impl ScheduleQueue for PgStore {
    async fn lease_schedules(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueSchedule>, StoreError> {
        let times = (now, until);
        let found = self
            .accounts(limit, move |conn, reach| {
                let mut found = Vec::new();
                let mut left = i64::from(limit);
                for which in [Which::Due, Which::Waiting] {
                    if left > 0 {
                        for row in accounts(conn, reach, which, times, left)? {
                            found.push((which, AccountId::new(row.account_id)));
                            left -= row.schedules;
                        }
                    }
                }
                Ok(found)
            })
            .await?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let places = self.places();
        self.db
            .run(move |conn| transaction(conn, |conn| lease(conn, &found, times, limit, places)))
            .await
    }

    async fn settle_firings(&self, settle: SettleFirings) -> Result<(), StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| store::settle(conn, settle, append_audit)))
            .await
    }
}

#[async_trait]
impl ScheduleGauge for PgStore {
    async fn schedule_due_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.db.run(move |conn| store::due_since(conn, now)).await
    }
}

/// Which schedules are leased.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Active ones whose time has come.
    Due,
    /// Those of which a firing waited for a campaign that is published now, or gone.
    Waiting,
}

impl Which {
    /// The column that says since when.
    const fn since(self) -> &'static str {
        match self {
            Self::Due => "due_at",
            Self::Waiting => "waiting_for",
        }
    }

    /// The condition on a row `s` of this account that it is one of them, and free.
    fn free(self, account: &str) -> String {
        let since = self.since();
        let besides = match self {
            Self::Due => String::new(),
            Self::Waiting => format!(
                "AND s.status <> 'paused' AND NOT EXISTS (SELECT 1 FROM campaigns c \
                 WHERE c.account_id = {account} AND c.id = s.campaign_id AND c.status <> 'Published')"
            ),
        };
        format!(
            "s.{since} <= ? AND (s.lease_until IS NULL OR s.lease_until <= ? OR s.lease_until > ?) \
             {besides} ORDER BY s.{since} LIMIT ?"
        )
    }
}

/// The accounts that have such schedules, those with the oldest before others.
fn accounts(
    conn: &mut PgConnection,
    reach: Reach,
    which: Which,
    (now, until): (Timestamp, Timestamp),
    limit: i64,
) -> Result<Vec<AccountRow>, Failure> {
    let text = format!(
        "SELECT min(since) AS since, account_id, count(*) AS schedules FROM ( \
           SELECT s.account_id, s.{} AS since FROM schedules s WHERE {}) d \
         GROUP BY account_id ORDER BY min(since), account_id",
        which.since(),
        which.free("s.account_id")
    );
    let text = reach.text(text, "since timestamptz, account_id uuid, schedules bigint");
    let statement = sql(&text)
        .bind::<Time, _>(now)
        .bind::<Time, _>(now)
        .bind::<Time, _>(until)
        .bind::<BigInt, _>(limit);
    Ok(statement.load(conn)?)
}

/// Takes from one account after the other what no other server is taking at this moment, together up to a number.
fn lease(
    conn: &mut PgConnection,
    accounts: &[(Which, AccountId)],
    (now, until): (Timestamp, Timestamp),
    limit: u32,
    places: Places,
) -> Result<Vec<DueSchedule>, Failure> {
    let mut leased = Vec::new();
    for &(which, account) in accounts {
        let left = i64::from(limit) - i64::try_from(leased.len()).unwrap_or(i64::MAX);
        if left <= 0 {
            break;
        }
        // By their places: the planner may read the whole table to find a few keys.
        let text = format!(
            "UPDATE schedules l SET lease_until = ? WHERE l.ctid = ANY(ARRAY( \
               SELECT s.ctid FROM schedules s WHERE s.account_id = ? AND {} FOR UPDATE SKIP LOCKED)){} \
             RETURNING l.id",
            which.free("?"),
            places.condition("l")
        );
        let mut statement = sql(&text)
            .bind::<Time, _>(until)
            .bind::<Id, _>(account.as_uuid())
            .bind::<Time, _>(now)
            .bind::<Time, _>(now)
            .bind::<Time, _>(until);
        if which == Which::Waiting {
            statement = statement.bind::<Id, _>(account.as_uuid());
        }
        let statement = statement.bind::<BigInt, _>(left);
        let rows = places.bind(statement, account).load::<IdRow>(conn)?;
        leased.extend(rows.into_iter().map(|row| DueSchedule {
            account_id: account,
            id: ScheduleId::new(row.id),
        }));
    }
    Ok(leased)
}

/// The newest firing of each of these schedules.
fn last_firings(
    conn: &mut PgConnection,
    account: AccountId,
    schedules: &[ScheduleId],
) -> Result<Vec<FiringRow>, Failure> {
    let places: Vec<&str> = schedules.iter().map(|_id| "(?::uuid)").collect();
    let text = format!(
        "SELECT {} FROM (VALUES {}) AS wanted (id) CROSS JOIN LATERAL ( \
           SELECT l.* FROM schedule_firings l \
           WHERE l.account_id = ? AND l.schedule_id = wanted.id \
           ORDER BY l.scheduled_for DESC, l.triggered DESC LIMIT 1) AS f",
        firing_columns!(),
        places.join(", "),
    );
    let mut query = sql(&text).planned_each_time();
    for id in schedules {
        query = query.bind::<Id, _>(id.as_uuid());
    }
    query = query.bind::<Id, _>(account.as_uuid());
    Ok(query.columns::<FiringColumns>().load::<FiringRow>(conn)?)
}
