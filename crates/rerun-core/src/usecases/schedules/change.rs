//! Changes, pauses, resumes and deletes schedules.

use serde::Serialize;

use super::{Kept, ScheduleDetails, Schedules, change_of, seconds};
use crate::actor::Actor;
use crate::error::{Error, IllegalTransition, Invalid};
use crate::event::Event;
use crate::ids::{CustomerGroupId, ScheduleId};
use crate::plan::ReuseFrom;
use crate::ports::{DeleteSchedule, UpdateSchedule};
use crate::schedule::{Overlap, Schedule, ScheduleStatus, ScheduleView, Timing, When};
use crate::text;
use crate::timestamp::{self, Timestamp};
use crate::usecases::Replayable;

/// What to change of a schedule; `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScheduleChanges {
    /// Its name.
    pub name: Option<String>,
    /// Another cron pattern.
    pub cron: Option<String>,
    /// Another single time.
    pub at: Option<Timestamp>,
    /// Another time zone.
    pub time_zone: Option<String>,
    /// Another group.
    pub customer_group: Option<CustomerGroupId>,
    /// Where to look for messages to reuse.
    pub reuse_from: Option<ReuseFrom>,
    /// What must have changed.
    pub when: Option<When>,
    /// What happens while the campaign is not published.
    pub overlap: Option<Overlap>,
    /// How late a time is made up for, in seconds.
    pub catch_up_seconds: Option<i64>,
    /// By how much a time may be delayed, in seconds.
    pub jitter_seconds: Option<i64>,
    /// After this time it does not fire any more.
    pub ends_at: Option<Timestamp>,
}

