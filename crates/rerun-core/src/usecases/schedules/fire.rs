//! Decides what schedules do at their due times.

use std::time::Duration;

use super::Schedules;
use super::record::{Decided, Moment};
use crate::actor::Actor;
use crate::error::{Error, Invalid, StoreError};
use crate::ids::{AccountId, CustomerGroupId, ScheduleId};
use crate::ports::{DueSchedule, IdempotencyKey, WantedGroup};
use crate::schedule::{
    Context, Decision, Due, Firing, FiringKey, Outcome, Schedule, ScheduleStatus, ScheduleView,
    Standing, decide, due,
};
use crate::timestamp::Timestamp;
use crate::usecases::reruns::Scheduled;
use crate::usecases::{Replayable, RerunRequest, RunStarted};

/// What became of a time, for those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    /// The account.
    pub account_id: AccountId,
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The firing.
    pub firing: Firing,
    /// The rerun, exactly when one was started.
    pub run: Option<RunStarted>,
    /// How long after its time it was decided, in milliseconds; `None` if it had waited.
    pub late_millis: Option<u64>,
    /// How many times before it were missed.
    pub missed: u32,
}

/// A rerun that a schedule wants.
#[derive(Clone, Copy)]
struct Wanted {
    /// Its group; `None` when nobody knows one.
    group: Option<CustomerGroupId>,
    /// Whether to cancel the unpublished rerun first.
    replacing: bool,
    /// Whether there must be new segments.
    only_new: bool,
}

/// What a look at a schedule came to.
enum Step {
    /// There is nothing to do.
    Idle,
    /// Times were written down; there may be more.
    Again,
    /// A time was decided.
    Fired(Box<Fired>),
}

impl Schedules {
    /// So many times are written down in one transaction.
    const BATCH: usize = 500;
    /// So many times after the next one are enough while the server keeps up.
    const FEW: usize = 4;
    /// How long a server has a schedule to itself.
    const LEASE: Duration = Duration::from_secs(30);

    /// Fires a schedule now, whatever its status: its times stay as they are.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`]; [`Error::ScheduleNotFound`]; [`Error::Store`]. A refusal is a
    /// firing.
    pub async fn trigger(
        &self,
        actor: &Actor,
        id: ScheduleId,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<Decided>, Error> {
        self.once
            .run(
                actor,
                "schedule.trigger",
                idempotency_key,
                &id,
                |key| async {
                    let schedule = self.find(actor, id).await?.schedule;
                    let now = self.host.clock.now();
                    let moment = Moment {
                        key: FiringKey {
                            scheduled_for: now,
                            triggered: true,
                        },
                        due_at: now,
                        missed: Vec::new(),
                        state: schedule.state.clone(),
                        is_late_allowed: true,
                        schedule,
                    };
                    self.decided(actor, &moment, key).await
                },
            )
            .await
    }

    /// Takes due schedules under a lease.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lease(&self, limit: u32) -> Result<Vec<DueSchedule>, StoreError> {
        let now = self.host.clock.now();
        let until = now + Self::LEASE;
        self.queue.lease_schedules(now, until, limit).await
    }

    /// Decides about the time of a schedule that has come, if one has.
    ///
    /// # Errors
    /// [`Error::Store`]: the schedule is due again when its lease ends.
    pub async fn fire(&self, due: DueSchedule) -> Result<Option<Fired>, Error> {
        let mut conflicts = 0;
        loop {
            match self.step(due).await {
                Ok(Step::Idle) => return Ok(None),
                Ok(Step::Again) => {}
                Ok(Step::Fired(fired)) => return Ok(Some(*fired)),
                Err(Error::Store(error)) => self.host.decide_again(error, &mut conflicts).await?,
                Err(refusal) => return Err(refusal),
            }
        }
    }

