//! Schedules: what people do with them, and what a server does when their times come.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::idempotency::{Answered, Once};
use super::reruns::{Reruns, Scheduled};
use super::{Listed, PageQuery, RerunRequest, Settings, Stamps, listed};
use crate::actor::Actor;
use crate::audit::AuditDraft;
use crate::error::{Error, IllegalTransition, Invalid, StoreError};
use crate::event::{Event, ScheduleChange, SkippedTimes};
use crate::ids::{AccountId, CampaignId, CustomerGroupId, ScheduleId};
use crate::page::CursorScope;
use crate::plan::ReuseFrom;
use crate::ports::{
    Calendar, CampaignStore, CreateSchedule, CustomerGroupStore, DeleteSchedule, DueSchedule,
    FiringChange, IdempotencyKey, IdempotencyStore, Permissions, ScheduleQueue, ScheduleStore,
    SettleFirings, UpdateSchedule, WantedGroup,
};
use crate::schedule::{
    CalendarTime, Context, Decision, Firing, FiringKey, Outcome, Overlap, Schedule, ScheduleState,
    ScheduleStatus, ScheduleView, Standing, Timing, When, decide,
};
use crate::text;
use crate::timestamp::{self, Timestamp};

/// A schedule to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSchedule {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its name.
    pub name: String,
    /// A cron pattern; either this or `at`.
    pub cron: Option<String>,
    /// A single time.
    pub at: Option<Timestamp>,
    /// The IANA time zone; UTC when it is not given.
    pub time_zone: Option<String>,
    /// The group; `None` within when the given id cannot name one.
    pub customer_group: Option<Option<CustomerGroupId>>,
    /// Where to look for messages to reuse.
    pub reuse_from: ReuseFrom,
    /// What must have changed; the group's customers when it is not given.
    pub when: Option<When>,
    /// What happens while the campaign is not published; the time passes when it is not given.
    pub overlap: Option<Overlap>,
    /// How late a time is made up for, in seconds; a day when it is not given.
    pub catch_up_seconds: Option<i64>,
    /// By how much a time may be delayed, in seconds.
    pub jitter_seconds: Option<i64>,
    /// After this time it does not fire any more.
    pub ends_at: Option<Timestamp>,
}

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
    /// Another group; `None` within when the given id cannot name one.
    pub customer_group: Option<Option<CustomerGroupId>>,
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
    /// So many next times are told.
    pub const NEXT_TIMES: usize = 5;
}

/// What became of a time, for those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    /// The account.
    pub account_id: AccountId,
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The firing.
    pub firing: Firing,
    /// How long after its time it was decided, in milliseconds; `None` if it had waited.
    pub late_millis: Option<u64>,
    /// How many times before it were missed.
    pub missed: u32,
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
    stamps: Stamps,
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

/// The code of a refusal, as it is in responses.
const fn code(refusal: &Error) -> &'static str {
    match refusal {
        Error::CampaignNotFound => "campaign_not_found",
        Error::CustomerGroupNotFound => "customer_group_not_found",
        Error::CampaignNotPublished(_) => "campaign_not_published",
        Error::MessagesNotPublished(_) => "messages_not_published",
        Error::EmptyCustomerGroup => "empty_customer_group",
        Error::UnknownSegmentField(_) => "unknown_segment_field",
        Error::TooManySegments { .. } | Error::TooManyValues { .. } => "too_many_segments",
        Error::IllegalTransition(_) => "invalid_transition",
        _ => "invalid_request",
    }
}

/// A time of a schedule to decide about.
struct Moment {
    schedule: Schedule,
    key: FiringKey,
    due_at: Timestamp,
    /// Times before it that it stands for.
    missed: Vec<Timestamp>,
    /// The state of the schedule without this time.
    state: ScheduleState,
    /// Whether it has waited, or a person asked for it.
    is_late_allowed: bool,
}

/// What a look at a schedule came to.
enum Step {
    /// There is nothing to do.
    Idle,
    /// Times were written down; there may be more.
    Again,
    /// A time was decided.
    Fired(Fired),
}

