//! Schedules: the statements, which are the same on both databases.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::RunQueryDsl;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use rerun_core::Timestamp;
use rerun_core::actor::UserName;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber, ScheduleId};
use rerun_core::page::{CreatedKey, Page, PageRequest};
use rerun_core::ports::{
    CreateSchedule, DeleteSchedule, FiringChange, SettleFirings, UpdateSchedule,
};
use rerun_core::schedule::{
    Firing, FiringKey, Outcome, Schedule, ScheduleState, ScheduleView, Timing,
};

use crate::error::Failure;
use crate::responses::keep_response;
use crate::row::schedules::{FiringColumns, FiringRow, ScheduleColumns, ScheduleRow};
use crate::shared::{Append, Shared, int, number};
use crate::sql::sql;
use crate::types::{Id, Time};
use crate::{firing_columns, schedule_columns};

/// Whether an account has a group, which then stays until the commit.
pub type HasGroup<C> = fn(&mut C, AccountId, CustomerGroupId) -> Result<bool, Failure>;

/// The newest firing of each of these schedules of an account; each store has its own way to them.
pub type LastFirings<C> = fn(&mut C, AccountId, &[ScheduleId]) -> Result<Vec<FiringRow>, Failure>;

/// See [`find_schedule`](rerun_core::ports::ScheduleStore::find_schedule).
///
/// # Errors
/// [`Failure`].
pub fn find<C: Shared>(
    conn: &mut C,
    account: AccountId,
    id: ScheduleId,
    last_firings: LastFirings<C>,
) -> Result<Option<ScheduleView>, Failure> {
    let row = sql(concat!(
        "SELECT ",
        schedule_columns!(),
        " FROM schedules s WHERE s.account_id = ? AND s.id = ?"
    ))
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(id.as_uuid())
    .columns::<ScheduleColumns>()
    .read::<_, ScheduleRow>(conn)?
    .pop();
    let Some(row) = row else { return Ok(None) };
    let mut views = with_last_firings(conn, account, vec![row.try_into()?], last_firings)?;
    Ok(views.pop())
}

/// See [`list_schedules`](rerun_core::ports::ScheduleStore::list_schedules).
///
/// # Errors
/// [`Failure`].
pub fn list<C: Shared>(
    conn: &mut C,
    account: AccountId,
    page: &PageRequest<CreatedKey>,
    last_firings: LastFirings<C>,
) -> Result<Page<ScheduleView, CreatedKey>, Failure> {
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
        .read::<_, ScheduleRow>(conn)?;
    let schedules = rows.into_iter().map(Schedule::try_from);
    let schedules = schedules.collect::<Result<Vec<_>, _>>()?;
    let views = with_last_firings(conn, account, schedules, last_firings)?;
    Ok(Page::from_surplus(views, page.limit, |view| CreatedKey {
        created_at: view.schedule.created_at,
        id: view.schedule.id.as_uuid(),
    }))
}

/// Adds to each schedule the newest of its firings.
fn with_last_firings<C: Shared>(
    conn: &mut C,
    account: AccountId,
    schedules: Vec<Schedule>,
    last_firings: LastFirings<C>,
) -> Result<Vec<ScheduleView>, Failure> {
    let mut firings = HashMap::new();
    if !schedules.is_empty() {
        let ids: Vec<ScheduleId> = schedules.iter().map(|schedule| schedule.id).collect();
        for row in last_firings(conn, account, &ids)? {
            firings.insert(row.schedule_id(), Firing::try_from(row)?);
        }
    }
    let views = schedules.into_iter().map(|schedule| ScheduleView {
        last_firing: firings.remove(&schedule.id),
        schedule,
    });
    Ok(views.collect())
}

/// See [`firings`](rerun_core::ports::ScheduleStore::firings).
///
/// # Errors
/// [`Failure`].
pub fn firings<C: Shared>(
    conn: &mut C,
    account: AccountId,
    schedule: ScheduleId,
    outcome: Option<Outcome>,
    page: &PageRequest<FiringKey>,
) -> Result<Page<Firing, FiringKey>, Failure> {
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
        .read::<_, FiringRow>(conn)?
        .into_iter()
        .map(Firing::try_from);
    Ok(Page::read(firings, page.limit, |firing| firing.key)?)
}

