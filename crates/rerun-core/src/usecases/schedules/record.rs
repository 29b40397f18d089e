//! Records the outcomes of times.

use serde::{Deserialize, Serialize};

use super::{Schedules, change_of};
use crate::actor::Actor;
use crate::audit::AuditDraft;
use crate::error::Error;
use crate::event::{Event, SkippedTimes};
use crate::ports::{FiringChange, IdempotencyKey, SettleFirings};
use crate::schedule::{Firing, FiringKey, Outcome, Schedule, ScheduleState, ScheduleStatus};
use crate::timestamp::Timestamp;
use crate::usecases::RunStarted;

/// A time of a schedule to decide about.
pub(super) struct Moment {
    pub(super) schedule: Schedule,
    pub(super) key: FiringKey,
    pub(super) due_at: Timestamp,
    /// Times before it that it stands for.
    pub(super) missed: Vec<Timestamp>,
    /// The state of the schedule without this time.
    pub(super) state: ScheduleState,
    /// Whether it has waited, or a person asked for it.
    pub(super) is_late_allowed: bool,
}

/// What became of a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The firing.
    pub firing: Firing,
    /// The rerun, exactly when one was started.
    pub run: Option<RunStarted>,
}

impl Schedules {
    /// The audit entry for times at which nothing was started.
    fn skipped(
        &self,
        actor: &Actor,
        schedule: &Schedule,
        firings: &[Firing],
        at: Timestamp,
    ) -> Option<AuditDraft> {
        let last = firings.last()?;
        let event = Event::ScheduleSkipped(SkippedTimes {
            schedule: change_of(schedule),
            outcome: last.outcome,
            scheduled_for: last.key.scheduled_for,
            times: u32::try_from(firings.len()).unwrap_or(u32::MAX),
            reason: last.reason.clone(),
        });
        Some(self.host.author(actor, at).of(event))
    }

    fn missed(times: &[Timestamp], now: Timestamp, reason: &str) -> Vec<Firing> {
        let missed = times.iter().map(|time| Firing {
            key: FiringKey {
                scheduled_for: *time,
                triggered: false,
            },
            fired_at: now,
            outcome: Outcome::Missed,
            run_number: None,
            reason: Some(reason.to_owned()),
        });
        missed.collect()
    }

    /// What is written down with a firing.
    pub(super) fn firing_change(
        &self,
        actor: &Actor,
        moment: &Moment,
        firing: Firing,
    ) -> FiringChange {
        let schedule = &moment.schedule;
        let at = firing.fired_at;
        let mut firings = Self::missed(&moment.missed, at, "a later time is made up for");
        let mut audits: Vec<AuditDraft> = Vec::new();
        audits.extend(self.skipped(actor, schedule, &firings, at));
        if firing.outcome != Outcome::Started {
            audits.extend(self.skipped(actor, schedule, std::slice::from_ref(&firing), at));
        }
        let state = schedule.after(moment.state.clone(), &firing);
        let was_paused = schedule.state.status == ScheduleStatus::Paused;
        if state.status == ScheduleStatus::Paused && !was_paused {
            let event = Event::SchedulePaused {
                schedule: change_of(schedule),
                note: state.note.clone(),
            };
            let system = Actor::system(schedule.account_id);
            audits.push(self.host.author(&system, at).of(event));
        }
        firings.push(firing);
        FiringChange {
            schedule: schedule.clone(),
            state,
            firings,
            audits,
        }
    }

    /// Writes down that nothing was started at a time.
    pub(super) async fn settle(
        &self,
        actor: &Actor,
        moment: &Moment,
        outcome: Outcome,
        reason: &'static str,
        key: Option<IdempotencyKey>,
    ) -> Result<Decided, Error> {
        let now = self.host.clock.now();
        let firing = Firing {
            key: moment.key,
            fired_at: now,
            outcome,
            run_number: None,
            reason: Some(reason.to_owned()),
        };
        let decided = Decided { firing, run: None };
        let settle = SettleFirings {
            change: self.firing_change(actor, moment, decided.firing.clone()),
            response: key.map(|key| key.answered(&decided)).transpose()?,
            now,
        };
        self.queue.settle_firings(settle).await?;
        Ok(decided)
    }

    /// Writes down times that are missed, while later ones have come that are not known yet.
    pub(super) async fn pass(
        &self,
        actor: &Actor,
        schedule: Schedule,
        state: ScheduleState,
        times: &[Timestamp],
    ) -> Result<(), Error> {
        let now = self.host.clock.now();
        let firings = Self::missed(times, now, "a later time is made up for");
        let audits = self.skipped(actor, &schedule, &firings, now);
        let settle = SettleFirings {
            change: FiringChange {
                audits: audits.into_iter().collect(),
                schedule,
                state,
                firings,
            },
            response: None,
            now,
        };
        Ok(self.queue.settle_firings(settle).await?)
    }
}
