use std::collections::HashMap;

use async_trait::async_trait;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection};
use rerun_core::Timestamp;
use rerun_core::actor::UserName;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber, ScheduleId};
use rerun_core::page::{CreatedKey, Page, PageRequest};
use rerun_core::ports::{
    CreateSchedule, DeleteSchedule, DueSchedule, FiringChange, ScheduleGauge, ScheduleQueue,
    ScheduleStore, SettleFirings, UpdateSchedule,
};
use rerun_core::schedule::{
    Firing, FiringKey, Outcome, Schedule, ScheduleState, ScheduleView, Timing,
};
use rerun_diesel::error::Failure;
use rerun_diesel::responses::keep_response;
use rerun_diesel::schedules::{FiringColumns, FiringRow, ScheduleColumns, ScheduleRow};
use rerun_diesel::sql::sql;
use rerun_diesel::types::{Id, Time};
use rerun_diesel::{firing_columns, schedule_columns};
use uuid::Uuid;

use crate::SqliteStore;
use crate::groups::has_group;
use crate::write::{Value, append_audit, int};

#[derive(QueryableByName)]
struct DueRow {
    #[diesel(sql_type = Id)]
    account_id: Uuid,
    #[diesel(sql_type = Id)]
    id: Uuid,
}

#[derive(QueryableByName)]
struct DueAtRow {
    #[diesel(sql_type = Time)]
    due_at: Timestamp,
}

#[async_trait]
impl ScheduleStore for SqliteStore {
    async fn create_schedule(&self, create: CreateSchedule) -> Result<bool, StoreError> {
        self.write(move |conn| add(conn, create)).await
    }

    async fn update_schedule(&self, update: UpdateSchedule) -> Result<(), StoreError> {
        self.write(move |conn| update_to(conn, update)).await
    }

    async fn delete_schedule(&self, delete: DeleteSchedule) -> Result<(), StoreError> {
        self.write(move |conn| delete_with_firings(conn, delete))
            .await
    }

    async fn find_schedule(
        &self,
        account: AccountId,
        id: ScheduleId,
    ) -> Result<Option<ScheduleView>, StoreError> {
        self.readers
            .run(move |conn| {
                let row = sql(concat!(
                    "SELECT ",
                    schedule_columns!(),
                    " FROM schedules s WHERE s.account_id = ? AND s.id = ?"
                ))
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(id.as_uuid())
                .columns::<ScheduleColumns>()
                .load::<ScheduleRow>(conn)?
                .pop();
                let Some(row) = row else { return Ok(None) };
                let mut views = with_last_firings(conn, account, vec![row.try_into()?])?;
                Ok(views.pop())
            })
            .await
    }

    async fn list_schedules(
        &self,
        account: AccountId,
        page: PageRequest<CreatedKey>,
    ) -> Result<Page<ScheduleView, CreatedKey>, StoreError> {
        self.readers
            .run(move |conn| {
                let text = format!(
                    "SELECT {} FROM schedules s WHERE s.account_id = ? {} \
                     ORDER BY s.created_at DESC, s.id DESC LIMIT ?",
                    schedule_columns!(),
                    if page.after.is_some() {
                        "AND (s.created_at, s.id) < (?, ?)"
                    } else {
                        ""
                    },
                );
                let mut query = sql(&text).bind::<Id, _>(account.as_uuid());
                if let Some(after) = page.after {
                    query = query
                        .bind::<Time, _>(after.created_at)
                        .bind::<Id, _>(after.id);
                }
                let rows = query
                    .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
                    .columns::<ScheduleColumns>()
                    .load::<ScheduleRow>(conn)?;
                let schedules = rows.into_iter().map(Schedule::try_from);
                let schedules = schedules.collect::<Result<Vec<_>, _>>()?;
                let views = with_last_firings(conn, account, schedules)?;
                Ok(Page::from_surplus(views, page.limit, |view| CreatedKey {
                    created_at: view.schedule.created_at,
                    id: view.schedule.id.as_uuid(),
                }))
            })
            .await
    }