impl Schedules {
    /// Changes a schedule.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a value that breaks a rule, or if nothing is to be changed;
    /// [`Error::IdempotencyKeyReused`]; [`Error::ScheduleNotFound`];
    /// [`Error::CustomerGroupNotFound`]; [`Error::Store`].
    pub async fn update(
        &self,
        actor: &Actor,
        id: ScheduleId,
        changes: ScheduleChanges,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<ScheduleDetails>, Error> {
        if changes == ScheduleChanges::default() {
            return Err(Invalid::new("name at least one field to change").into());
        }
        let body = serde_json::json!([
            id,
            changes.name,
            changes.cron,
            changes.at,
            changes.time_zone,
            changes.customer_group,
            changes.reuse_from,
            changes.when,
            changes.overlap,
            changes.catch_up_seconds,
            changes.jitter_seconds,
            changes.ends_at,
        ]);
        let changes = &changes;
        let edit = |schedule: Schedule, now| async move {
            let to = self.edited(actor, schedule, changes.clone(), now).await?;
            let event = Event::ScheduleUpdated(change_of(&to));
            Ok((to, event))
        };
        self.change(actor, id, "schedule.update", &body, idempotency_key, edit)
            .await
    }

    async fn edited(
        &self,
        actor: &Actor,
        mut schedule: Schedule,
        changes: ScheduleChanges,
        now: Timestamp,
    ) -> Result<Schedule, Error> {
        if let Some(name) = &changes.name {
            schedule.name = text::name("name", name, Schedule::MAX_NAME_LENGTH)?;
        }
        if let Some(value) = changes.catch_up_seconds {
            schedule.catch_up_seconds = seconds("catch_up_seconds", value, Schedule::MAX_CATCH_UP)?;
        }
        let jitter = changes.jitter_seconds;
        if let Some(value) = jitter {
            schedule.jitter_seconds = seconds("jitter_seconds", value, Schedule::MAX_JITTER)?;
        }
        if let Some(end) = changes.ends_at {
            if end <= now {
                return Err(Invalid::new("`ends_at` must be in the future").into());
            }
            schedule.ends_at = Some(timestamp::truncate(end));
        }
        let other_times =
            changes.cron.is_some() || changes.at.is_some() || changes.time_zone.is_some();
        if let Some(time_zone) = changes.time_zone {
            text::check("time_zone", &time_zone)?;
            self.calendar.check_zone(&time_zone)?;
            schedule.time_zone = time_zone;
        }
        if changes.cron.is_some() || changes.at.is_some() {
            schedule.timing = self.timing(changes.cron, changes.at, &schedule.time_zone, now)?;
        } else if let Timing::Cron(cron) = &schedule.timing {
            self.calendar.describe(cron, &schedule.time_zone)?;
        }
        self.check_group(actor, changes.customer_group).await?;
        schedule.customer_group_id = changes.customer_group.or(schedule.customer_group_id);
        schedule.reuse_from = changes.reuse_from.unwrap_or(schedule.reuse_from);
        schedule.when = changes.when.unwrap_or(schedule.when);
        schedule.overlap = changes.overlap.unwrap_or(schedule.overlap);
        if other_times || changes.ends_at.is_some() || jitter.is_some() {
            let paused = schedule.state.status == ScheduleStatus::Paused;
            schedule = self.started(schedule, now)?;
            if paused && schedule.state.status == ScheduleStatus::Active {
                schedule.state.status = ScheduleStatus::Paused;
                schedule.state.due_at = None;
            }
        }
        schedule.updated_at = now;
        Ok(schedule)
    }

    /// Decides on a schedule, and has the store make it true.
    async fn change<F, T>(
        &self,
        actor: &Actor,
        id: ScheduleId,
        endpoint: &'static str,
        body: &impl Serialize,
        idempotency_key: Option<&str>,
        edit: F,
    ) -> Result<Replayable<ScheduleDetails>, Error>
    where
        F: Fn(Schedule, Timestamp) -> T,
        T: Future<Output = Result<(Schedule, Event), Error>>,
    {
        let edit = &edit;
        let changed = self
            .once
            .run(actor, endpoint, idempotency_key, body, |key| async move {
                let view = self.find(actor, id).await?;
                let now = self.host.clock.now();
                let (to, event) = edit(view.schedule.clone(), now).await?;
                let same = to
                    == Schedule {
                        updated_at: to.updated_at,
                        ..view.schedule.clone()
                    };
                let to = if same { view.schedule.clone() } else { to };
                let kept = Kept {
                    view: ScheduleView {
                        schedule: to.clone(),
                        last_firing: view.last_firing,
                    },
                    at: now,
                };
                let response = key.map(|key| key.answered(&kept)).transpose()?;
                if !same || response.is_some() {
                    let update = UpdateSchedule {
                        schedule: view.schedule,
                        to,
                        audit: (!same).then(|| self.host.author(actor, now).of(event)),
                        response,
                        now,
                    };
                    self.store.update_schedule(update).await?;
                }
                Ok(kept)
            })
            .await?;
        Ok(changed.map(|kept| self.details(kept)))
    }

    /// Pauses a schedule: its times pass, and are not made up for.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a note that is too long; [`Error::IdempotencyKeyReused`];
    /// [`Error::ScheduleNotFound`]; [`Error::IllegalTransition`] when it has ended;
    /// [`Error::Store`].
    pub async fn pause(
        &self,
        actor: &Actor,
        id: ScheduleId,
        note: Option<&str>,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<ScheduleDetails>, Error> {
        let note = note
            .map(|note| text::name("note", note, Schedule::MAX_NOTE_LENGTH))
            .transpose()?;
        let note = &note;
        let body = (id, note);
        let edit = |mut schedule: Schedule, now| async move {
            check_status(&schedule, "pause")?;
            schedule.state.status = ScheduleStatus::Paused;
            schedule.state.due_at = None;
            schedule.state.note.clone_from(note);
            schedule.updated_at = now;
            let event = Event::SchedulePaused {
                schedule: change_of(&schedule),
                note: note.clone(),
            };
            Ok((schedule, event))
        };
        self.change(actor, id, "schedule.pause", &body, idempotency_key, edit)
            .await
    }

    /// Resumes a schedule that is paused, from its next time on.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`]; [`Error::ScheduleNotFound`]; [`Error::IllegalTransition`] when
    /// it has ended; [`Error::Store`].
    pub async fn resume(
        &self,
        actor: &Actor,
        id: ScheduleId,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<ScheduleDetails>, Error> {
        let edit = |schedule: Schedule, now| async move {
            check_status(&schedule, "resume")?;
            let event = Event::ScheduleResumed(change_of(&schedule));
            if schedule.state.status == ScheduleStatus::Active {
                return Ok((schedule, event));
            }
            let mut schedule = self.started(schedule, now)?;
            schedule.state.note = None;
            schedule.state.refusals = 0;
            schedule.updated_at = now;
            Ok((schedule, event))
        };
        self.change(actor, id, "schedule.resume", &id, idempotency_key, edit)
            .await
    }

    /// Deletes a schedule with its firings.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`]; [`Error::ScheduleNotFound`]; [`Error::Store`].
    pub async fn delete(
        &self,
        actor: &Actor,
        id: ScheduleId,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<()>, Error> {
        self.once
            .run(
                actor,
                "schedule.delete",
                idempotency_key,
                &id,
                |key| async {
                    let schedule = self.find(actor, id).await?.schedule;
                    let now = self.host.clock.now();
                    let event = Event::ScheduleDeleted(change_of(&schedule));
                    let delete = DeleteSchedule {
                        schedule,
                        audit: self.host.author(actor, now).of(event),
                        response: key.map(|key| key.answered(&())).transpose()?,
                        now,
                    };
                    Ok(self.store.delete_schedule(delete).await?)
                },
            )
            .await
    }
}

fn check_status(schedule: &Schedule, action: &'static str) -> Result<(), IllegalTransition> {
    if schedule.state.status == ScheduleStatus::Ended {
        return Err(IllegalTransition::EndedSchedule { action });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::super::tests::{NOW, schedule, schedules};
    use super::*;
    use crate::ids::AccountId;
    use crate::ports::MockCalendar;
    use crate::schedule::{CalendarTime, ScheduleState};

    fn in_hours(hours: i64) -> Timestamp {
        NOW + TimeDelta::hours(hours)
    }

    /// Every pattern has one time, in two hours.
    fn in_two_hours() -> MockCalendar {
        let mut calendar = MockCalendar::new();
        calendar.expect_check_zone().returning(|_| Ok(()));
        calendar
            .expect_describe()
            .returning(|_, _| Ok("At times".into()));
        calendar.expect_times().returning(|_, _, after, _| {
            let time = CalendarTime {
                at: in_hours(2),
                local: String::new(),
                clock_change: None,
            };
            Ok((after < time.at).then_some(time).into_iter().collect())
        });
        calendar
    }

    async fn edited(
        status: ScheduleStatus,
        changes: ScheduleChanges,
    ) -> Result<ScheduleState, Error> {
        let actor = Actor::system(AccountId::new(Uuid::nil()));
        let schedules = schedules(in_two_hours());
        let edited = schedules.edited(&actor, schedule(status), changes, NOW);
        Ok(edited.await?.state)
    }

    #[tokio::test]
    async fn a_change_of_times_sets_the_next_time_and_keeps_a_pause() {
        let none = ScheduleChanges::default;
        let of_times = [
            ScheduleChanges {
                cron: Some("0 10 * * 1".into()),
                ..none()
            },
            ScheduleChanges {
                at: Some(in_hours(2)),
                ..none()
            },
            ScheduleChanges {
                time_zone: Some("Europe/Berlin".into()),
                ..none()
            },
            ScheduleChanges {
                ends_at: Some(in_hours(9)),
                ..none()
            },
            ScheduleChanges {
                jitter_seconds: Some(0),
                ..none()
            },
        ];
        for changes in of_times {
            let active = edited(ScheduleStatus::Active, changes.clone()).await;
            let active = active.unwrap();
            assert_eq!(active.status, ScheduleStatus::Active, "{changes:?}");
            assert_eq!(active.next_time, Some(in_hours(2)), "{changes:?}");
            assert_eq!(active.due_at, Some(in_hours(2)), "{changes:?}");
            let paused = edited(ScheduleStatus::Paused, changes.clone()).await;
            let paused = paused.unwrap();
            assert_eq!(paused.status, ScheduleStatus::Paused, "{changes:?}");
            assert_eq!(paused.next_time, Some(in_hours(2)), "{changes:?}");
            assert_eq!(paused.due_at, None, "{changes:?}");
        }
        let renamed = ScheduleChanges {
            name: Some("Tuesdays".into()),
            ..none()
        };
        let status = ScheduleStatus::Active;
        let state = edited(status, renamed).await.unwrap();
        assert_eq!(state, schedule(status).state);
    }

    #[tokio::test]
    async fn an_end_and_a_single_time_are_in_the_future() {
        for (time, is_valid) in [(NOW, false), (in_hours(2), true)] {
            let end = ScheduleChanges {
                ends_at: Some(time),
                ..ScheduleChanges::default()
            };
            let single = ScheduleChanges {
                at: Some(time),
                ..ScheduleChanges::default()
            };
            for changes in [end, single] {
                let edited = edited(ScheduleStatus::Active, changes.clone()).await;
                assert_eq!(edited.is_ok(), is_valid, "{changes:?}");
            }
        }
    }

    #[test]
    fn a_schedule_that_has_ended_is_not_changed() {
        assert!(check_status(&schedule(ScheduleStatus::Ended), "pause").is_err());
        assert!(check_status(&schedule(ScheduleStatus::Active), "pause").is_ok());
        assert!(check_status(&schedule(ScheduleStatus::Paused), "pause").is_ok());
    }
}
