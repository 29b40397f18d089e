//! Schedules: the actions of people, and the server's work when a time is due.

mod change;
mod create;
mod fire;
mod read;
mod record;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::idempotency::Once;
use super::reruns::Reruns;
use super::{Host, Settings};
use crate::actor::Actor;
use crate::error::{Error, Invalid};
use crate::event::ScheduleChange;
use crate::ids::{CustomerGroupId, ScheduleId};
use crate::ports::{
    Calendar, CampaignStore, CustomerGroupStore, IdempotencyStore, Permissions, ScheduleQueue,
    ScheduleStore,
};
use crate::schedule::{Schedule, ScheduleStatus, ScheduleView, Timing};
use crate::text;
use crate::timestamp::{self, Timestamp};

pub use change::ScheduleChanges;
pub use create::NewSchedule;
pub use fire::Fired;
pub use record::Decided;

/// A schedule as its users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleDetails {
    /// The schedule with its last firing.
    pub view: ScheduleView,
    /// Its times in words.
    pub description: String,
    /// Its next times, at most [`ScheduleDetails::NEXT_TIMES`]: none unless it is active.
    pub next_times: Vec<Timestamp>,
}

impl ScheduleDetails {
    /// How many next times it has at most.
    pub const NEXT_TIMES: usize = 5;
}

/// A schedule as it was when a request changed it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    view: ScheduleView,
    at: Timestamp,
}

/// Makes, changes and fires schedules.
#[derive(Clone)]
pub struct Schedules {
    store: Arc<dyn ScheduleStore>,
    queue: Arc<dyn ScheduleQueue>,
    campaigns: Arc<dyn CampaignStore>,
    groups: Arc<dyn CustomerGroupStore>,
    reruns: Reruns,
    calendar: Arc<dyn Calendar>,
    permissions: Arc<dyn Permissions>,
    once: Once,
    host: Host,
    settings: Settings,
}

/// The ports that schedules need.
#[derive(Clone)]
pub struct SchedulePorts {
    /// Keeps schedules.
    pub store: Arc<dyn ScheduleStore>,
    /// Hands out those that are due.
    pub queue: Arc<dyn ScheduleQueue>,
    /// Their campaigns.
    pub campaigns: Arc<dyn CampaignStore>,
    /// Their groups.
    pub groups: Arc<dyn CustomerGroupStore>,
    /// Responses under idempotency keys.
    pub responses: Arc<dyn IdempotencyStore>,
    /// Starts reruns.
    pub reruns: Reruns,
    /// Cron patterns and time zones.
    pub calendar: Arc<dyn Calendar>,
    /// What roles may do.
    pub permissions: Arc<dyn Permissions>,
}

impl Schedules {
    /// Over these ports.
    #[must_use]
    pub fn new(ports: SchedulePorts, host: Host, settings: Settings) -> Self {
        let SchedulePorts {
            store,
            queue,
            campaigns,
            groups,
            responses,
            reruns,
            calendar,
            permissions,
        } = ports;
        Self {
            store,
            queue,
            campaigns,
            groups,
            reruns,
            calendar,
            permissions,
            once: Once::new(responses, &host),
            host,
            settings,
        }
    }

    fn timing(
        &self,
        cron: Option<String>,
        at: Option<Timestamp>,
        time_zone: &str,
        now: Timestamp,
    ) -> Result<Timing, Invalid> {
        match (cron, at) {
            (Some(_), Some(_)) => Err(Invalid::new("give either `cron` or `at`, not both")),
            (Some(cron), None) => {
                text::check("cron", &cron)?;
                self.calendar.describe(&cron, time_zone)?;
                Ok(Timing::Cron(cron))
            }
            (None, Some(at)) if at <= now => Err(Invalid::new("`at` must be in the future")),
            (None, Some(at)) => Ok(Timing::At(timestamp::truncate(at))),
            (None, None) => Err(Invalid::new("`cron` or `at` is required")),
        }
    }

    /// The first times after this one, as many as there are up to a limit.
    fn times(
        &self,
        schedule: &Schedule,
        after: Timestamp,
        limit: usize,
    ) -> Result<Vec<Timestamp>, Invalid> {
        match &schedule.timing {
            Timing::At(at) => Ok((*at > after).then_some(*at).into_iter().collect()),
            Timing::Cron(cron) => {
                let times = self
                    .calendar
                    .times(cron, &schedule.time_zone, after, limit)?;
                Ok(times.into_iter().map(|time| time.at).collect())
            }
        }
    }