    async fn firings(
        &self,
        account: AccountId,
        schedule: ScheduleId,
        outcome: Option<Outcome>,
        page: PageRequest<FiringKey>,
    ) -> Result<Page<Firing, FiringKey>, StoreError> {
        self.readers.run(move |conn| {
                let text = format!(
                    "SELECT {} FROM schedule_firings f WHERE f.account_id = ? AND f.schedule_id = ? {} {} \
                     ORDER BY f.scheduled_for DESC, f.triggered DESC LIMIT ?",
                    firing_columns!(),
                    if outcome.is_some() {
                        "AND f.outcome = ?"
                    } else {
                        ""
                    },
                    if page.after.is_some() {
                        "AND (f.scheduled_for, f.triggered) < (?, ?)"
                    } else {
                        ""
                    },
                );
                let mut query = sql(&text)
                    .bind::<Id, _>(account.as_uuid())
                    .bind::<Id, _>(schedule.as_uuid());
                if let Some(outcome) = outcome {
                    query = query.bind::<Text, _>(outcome.as_str());
                }
                if let Some(after) = page.after {
                    query = query
                        .bind::<Time, _>(after.scheduled_for)
                        .bind::<Bool, _>(after.triggered);
                }
                let firings = query
                    .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
                    .columns::<FiringColumns>()
                    .load::<FiringRow>(conn)?
                    .into_iter()
                    .map(Firing::try_from);
                Ok(Page::read(firings, page.limit, |firing| firing.key)?)
            }).await
    }

