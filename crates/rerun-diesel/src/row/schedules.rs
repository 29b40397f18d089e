//! Rows of schedules and of their firings.

use chrono::{DateTime, Utc};
use diesel::prelude::Queryable;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use rerun_core::actor::UserName;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, ScheduleId, UserId};
use rerun_core::schedule::{Firing, FiringKey, Schedule, ScheduleState, Timing};
use uuid::Uuid;

use super::{run_number, text};
use crate::types::{Id, Time};

fn corrupt(column: &str, value: impl std::fmt::Debug) -> StoreError {
    StoreError::corrupt(format!("schedules.{column} is {value:?}"))
}

fn count(column: &str, value: i32) -> Result<u32, StoreError> {
    u32::try_from(value).map_err(|_negative| corrupt(column, value))
}

/// Columns of [`ScheduleRow`] of the table `schedules AS s`.
#[macro_export]
macro_rules! schedule_columns {
    () => {
        "s.account_id, s.id, s.campaign_id, s.name, s.cron, s.at, s.time_zone, s.customer_group_id, \
         s.reuse_from, s.condition, s.overlap, s.catch_up_seconds, s.jitter_seconds, s.ends_at, \
         s.status, s.note, s.next_time, s.due_at, s.waiting_for, s.waiting_triggered, s.refusals, \
         s.version, s.created_by, s.created_by_name, s.role_code, s.created_at, s.updated_at"
    };
}

/// A row of `schedules`.
#[derive(Debug, Queryable)]
pub struct ScheduleRow {
    account_id: Uuid,
    id: Uuid,
    campaign_id: Uuid,
    name: String,
    cron: Option<String>,
    at: Option<DateTime<Utc>>,
    time_zone: String,
    customer_group_id: Option<Uuid>,
    reuse_from: String,
    condition: String,
    overlap: String,
    catch_up_seconds: i32,
    jitter_seconds: i32,
    ends_at: Option<DateTime<Utc>>,
    status: String,
    note: Option<String>,
    next_time: Option<DateTime<Utc>>,
    due_at: Option<DateTime<Utc>>,
    waiting_for: Option<DateTime<Utc>>,
    waiting_triggered: Option<bool>,
    refusals: i32,
    version: i64,
    created_by: Uuid,
    created_by_name: Option<String>,
    role_code: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// The types of the columns of [`ScheduleRow`].
pub type ScheduleColumns = (
    Id,
    Id,
    Id,
    Text,
    Nullable<Text>,
    Nullable<Time>,
    Text,
    Nullable<Id>,
    Text,
    Text,
    Text,
    Integer,
    Integer,
    Nullable<Time>,
    Text,
    Nullable<Text>,
    Nullable<Time>,
    Nullable<Time>,
    Nullable<Time>,
    Nullable<Bool>,
    Integer,
    BigInt,
    Id,
    Nullable<Text>,
    Text,
    Time,
    Time,
);

impl TryFrom<ScheduleRow> for Schedule {
    type Error = StoreError;

    fn try_from(row: ScheduleRow) -> Result<Self, StoreError> {
        let timing = match (row.cron, row.at) {
            (Some(cron), None) => Timing::Cron(cron),
            (None, Some(at)) => Timing::At(at),
            other => return Err(corrupt("cron", other)),
        };
        let name = row.created_by_name.map(|name| {
            UserName::new(name.as_str()).map_err(|_invalid| corrupt("created_by_name", &name))
        });
        let waiting = row.waiting_for.zip(row.waiting_triggered);
        Ok(Self {
            account_id: AccountId::new(row.account_id),
            id: ScheduleId::new(row.id),
            campaign_id: CampaignId::new(row.campaign_id),
            name: row.name,
            timing,
            time_zone: row.time_zone,
            customer_group_id: row.customer_group_id.map(CustomerGroupId::new),
            reuse_from: text("schedules", "reuse_from", &row.reuse_from)?,
            when: text("schedules", "condition", &row.condition)?,
            overlap: text("schedules", "overlap", &row.overlap)?,
            catch_up_seconds: count("catch_up_seconds", row.catch_up_seconds)?,
            jitter_seconds: count("jitter_seconds", row.jitter_seconds)?,
            ends_at: row.ends_at,
            state: ScheduleState {
                status: text("schedules", "status", &row.status)?,
                note: row.note,
                next_time: row.next_time,
                due_at: row.due_at,
                waiting: waiting.map(|(scheduled_for, triggered)| FiringKey {
                    scheduled_for,
                    triggered,
                }),
                refusals: count("refusals", row.refusals)?,
            },
            version: row.version,
            created_by: UserId::new(row.created_by),
            created_by_name: name.transpose()?,
            role_code: row.role_code,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Columns of [`FiringRow`] of the table `schedule_firings AS f`.
#[macro_export]
macro_rules! firing_columns {
    () => {
        "f.schedule_id, f.scheduled_for, f.triggered, f.fired_at, f.outcome, f.run_number, f.reason"
    };
}

/// A row of `schedule_firings`.
#[derive(Debug, Queryable)]
pub struct FiringRow {
    schedule_id: Uuid,
    scheduled_for: DateTime<Utc>,
    triggered: bool,
    fired_at: DateTime<Utc>,
    outcome: String,
    run_number: Option<i32>,
    reason: Option<String>,
}

/// The types of the columns of [`FiringRow`].
pub type FiringColumns = (
    Id,
    Time,
    Bool,
    Time,
    Text,
    Nullable<Integer>,
    Nullable<Text>,
);

impl FiringRow {
    /// Its schedule.
    #[must_use]
    pub const fn schedule_id(&self) -> ScheduleId {
        ScheduleId::new(self.schedule_id)
    }
}

impl TryFrom<FiringRow> for Firing {
    type Error = StoreError;

    fn try_from(row: FiringRow) -> Result<Self, StoreError> {
        let number = row.run_number;
        Ok(Self {
            key: FiringKey {
                scheduled_for: row.scheduled_for,
                triggered: row.triggered,
            },
            fired_at: row.fired_at,
            outcome: text("schedule_firings", "outcome", &row.outcome)?,
            run_number: number
                .map(|number| run_number("schedule_firings", number))
                .transpose()?,
            reason: row.reason,
        })
    }
}