    fn details(&self, kept: Kept) -> ScheduleDetails {
        let Kept { view, at } = kept;
        let schedule = &view.schedule;
        let description = match &schedule.timing {
            Timing::At(at) => format!("Once, at {}", timestamp::format(*at)),
            Timing::Cron(cron) => self
                .calendar
                .describe(cron, &schedule.time_zone)
                .unwrap_or_else(|_unknown| format!("{cron} ({})", schedule.time_zone)),
        };
        let mut next_times = Vec::new();
        if schedule.state.status == ScheduleStatus::Active {
            let times = self.times(schedule, at, ScheduleDetails::NEXT_TIMES);
            next_times = times.unwrap_or_default();
            next_times.retain(|time| schedule.may_fire_at(*time));
        }
        ScheduleDetails {
            view,
            description,
            next_times,
        }
    }

    async fn find(&self, actor: &Actor, id: ScheduleId) -> Result<ScheduleView, Error> {
        let found = self.store.find_schedule(actor.account_id, id).await?;
        found.ok_or(Error::ScheduleNotFound)
    }

    /// Checks that a group, if one is given, is there.
    async fn check_group(
        &self,
        actor: &Actor,
        group: Option<CustomerGroupId>,
    ) -> Result<(), Error> {
        let Some(id) = group else { return Ok(()) };
        let found = self.groups.find_group(actor.account_id, id).await?;
        found.map(|_group| ()).ok_or(Error::CustomerGroupNotFound)
    }

    /// The schedule with its first times after now.
    fn started(&self, schedule: Schedule, now: Timestamp) -> Result<Schedule, Error> {
        let times = self.times(&schedule, now, 2)?;
        let state = schedule.with_next(&times);
        Ok(Schedule { state, ..schedule })
    }
}

fn seconds(field: &str, value: i64, most: u32) -> Result<u32, Invalid> {
    u32::try_from(value)
        .ok()
        .filter(|seconds| *seconds <= most)
        .ok_or_else(|| Invalid::new(format!("`{field}` must be from 0 to {most}, not {value}")))
}

/// What a schedule says of itself in the log.
fn change_of(schedule: &Schedule) -> ScheduleChange {
    ScheduleChange {
        schedule_id: schedule.id,
        campaign_id: schedule.campaign_id,
        name: schedule.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::ports::{
        EveryRole, MockCampaignStore, MockClock, MockCustomerGroupStore, MockIdGenerator,
        MockIdempotencyStore, MockRerunStore, MockScheduleQueue, MockScheduleStore,
    };
    use crate::schedule::ScheduleState;

    pub(super) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// Schedules over this calendar, for what needs no store. It is always [`NOW`].
    pub(super) fn schedules(calendar: impl Calendar + 'static) -> Schedules {
        let mut clock = MockClock::new();
        clock.expect_now().return_const(NOW);
        let host = Host::new(clock, MockIdGenerator::new());
        let reruns = Reruns::new(
            Arc::new(MockRerunStore::new()),
            Arc::new(MockCampaignStore::new()),
            Arc::new(MockIdempotencyStore::new()),
            host.clone(),
            Settings::default(),
        );
        let ports = SchedulePorts {
            store: Arc::new(MockScheduleStore::new()),
            queue: Arc::new(MockScheduleQueue::new()),
            campaigns: Arc::new(MockCampaignStore::new()),
            groups: Arc::new(MockCustomerGroupStore::new()),
            responses: Arc::new(MockIdempotencyStore::new()),
            reruns,
            calendar: Arc::new(calendar),
            permissions: Arc::new(EveryRole),
        };
        Schedules::new(ports, host, Settings::default())
    }

    /// A schedule whose next time is in an hour.
    pub(super) fn schedule(status: ScheduleStatus) -> Schedule {
        let time = NOW + TimeDelta::hours(1);
        let active = crate::schedule::tests::schedule();
        Schedule {
            catch_up_seconds: 0,
            state: ScheduleState {
                status,
                next_time: Some(time),
                due_at: (status == ScheduleStatus::Active).then_some(time),
                ..active.state
            },
            ..active
        }
    }

    #[test]
    fn a_time_is_caught_up_within_366_days() {
        let checked = |value| seconds("catch_up_seconds", value, Schedule::MAX_CATCH_UP);
        assert_eq!(checked(0).unwrap(), 0);
        assert_eq!(checked(31_622_400).unwrap(), 31_622_400);
        assert!(checked(31_622_401).is_err());
        assert!(checked(-1).is_err());
    }
}