    async fn step(&self, due: DueSchedule) -> Result<Step, Error> {
        let DueSchedule { account_id, id } = due;
        let found = self.store.find_schedule(account_id, id).await?;
        let Some(ScheduleView { schedule, .. }) = found else {
            return Ok(Step::Idle);
        };
        let actor = Actor::person(account_id, schedule.creator());
        if let Some(key) = schedule.state.waiting
            && schedule.state.status != ScheduleStatus::Paused
        {
            let moment = Moment {
                key,
                due_at: key.scheduled_for,
                missed: Vec::new(),
                state: schedule.state.clone(),
                is_late_allowed: true,
                schedule: schedule.clone(),
            };
            if !self.still_waits(&moment).await? {
                let decided = self.decided(&actor, &moment, None).await?;
                return Ok(Step::Fired(Box::new(fired(&moment, decided, None))));
            }
        }
        let now = self.host.clock.now();
        let Some(first) = schedule.state.next_time else {
            return Ok(Step::Idle);
        };
        if schedule.state.status != ScheduleStatus::Active || first > now {
            return Ok(Step::Idle);
        }
        let come = self.come(&schedule, first, now)?;
        let state = schedule.with_next(&come.next);
        let Some(latest) = come.latest else {
            if come.missed.is_empty() {
                return Ok(Step::Idle);
            }
            self.pass(&actor, schedule, state, &come.missed).await?;
            return Ok(Step::Again);
        };
        let due_at = schedule.due_at(latest, come.next.first().copied());
        let moment = Moment {
            key: FiringKey {
                scheduled_for: latest,
                triggered: false,
            },
            due_at,
            missed: come.missed,
            state,
            is_late_allowed: false,
            schedule,
        };
        let decided = self.decided(&actor, &moment, None).await?;
        let late = (decided.firing.fired_at - due_at).num_milliseconds();
        let late = u64::try_from(late).unwrap_or_default();
        Ok(Step::Fired(Box::new(fired(&moment, decided, Some(late)))))
    }

    /// Returns which times have come, from `first` on: all of them, or the first [`Self::BATCH`].
    fn come(&self, schedule: &Schedule, first: Timestamp, now: Timestamp) -> Result<Due, Invalid> {
        let of = |limit| {
            let later = self.times(schedule, first, limit)?;
            let complete = later.len() < limit;
            let times: Vec<Timestamp> = std::iter::once(first).chain(later).collect();
            Ok(due(schedule, &times, complete, now))
        };
        // If this is enough, two times at least are left, or there are no more. The next due time depends on both.
        let come = of(Self::FEW)?;
        if come.latest.is_none() && !come.missed.is_empty() {
            return of(Self::BATCH);
        }
        Ok(come)
    }

    /// What the decision about a time depends on.
    async fn context(&self, moment: &Moment) -> Result<(Context, Option<CustomerGroupId>), Error> {
        let schedule = &moment.schedule;
        let (account, campaign) = (schedule.account_id, schedule.campaign_id);
        let found = self
            .campaigns
            .campaign_context(account, campaign, WantedGroup::None)
            .await?;
        let standing = found.as_ref().map(|found| Standing {
            status: found.campaign.status,
            is_rerun: found
                .current_run
                .as_ref()
                .is_some_and(|run| run.previous_run.is_some()),
        });
        let run = found.and_then(|found| found.current_run);
        let group = schedule
            .customer_group_id
            .or_else(|| run.as_ref().map(|run| run.group.id));
        let group_changed = match (&run, group) {
            (Some(run), Some(group)) => {
                self.store
                    .group_changed(account, group, campaign, run.number)
                    .await?
            }
            // Without a run nothing is published.
            (None, _) | (_, None) => Some(true),
        };
        let waiting = schedule.state.waiting;
        let context = Context {
            is_late_allowed: moment.is_late_allowed,
            may_initiate: self.permissions.may_initiate(&schedule.role_code),
            campaign: standing,
            group_changed,
            another_waits: waiting.is_some_and(|key| key != moment.key),
        };
        Ok((context, group))
    }

    async fn still_waits(&self, moment: &Moment) -> Result<bool, Error> {
        let (context, _group) = self.context(moment).await?;
        let now = self.host.clock.now();
        let decision = decide(&moment.schedule, moment.due_at, &context, now);
        Ok(matches!(
            decision,
            Decision::Settle {
                outcome: Outcome::Waiting,
                ..
            }
        ))
    }

    /// Decides about a time, and makes the decision true.
    async fn decided(
        &self,
        actor: &Actor,
        moment: &Moment,
        key: Option<IdempotencyKey>,
    ) -> Result<Decided, Error> {
        let (context, group) = self.context(moment).await?;
        let now = self.host.clock.now();
        let wanted = match decide(&moment.schedule, moment.due_at, &context, now) {
            Decision::Settle { outcome, reason } => {
                return self.settle(actor, moment, outcome, reason, key).await;
            }
            Decision::Start {
                replacing,
                if_new_segments,
            } => Wanted {
                group,
                replacing,
                only_new: if_new_segments,
            },
        };
        match self.start(actor, moment, wanted, key.clone()).await {
            Ok(Some(decided)) => Ok(decided),
            Ok(None) => {
                let (outcome, reason) = (Outcome::SkippedUnchanged, "there are no new segments");
                self.settle(actor, moment, outcome, reason, key).await
            }
            Err(Error::Store(error)) => Err(error.into()),
            // Somebody was faster: what is right now has to be decided again.
            Err(Error::CampaignNotPublished(_) | Error::MessagesNotPublished(_)) => {
                Err(StoreError::Conflict.into())
            }
            Err(refusal) => {
                let reason = refusal.code();
                self.settle(actor, moment, Outcome::Refused, reason, key)
                    .await
            }
        }
    }