/// See [`group_changed`](rerun_core::ports::ScheduleStore::group_changed).
///
/// # Errors
/// [`Failure`].
pub fn group_changed<C: Shared>(
    conn: &mut C,
    account: AccountId,
    group: CustomerGroupId,
    (campaign, run): (CampaignId, RunNumber),
) -> Result<Option<bool>, Failure> {
    // A run of before versions were kept is compared by time.
    let found = sql("SELECT CAST(CASE WHEN r.group_id = g.id AND coalesce( \
           r.group_version = g.version, g.updated_at <= r.started_at) \
           THEN 0 ELSE 1 END AS bigint) \
         FROM customer_groups g JOIN runs r ON r.account_id = ? AND r.campaign_id = ? \
           AND r.number = ? \
         WHERE g.account_id = ? AND g.id = ? AND g.deleted_at IS NULL")
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(campaign.as_uuid())
    .bind::<Integer, _>(run.get())
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(group.as_uuid())
    .columns::<(BigInt,)>()
    .read::<_, (i64,)>(conn)?
    .pop();
    Ok(found.map(|(changed,)| changed != 0))
}

/// See [`schedule_due_since`](rerun_core::ports::ScheduleGauge::schedule_due_since).
///
/// # Errors
/// [`Failure`].
pub fn due_since<C: Shared>(conn: &mut C, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    let due = sql("SELECT due_at FROM schedules WHERE due_at <= ? ORDER BY due_at LIMIT 1")
        .bind::<Time, _>(now)
        .columns::<(Nullable<Time>,)>()
        .read::<_, (Option<DateTime<Utc>>,)>(conn)?
        .pop();
    Ok(due.and_then(|(due,)| due))
}

/// Whether the schedule's group is there; it stays until the commit.
fn check_group<C: Shared>(
    conn: &mut C,
    schedule: &Schedule,
    has_group: HasGroup<C>,
) -> Result<(), Failure> {
    let Some(group) = schedule.customer_group_id else {
        return Ok(());
    };
    if has_group(conn, schedule.account_id, group)? {
        Ok(())
    } else {
        Err(StoreError::Conflict.into())
    }
}

/// How many schedules the account has.
fn count<C: Shared>(conn: &mut C, account: AccountId) -> Result<i64, Failure> {
    let counted = sql("SELECT count(*) FROM schedules WHERE account_id = ?")
        .bind::<Id, _>(account.as_uuid())
        .columns::<(BigInt,)>();
    number(conn, counted)
}

/// See [`create_schedule`](rerun_core::ports::ScheduleStore::create_schedule).
///
/// # Errors
/// [`Failure`].
pub fn create<C: Shared>(
    conn: &mut C,
    create: CreateSchedule,
    has_group: HasGroup<C>,
    append: Append<C>,
) -> Result<bool, Failure> {
    let CreateSchedule {
        schedule,
        limit,
        audit,
        response,
    } = create;
    check_group(conn, &schedule, has_group)?;
    let account = schedule.account_id;
    if count(conn, account)? >= i64::from(limit) {
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
    append(conn, audit)?;
    // Under the lock of the account's head nobody else creates one.
    if count(conn, account)? > i64::from(limit) {
        return Err(StoreError::Conflict.into());
    }
    Ok(true)
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
fn move_schedule<C: Shared>(
    conn: &mut C,
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
///
/// # Errors
/// [`Failure`].
pub fn write_firings<C: Shared>(conn: &mut C, change: &FiringChange) -> Result<(), Failure> {
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

/// See [`update_schedule`](rerun_core::ports::ScheduleStore::update_schedule).
///
/// # Errors
/// [`Failure`].
pub fn update<C: Shared>(
    conn: &mut C,
    update: UpdateSchedule,
    has_group: HasGroup<C>,
    append: Append<C>,
) -> Result<(), Failure> {
    let UpdateSchedule {
        schedule,
        to,
        audit,
        response,
        now,
    } = update;
    if to.customer_group_id != schedule.customer_group_id {
        check_group(conn, &to, has_group)?;
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
        Some(audit) => append(conn, audit),
        None => Ok(()),
    }
}

/// See [`settle_firings`](rerun_core::ports::ScheduleQueue::settle_firings).
///
/// # Errors
/// [`Failure`].
pub fn settle<C: Shared>(
    conn: &mut C,
    settle: SettleFirings,
    append: Append<C>,
) -> Result<(), Failure> {
    let account = settle.change.schedule.account_id;
    write_firings(conn, &settle.change)?;
    keep_response(conn, account, settle.response.as_ref(), settle.now)?;
    for audit in settle.change.audits {
        append(conn, audit)?;
    }
    Ok(())
}

/// See [`delete_schedule`](rerun_core::ports::ScheduleStore::delete_schedule).
///
/// # Errors
/// [`Failure`].
pub fn delete<C: Shared>(
    conn: &mut C,
    delete: DeleteSchedule,
    append: Append<C>,
) -> Result<(), Failure> {
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
    append(conn, audit)
}