    async fn group_changed(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Option<bool>, StoreError> {
        self.readers
            .run(move |conn| {
                // A run of before versions were kept is compared by time.
                let found = sql("SELECT CASE WHEN r.group_id = g.id AND coalesce( \
                       r.group_version = g.version, g.updated_at <= r.started_at) \
                       THEN 0 ELSE 1 END AS value \
                     FROM customer_groups g JOIN runs r ON r.account_id = ? AND r.campaign_id = ? \
                       AND r.number = ? \
                     WHERE g.account_id = ? AND g.id = ? AND g.deleted_at IS NULL")
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(campaign.as_uuid())
                .bind::<Integer, _>(run.get())
                .bind::<Id, _>(account.as_uuid())
                .bind::<Id, _>(group.as_uuid())
                .load::<Value>(conn)?
                .pop();
                Ok(found.map(|changed| changed.value != 0))
            })
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
        self.write(move |conn| {
            let mut leased = lease(conn, DUE, now, until, limit)?;
            let taken = u32::try_from(leased.len()).unwrap_or(limit);
            if taken < limit {
                leased.extend(lease(conn, WAITING, now, until, limit - taken)?);
            }
            Ok(leased)
        })
        .await
    }

    async fn settle_firings(&self, settle: SettleFirings) -> Result<(), StoreError> {
        self.write(move |conn| {
            let account = settle.change.schedule.account_id;
            write_firings(conn, &settle.change)?;
            keep_response(conn, account, settle.response.as_ref(), settle.now)?;
            for audit in settle.change.audits {
                append_audit(conn, audit)?;
            }
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl ScheduleGauge for SqliteStore {
    async fn schedule_due_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.readers
            .run(move |conn| {
                let due =
                    sql("SELECT due_at FROM schedules WHERE due_at <= ? ORDER BY due_at LIMIT 1")
                        .bind::<Time, _>(now)
                        .load::<DueAtRow>(conn)?;
                Ok(due.first().map(|row| row.due_at))
            })
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

/// Adds to each schedule the newest of its firings.
fn with_last_firings(
    conn: &mut SqliteConnection,
    account: AccountId,
    schedules: Vec<Schedule>,
) -> Result<Vec<ScheduleView>, Failure> {
    let mut firings = HashMap::new();
    if !schedules.is_empty() {
        let ids = schedules.iter().map(|schedule| schedule.id.as_uuid());
        let places: Vec<&str> = schedules.iter().map(|_schedule| "?").collect();
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
            .planned_anew()
            .bind::<Id, _>(account.as_uuid())
            .bind::<Id, _>(account.as_uuid())
            .bind::<Id, _>(account.as_uuid());
        for id in ids {
            query = query.bind::<Id, _>(id);
        }
        for row in query.columns::<FiringColumns>().load::<FiringRow>(conn)? {
            firings.insert(row.schedule_id(), Firing::try_from(row)?);
        }
    }
    let views = schedules.into_iter().map(|schedule| ScheduleView {
        last_firing: firings.remove(&schedule.id),
        schedule,
    });
    Ok(views.collect())
}

/// Whether the schedule's group is there; it stays until the commit.
fn check_group(conn: &mut SqliteConnection, schedule: &Schedule) -> Result<(), Failure> {
    let Some(group) = schedule.customer_group_id else {
        return Ok(());
    };
    if has_group(conn, schedule.account_id, group)? {
        Ok(())
    } else {
        Err(StoreError::Conflict.into())
    }
}

fn add(conn: &mut SqliteConnection, create: CreateSchedule) -> Result<bool, Failure> {
    let CreateSchedule {
        schedule,
        limit,
        audit,
        response,
    } = create;
    check_group(conn, &schedule)?;
    let account = schedule.account_id;
    if is_full(conn, account, limit)? {
        return Ok(false);
    }
    keep_response(conn, account, response.as_ref(), schedule.created_at)?;
    let (cron, at) = timing(&schedule.timing);
    let state = &schedule.state;
    sql(
        "INSERT INTO schedules (account_id, id, campaign_id, name, cron, at, time_zone, \
           customer_group_id, reuse_from, condition, overlap, catch_up_seconds, jitter_seconds, \
           ends_at, status, next_time, due_at, created_by, created_by_name, role_code, created_at, \
           updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(schedule.id.as_uuid())
    .bind::<Id, _>(schedule.campaign_id.as_uuid())
    .bind::<Text, _>(schedule.name.as_str())
    .bind::<Nullable<Text>, _>(cron)
    .bind::<Nullable<Time>, _>(at)
    .bind::<Text, _>(schedule.time_zone.as_str())
    .bind::<Nullable<Id>, _>(schedule.customer_group_id.map(CustomerGroupId::as_uuid))
    .bind::<Text, _>(schedule.reuse_from.as_str())
    .bind::<Text, _>(schedule.when.as_str())
    .bind::<Text, _>(schedule.overlap.as_str())
    .bind::<Integer, _>(int(schedule.catch_up_seconds)?)
    .bind::<Integer, _>(int(schedule.jitter_seconds)?)
    .bind::<Nullable<Time>, _>(schedule.ends_at)
    .bind::<Text, _>(state.status.as_str())
    .bind::<Nullable<Time>, _>(state.next_time)
    .bind::<Nullable<Time>, _>(state.due_at)
    .bind::<Id, _>(schedule.created_by.as_uuid())
    .bind::<Nullable<Text>, _>(schedule.created_by_name.as_ref().map(UserName::as_str))
    .bind::<Text, _>(schedule.role_code.as_str())
    .bind::<Time, _>(schedule.created_at)
    .bind::<Time, _>(schedule.updated_at)
    .execute(conn)?;
    append_audit(conn, audit)?;
    Ok(true)
}

/// Whether the account has as many schedules as it may have.
fn is_full(conn: &mut SqliteConnection, account: AccountId, limit: u32) -> Result<bool, Failure> {
    let known = sql("SELECT count(*) AS value FROM schedules WHERE account_id = ?")
        .bind::<Id, _>(account.as_uuid())
        .get_result::<Value>(conn)?;
    Ok(known.value >= i64::from(limit))
}

/// The pattern, or the time.
fn timing(timing: &Timing) -> (Option<&str>, Option<Timestamp>) {
    match timing {
        Timing::Cron(cron) => (Some(cron), None),
        Timing::At(at) => (None, Some(*at)),
    }
}

/// Gives a schedule another state and the next version, if it is still at the one that was seen. Any
/// lease ends.
fn move_schedule(
    conn: &mut SqliteConnection,
    seen: &Schedule,
    state: &ScheduleState,
) -> Result<(), Failure> {
    let moved = sql(
        "UPDATE schedules SET status = ?, note = ?, next_time = ?, due_at = ?, \
           waiting_for = ?, waiting_triggered = ?, refusals = ?, lease_until = NULL, \
           version = version + 1 \
         WHERE account_id = ? AND id = ? AND version = ?",
    )
    .bind::<Text, _>(state.status.as_str())
    .bind::<Nullable<Text>, _>(state.note.as_deref())
    .bind::<Nullable<Time>, _>(state.next_time)
    .bind::<Nullable<Time>, _>(state.due_at)
    .bind::<Nullable<Time>, _>(state.waiting.map(|key| key.scheduled_for))
    .bind::<Nullable<Bool>, _>(state.waiting.map(|key| key.triggered))
    .bind::<Integer, _>(int(state.refusals)?)
    .bind::<Id, _>(seen.account_id.as_uuid())
    .bind::<Id, _>(seen.id.as_uuid())
    .bind::<BigInt, _>(seen.version)
    .execute(conn)?;
    if moved == 0 {
        return Err(StoreError::Conflict.into());
    }
    Ok(())
}

/// Writes down what became of times. The entries about them come later, with the head of the log.
pub(crate) fn write_firings(
    conn: &mut SqliteConnection,
    change: &FiringChange,
) -> Result<(), Failure> {
    let FiringChange {
        schedule,
        state,
        firings,
        audits: _,
    } = change;
    move_schedule(conn, schedule, state)?;
    for firing in firings {
        let written = sql(
            "INSERT INTO schedule_firings (account_id, schedule_id, scheduled_for, triggered, \
               fired_at, outcome, run_number, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT (account_id, schedule_id, scheduled_for, triggered) DO UPDATE SET \
               fired_at = excluded.fired_at, outcome = excluded.outcome, \
               run_number = excluded.run_number, reason = excluded.reason \
             WHERE schedule_firings.outcome = 'waiting'",
        )
        .bind::<Id, _>(schedule.account_id.as_uuid())
        .bind::<Id, _>(schedule.id.as_uuid())
        .bind::<Time, _>(firing.key.scheduled_for)
        .bind::<Bool, _>(firing.key.triggered)
        .bind::<Time, _>(firing.fired_at)
        .bind::<Text, _>(firing.outcome.as_str())
        .bind::<Nullable<Integer>, _>(firing.run_number.map(RunNumber::get))
        .bind::<Nullable<Text>, _>(firing.reason.as_deref())
        .execute(conn)?;
        if written == 0 {
            return Err(StoreError::Conflict.into());
        }
    }
    Ok(())
}

fn update_to(conn: &mut SqliteConnection, update: UpdateSchedule) -> Result<(), Failure> {
    let UpdateSchedule {
        schedule,
        to,
        audit,
        response,
        now,
    } = update;
    if to.customer_group_id != schedule.customer_group_id {
        check_group(conn, &to)?;
    }
    move_schedule(conn, &schedule, &to.state)?;
    let (cron, at) = timing(&to.timing);
    sql(
        "UPDATE schedules SET name = ?, cron = ?, at = ?, time_zone = ?, customer_group_id = ?, \
           reuse_from = ?, condition = ?, overlap = ?, catch_up_seconds = ?, jitter_seconds = ?, \
           ends_at = ?, updated_at = ? WHERE account_id = ? AND id = ?",
    )
    .bind::<Text, _>(to.name.as_str())
    .bind::<Nullable<Text>, _>(cron)
    .bind::<Nullable<Time>, _>(at)
    .bind::<Text, _>(to.time_zone.as_str())
    .bind::<Nullable<Id>, _>(to.customer_group_id.map(CustomerGroupId::as_uuid))
    .bind::<Text, _>(to.reuse_from.as_str())
    .bind::<Text, _>(to.when.as_str())
    .bind::<Text, _>(to.overlap.as_str())
    .bind::<Integer, _>(int(to.catch_up_seconds)?)
    .bind::<Integer, _>(int(to.jitter_seconds)?)
    .bind::<Nullable<Time>, _>(to.ends_at)
    .bind::<Time, _>(to.updated_at)
    .bind::<Id, _>(to.account_id.as_uuid())
    .bind::<Id, _>(to.id.as_uuid())
    .execute(conn)?;
    keep_response(conn, to.account_id, response.as_ref(), now)?;
    match audit {
        Some(audit) => append_audit(conn, audit),
        None => Ok(()),
    }
}

fn delete_with_firings(conn: &mut SqliteConnection, delete: DeleteSchedule) -> Result<(), Failure> {
    let DeleteSchedule {
        schedule,
        audit,
        response,
        now,
    } = delete;
    let (account, id) = (schedule.account_id.as_uuid(), schedule.id.as_uuid());
    // Its firings go with it.
    let gone = sql("DELETE FROM schedules WHERE account_id = ? AND id = ? AND version = ?")
        .bind::<Id, _>(account)
        .bind::<Id, _>(id)
        .bind::<BigInt, _>(schedule.version)
        .execute(conn)?;
    if gone == 0 {
        return Err(StoreError::Conflict.into());
    }
    keep_response(conn, schedule.account_id, response.as_ref(), now)?;
    append_audit(conn, audit)
}