    /// Starts the rerun of a time. `None` when there had to be new segments and are none.
    async fn start(
        &self,
        actor: &Actor,
        moment: &Moment,
        mut wanted: Wanted,
        key: Option<IdempotencyKey>,
    ) -> Result<Option<Decided>, Error> {
        let request = RerunRequest {
            campaign: moment.schedule.campaign_id,
            new_group: wanted.group,
            reuse_from: moment.schedule.reuse_from,
            allow_missing_fields: false,
        };
        if wanted.replacing {
            let new = self.reruns.new_after_cancel(actor, request).await?;
            if wanted.only_new && new == 0 {
                return Ok(None);
            }
            wanted.only_new = false;
            let reason = format!("replaced by the schedule {}", moment.schedule.name);
            self.reruns
                .take_back(actor, request.campaign, Some(reason), None)
                .await?;
        }
        let decided = |run: &RunStarted| Decided {
            firing: Firing {
                key: moment.key,
                fired_at: run.started_at,
                outcome: Outcome::Started,
                run_number: Some(run.run_number),
                reason: None,
            },
            run: Some(run.clone()),
        };
        let scheduled = Scheduled {
            schedule: &moment.schedule,
            only_new: wanted.only_new,
            commit: &|run| {
                let decided = decided(run);
                let key = key.clone();
                let response = key.map(|key| key.answered(&decided)).transpose()?;
                let change = self.firing_change(actor, moment, decided.firing);
                Ok((change, response))
            },
        };
        let started = self
            .reruns
            .begin_scheduled(actor, request, scheduled)
            .await?;
        Ok(started.as_ref().map(decided))
    }
}

fn fired(moment: &Moment, decided: Decided, late_millis: Option<u64>) -> Fired {
    let Decided { firing, run } = decided;
    Fired {
        account_id: moment.schedule.account_id,
        schedule_id: moment.schedule.id,
        firing,
        run,
        late_millis,
        missed: u32::try_from(moment.missed.len()).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use chrono::TimeDelta;

    use super::super::tests::{NOW, schedule, schedules};
    use super::*;
    use crate::ports::MockCalendar;
    use crate::schedule::CalendarTime;

    fn after(hours: i64) -> Timestamp {
        NOW + TimeDelta::hours(hours)
    }

    /// A pattern may be costly to follow: a server that keeps up asks for a few times only.
    #[test]
    fn a_few_times_are_asked_for_and_a_batch_after_an_outage() {
        let limits: Arc<Mutex<Vec<usize>>> = Arc::default();
        let asked = Arc::clone(&limits);
        let mut calendar = MockCalendar::new();
        calendar.expect_times().returning(move |_, _, from, limit| {
            asked.lock().unwrap().push(limit);
            let times = (1..).take(limit).map(|hours| CalendarTime {
                at: from + TimeDelta::hours(hours),
                local: String::new(),
                clock_change: None,
            });
            Ok(times.collect())
        });
        let schedules = schedules(calendar);
        let schedule = schedule(ScheduleStatus::Active);
        for (now, latest, missed, expected) in [
            (-1, None, 0, &[4][..]),
            (0, Some(0), 0, &[4]),
            (2, Some(2), 2, &[4]),
            (3, Some(3), 3, &[4, 500]),
            (498, Some(498), 498, &[4, 500]),
            // The last of a batch may not be the last that has come.
            (499, None, 499, &[4, 500]),
        ] {
            let come = schedules.come(&schedule, NOW, after(now)).unwrap();
            assert_eq!(come.latest, latest.map(after), "{now}");
            let times: Vec<_> = (0..missed).map(after).collect();
            assert_eq!(come.missed, times, "{now}");
            assert_eq!(
                std::mem::take(&mut *limits.lock().unwrap()),
                expected,
                "{now}"
            );
        }
    }
}
