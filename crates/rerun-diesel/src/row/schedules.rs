//! Rows of schedules and of their firings.

use chrono::{DateTime, Utc};
use diesel::prelude::Queryable;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use rerun_core::actor::UserName;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, ScheduleId, UserId};
use rerun_core::schedule::{Firing, FiringKey, Schedule, ScheduleState, Timing};
use uuid::Uuid;

use super::{row, run_number, text};
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

row! {
    /// A row of `schedules`.
    ScheduleRow, ScheduleColumns {
        account_id: Uuid = Id,
        id: Uuid = Id,
        campaign_id: Uuid = Id,
        name: String = Text,
        cron: Option<String> = Nullable<Text>,
        at: Option<DateTime<Utc>> = Nullable<Time>,
        time_zone: String = Text,
        customer_group_id: Option<Uuid> = Nullable<Id>,
        reuse_from: String = Text,
        condition: String = Text,
        overlap: String = Text,
        catch_up_seconds: i32 = Integer,
        jitter_seconds: i32 = Integer,
        ends_at: Option<DateTime<Utc>> = Nullable<Time>,
        status: String = Text,
        note: Option<String> = Nullable<Text>,
        next_time: Option<DateTime<Utc>> = Nullable<Time>,
        due_at: Option<DateTime<Utc>> = Nullable<Time>,
        waiting_for: Option<DateTime<Utc>> = Nullable<Time>,
        waiting_triggered: Option<bool> = Nullable<Bool>,
        refusals: i32 = Integer,
        version: i64 = BigInt,
        created_by: Uuid = Id,
        created_by_name: Option<String> = Nullable<Text>,
        role_code: String = Text,
        created_at: DateTime<Utc> = Time,
        updated_at: DateTime<Utc> = Time,
    }
}

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

row! {
    /// A row of `schedule_firings`.
    FiringRow, FiringColumns {
        schedule_id: Uuid = Id,
        scheduled_for: DateTime<Utc> = Time,
        triggered: bool = Bool,
        fired_at: DateTime<Utc> = Time,
        outcome: String = Text,
        run_number: Option<i32> = Nullable<Integer>,
        reason: Option<String> = Nullable<Text>,
    }
}

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