impl Schedules {
    /// The most times that a preview tells.
    pub const MAX_PREVIEW: usize = 100;
    /// So many times are written down in one transaction.
    const BATCH: usize = 500;

    /// Over these ports.
    #[must_use]
    pub fn new(ports: SchedulePorts, stamps: Stamps, settings: Settings) -> Self {
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
            once: Once::new(responses, &stamps),
            stamps,
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

    fn details(&self, kept: Kept) -> Result<ScheduleDetails, Error> {
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
        Ok(ScheduleDetails {
            view,
            description,
            next_times,
        })
    }

    async fn find(&self, actor: &Actor, id: ScheduleId) -> Result<ScheduleView, Error> {
        let found = self.store.find_schedule(actor.account_id, id).await?;
        found.ok_or(Error::ScheduleNotFound)
    }

    async fn check_group(
        &self,
        actor: &Actor,
        group: Option<Option<CustomerGroupId>>,
    ) -> Result<Option<CustomerGroupId>, Error> {
        let Some(group) = group else { return Ok(None) };
        let id = group.ok_or(Error::CustomerGroupNotFound)?;
        let found = self.groups.find_group(actor.account_id, id).await?;
        found
            .map(|_group| Some(id))
            .ok_or(Error::CustomerGroupNotFound)
    }

    /// Makes a schedule.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a value that breaks a rule, for too many schedules, or if the actor is the
    /// system; [`Error::IdempotencyKeyReused`]; [`Error::CampaignNotFound`];
    /// [`Error::CustomerGroupNotFound`]; [`Error::Store`].
    pub async fn create(
        &self,
        actor: &Actor,
        new: NewSchedule,
        idempotency_key: Option<&str>,
    ) -> Result<Answered<ScheduleDetails>, Error> {
        let person = actor.required_person("make a schedule")?;
        let now = self.stamps.clock.now();
        let time_zone = new.time_zone.unwrap_or_else(|| "UTC".to_owned());
        text::check("time_zone", &time_zone)?;
        self.calendar.check_zone(&time_zone)?;
        let schedule = Schedule {
            account_id: actor.account_id,
            id: ScheduleId::new(self.stamps.ids.next()),
            campaign_id: new.campaign,
            name: text::name("name", &new.name, Schedule::MAX_NAME_LENGTH)?,
            timing: self.timing(new.cron, new.at, &time_zone, now)?,
            time_zone,
            customer_group_id: new.customer_group.flatten(),
            reuse_from: new.reuse_from,
            when: new.when.unwrap_or(When::GroupChanged),
            overlap: new.overlap.unwrap_or(Overlap::Skip),
            catch_up_seconds: match new.catch_up_seconds {
                Some(value) => seconds("catch_up_seconds", value, Schedule::MAX_CATCH_UP)?,
                None => 86_400,
            },
            jitter_seconds: match new.jitter_seconds {
                Some(value) => seconds("jitter_seconds", value, Schedule::MAX_JITTER)?,
                None => 0,
            },
            ends_at: new.ends_at.map(timestamp::truncate),
            state: ScheduleState {
                status: ScheduleStatus::Active,
                note: None,
                next_time: None,
                due_at: None,
                waiting: None,
                refusals: 0,
            },
            version: 1,
            created_by: person.user_id,
            created_by_name: person.user_name.clone(),
            role_code: person.role_code.clone(),
            created_at: now,
            updated_at: now,
        };
        if schedule.ends_at.is_some_and(|end| end <= now) {
            return Err(Invalid::new("`ends_at` must be in the future").into());
        }
        let schedule = self.started(schedule, now)?;
        if schedule.state.status == ScheduleStatus::Ended {
            return Err(Invalid::new("no time of the schedule is before `ends_at`").into());
        }
        // What the request says, without what each attempt makes anew.
        let body = serde_json::json!([
            schedule.campaign_id,
            schedule.name,
            schedule.timing,
            schedule.time_zone,
            new.customer_group,
            schedule.reuse_from,
            schedule.when,
            schedule.overlap,
            schedule.catch_up_seconds,
            schedule.jitter_seconds,
            schedule.ends_at,
        ]);
        let group = new.customer_group;
        let made = self
            .once
            .run(actor, "schedule.create", idempotency_key, &body, |key| {
                self.make(actor, schedule.clone(), group, key)
            })
            .await?;
        let Answered { outcome, replayed } = made;
        Ok(Answered {
            outcome: self.details(outcome)?,
            replayed,
        })
    }

    /// The schedule with its first times after now.
    fn started(&self, schedule: Schedule, now: Timestamp) -> Result<Schedule, Error> {
        let times = self.times(&schedule, now, 2)?;
        let state = schedule.with_next(&times);
        Ok(Schedule { state, ..schedule })
    }

    async fn make(
        &self,
        actor: &Actor,
        schedule: Schedule,
        group: Option<Option<CustomerGroupId>>,
        key: Option<IdempotencyKey>,
    ) -> Result<Kept, Error> {
        let found = self
            .campaigns
            .find_campaign(actor.account_id, schedule.campaign_id)
            .await?;
        found.ok_or(Error::CampaignNotFound)?;
        self.check_group(actor, group).await?;
        let now = schedule.created_at;
        let event = Event::ScheduleCreated(change_of(&schedule));
        let kept = Kept {
            view: ScheduleView {
                schedule: schedule.clone(),
                last_firing: None,
            },
            at: now,
        };
        let create = CreateSchedule {
            schedule,
            limit: self.settings.schedules_per_account,
            audit: self.stamps.author(actor, now).of(event),
            response: key.map(|key| key.answered(&kept)).transpose()?,
        };
        if self.store.create_schedule(create).await? {
            return Ok(kept);
        }
        let limit = self.settings.schedules_per_account;
        let said = format!("the account has {limit} schedules already, the most that it may have");
        Err(Invalid::new(said).into())
    }

    /// The schedule.
    ///
    /// # Errors
    /// [`Error::ScheduleNotFound`], [`Error::Store`].
    pub async fn get(&self, actor: &Actor, id: ScheduleId) -> Result<ScheduleDetails, Error> {
        let view = self.find(actor, id).await?;
        let at = self.stamps.clock.now();
        self.details(Kept { view, at })
    }

    /// The account's schedules, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is none; [`Error::Store`].
    pub async fn list(
        &self,
        actor: &Actor,
        page: &PageQuery,
    ) -> Result<Listed<ScheduleDetails>, Error> {
        let scope = CursorScope {
            key: self.settings.cursors,
            list: "schedules",
            account: actor.account_id,
            narrowed_by: "",
        };
        let page = page.resolve(scope)?;
        let page = self.store.list_schedules(actor.account_id, page).await?;
        let Listed { items, next_cursor } = listed(page, scope)?;
        let at = self.stamps.clock.now();
        let items = items
            .into_iter()
            .map(|view| self.details(Kept { view, at }));
        Ok(Listed {
            items: items.collect::<Result<_, _>>()?,
            next_cursor,
        })
    }

    /// The firings of a schedule, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is none; [`Error::ScheduleNotFound`];
    /// [`Error::Store`].
    pub async fn firings(
        &self,
        actor: &Actor,
        id: ScheduleId,
        outcome: Option<Outcome>,
        page: &PageQuery,
    ) -> Result<Listed<Firing>, Error> {
        let narrowed_by = format!("{id} {}", outcome.map_or("", Outcome::as_str));
        let scope = CursorScope {
            key: self.settings.cursors,
            list: "firings",
            account: actor.account_id,
            narrowed_by: &narrowed_by,
        };
        let page = page.resolve(scope)?;
        self.find(actor, id).await?;
        let firings = self
            .store
            .firings(actor.account_id, id, outcome, page)
            .await?;
        listed(firings, scope)
    }

    /// The times of a pattern after `from`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn preview(
        &self,
        cron: &str,
        time_zone: Option<&str>,
        from: Option<Timestamp>,
        limit: Option<i64>,
    ) -> Result<Vec<CalendarTime>, Error> {
        let limit = match limit {
            None => ScheduleDetails::NEXT_TIMES,
            Some(limit) => usize::try_from(limit)
                .ok()
                .filter(|limit| (1..=Self::MAX_PREVIEW).contains(limit))
                .ok_or_else(|| {
                    let most = Self::MAX_PREVIEW;
                    Invalid::new(format!("`limit` must be from 1 to {most}, not {limit}"))
                })?,
        };
        let time_zone = time_zone.unwrap_or("UTC");
        self.calendar.check_zone(time_zone)?;
        self.calendar.describe(cron, time_zone)?;
        let from = from.unwrap_or_else(|| self.stamps.clock.now());
        Ok(self.calendar.times(cron, time_zone, from, limit)?)
    }

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
    ) -> Result<Answered<ScheduleDetails>, Error> {
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
        if let Some(group) = self.check_group(actor, changes.customer_group).await? {
            schedule.customer_group_id = Some(group);
        }
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
    ) -> Result<Answered<ScheduleDetails>, Error>
    where
        F: Fn(Schedule, Timestamp) -> T,
        T: Future<Output = Result<(Schedule, Event), Error>>,
    {
        let edit = &edit;
        let changed = self
            .once
            .run(actor, endpoint, idempotency_key, body, |key| async move {
                let view = self.find(actor, id).await?;
                let now = self.stamps.clock.now();
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
                        audit: (!same).then(|| self.stamps.author(actor, now).of(event)),
                        response,
                        now,
                    };
                    self.store.update_schedule(update).await?;
                }
                Ok(kept)
            })
            .await?;
        let Answered { outcome, replayed } = changed;
        Ok(Answered {
            outcome: self.details(outcome)?,
            replayed,
        })
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
    ) -> Result<Answered<ScheduleDetails>, Error> {
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
    ) -> Result<Answered<ScheduleDetails>, Error> {
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
    ) -> Result<Answered<()>, Error> {
        self.once
            .run(
                actor,
                "schedule.delete",
                idempotency_key,
                &id,
                |key| async {
                    let schedule = self.find(actor, id).await?.schedule;
                    let now = self.stamps.clock.now();
                    let event = Event::ScheduleDeleted(change_of(&schedule));
                    let delete = DeleteSchedule {
                        schedule,
                        audit: self.stamps.author(actor, now).of(event),
                        response: key.map(|key| key.answered(&())).transpose()?,
                        now,
                    };
                    Ok(self.store.delete_schedule(delete).await?)
                },
            )
            .await
    }

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
    ) -> Result<Answered<Firing>, Error> {
        self.once
            .run(
                actor,
                "schedule.trigger",
                idempotency_key,
                &id,
                |key| async {
                    let schedule = self.find(actor, id).await?.schedule;
                    let now = self.stamps.clock.now();
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
        let now = self.stamps.clock.now();
        let until = now + Self::LEASE;
        self.queue.lease_schedules(now, until, limit).await
    }

    /// How long a server has a schedule to itself.
    const LEASE: std::time::Duration = std::time::Duration::from_secs(30);

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
                Ok(Step::Fired(fired)) => return Ok(Some(fired)),
                Err(Error::Store(error)) => self.stamps.decide_again(error, &mut conflicts).await?,
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
                let firing = self.decided(&actor, &moment, None).await?;
                return Ok(Step::Fired(fired(&moment, firing, None)));
            }
        }
        let now = self.stamps.clock.now();
        let Some(first) = schedule.state.next_time else {
            return Ok(Step::Idle);
        };
        if schedule.state.status != ScheduleStatus::Active || first > now {
            return Ok(Step::Idle);
        }
        let mut limit = 4;
        let come = loop {
            let later = self.times(&schedule, first, limit)?;
            let complete = later.len() < limit;
            let times: Vec<Timestamp> = std::iter::once(first).chain(later).collect();
            let come = crate::schedule::due(&schedule, &times, complete, now);
            let is_judged = come.latest.is_some() || come.missed.is_empty();
            if complete || (is_judged && come.next.len() > 1) || limit >= Self::BATCH {
                break come;
            }
            limit = Self::BATCH;
        };
        let state = ScheduleState {
            waiting: schedule.state.waiting,
            ..schedule.with_next(&come.next)
        };
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
        let firing = self.decided(&actor, &moment, None).await?;
        let late = (firing.fired_at - due_at).num_milliseconds();
        let late = u64::try_from(late).unwrap_or_default();
        Ok(Step::Fired(fired(&moment, firing, Some(late))))
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
        let now = self.stamps.clock.now();
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
    ) -> Result<Firing, Error> {
        let (context, group) = self.context(moment).await?;
        let now = self.stamps.clock.now();
        let decision = decide(&moment.schedule, moment.due_at, &context, now);
        let (replacing, if_new_segments) = match decision {
            Decision::Settle { outcome, reason } => {
                return self.settle(actor, moment, outcome, reason, key).await;
            }
            Decision::Start {
                replacing,
                if_new_segments,
            } => (replacing, if_new_segments),
        };
        let request = RerunRequest {
            campaign: moment.schedule.campaign_id,
            new_group: group,
            reuse_from: moment.schedule.reuse_from,
            allow_missing_fields: false,
        };
        let mut only_new = if_new_segments;
        let started = async {
            if replacing {
                let new = self.reruns.new_after_cancel(actor, request).await?;
                if if_new_segments && new == 0 {
                    return Ok(None);
                }
                only_new = false;
                let reason = format!("replaced by the schedule {}", moment.schedule.name);
                self.reruns
                    .take_back(actor, request.campaign, Some(reason), None)
                    .await?;
            }
            let firing = |run_number| Firing {
                key: moment.key,
                fired_at: now,
                outcome: Outcome::Started,
                run_number: Some(run_number),
                reason: None,
            };
            let scheduled = Scheduled {
                schedule: &moment.schedule,
                only_new,
                commit: &|run_number| {
                    let firing = firing(run_number);
                    let key = key.clone();
                    let response = key.map(|key| key.answered(&firing)).transpose()?;
                    let change = self.firing_change(actor, moment, firing);
                    Ok((change, response))
                },
            };
            let started = self
                .reruns
                .begin_scheduled(actor, request, scheduled)
                .await?;
            Ok(started.map(|started| firing(started.run_number)))
        }
        .await;
        match started {
            Ok(Some(firing)) => Ok(firing),
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
                let reason = code(&refusal);
                self.settle(actor, moment, Outcome::Refused, reason, key)
                    .await
            }
        }
    }

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
        Some(self.stamps.author(actor, at).of(event))
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
    fn firing_change(&self, actor: &Actor, moment: &Moment, firing: Firing) -> FiringChange {
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
            audits.push(self.stamps.author(&system, at).of(event));
        }
        firings.push(firing);
        FiringChange {
            schedule: schedule.clone(),
            state,
            firings,
            audits,
        }
    }

    async fn settle(
        &self,
        actor: &Actor,
        moment: &Moment,
        outcome: Outcome,
        reason: &'static str,
        key: Option<IdempotencyKey>,
    ) -> Result<Firing, Error> {
        let now = self.stamps.clock.now();
        let firing = Firing {
            key: moment.key,
            fired_at: now,
            outcome,
            run_number: None,
            reason: Some(reason.to_owned()),
        };
        let settle = SettleFirings {
            change: self.firing_change(actor, moment, firing.clone()),
            response: key.map(|key| key.answered(&firing)).transpose()?,
            now,
        };
        self.queue.settle_firings(settle).await?;
        Ok(firing)
    }

    /// Writes down times that are missed, while later ones have come that are not known yet.
    async fn pass(
        &self,
        actor: &Actor,
        schedule: Schedule,
        state: ScheduleState,
        times: &[Timestamp],
    ) -> Result<(), Error> {
        let now = self.stamps.clock.now();
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

fn fired(moment: &Moment, firing: Firing, late_millis: Option<u64>) -> Fired {
    Fired {
        account_id: moment.schedule.account_id,
        schedule_id: moment.schedule.id,
        firing,
        late_millis,
        missed: u32::try_from(moment.missed.len()).unwrap_or(u32::MAX),
    }
}

fn check_status(schedule: &Schedule, action: &'static str) -> Result<(), IllegalTransition> {
    if schedule.state.status == ScheduleStatus::Ended {
        return Err(IllegalTransition::EndedSchedule { action });
    }
    Ok(())
}
