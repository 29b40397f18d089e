//! Creates schedules.

use super::{Kept, ScheduleDetails, Schedules, change_of, seconds};
use crate::actor::Actor;
use crate::error::{Error, Invalid};
use crate::event::Event;
use crate::ids::{CampaignId, CustomerGroupId, ScheduleId};
use crate::plan::ReuseFrom;
use crate::ports::{CreateSchedule, IdempotencyKey};
use crate::schedule::{Overlap, Schedule, ScheduleState, ScheduleStatus, ScheduleView, When};
use crate::text;
use crate::timestamp::{self, Timestamp};
use crate::usecases::Replayable;

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
    /// The group of each rerun; that of the current run when it is not given.
    pub customer_group: Option<CustomerGroupId>,
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

impl Schedules {
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
    ) -> Result<Replayable<ScheduleDetails>, Error> {
        let person = actor.required_person("make a schedule")?;
        let now = self.host.clock.now();
        let time_zone = new.time_zone.unwrap_or_else(|| "UTC".to_owned());
        text::check("time_zone", &time_zone)?;
        self.calendar.check_zone(&time_zone)?;
        let schedule = Schedule {
            account_id: actor.account_id,
            id: ScheduleId::new(self.host.ids.next()),
            campaign_id: new.campaign,
            name: text::name("name", &new.name, Schedule::MAX_NAME_LENGTH)?,
            timing: self.timing(new.cron, new.at, &time_zone, now)?,
            time_zone,
            customer_group_id: new.customer_group,
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
        // Only what the request says: the id and the times differ when it is sent again.
        let body = serde_json::json!([
            schedule.campaign_id,
            schedule.name,
            schedule.timing,
            schedule.time_zone,
            schedule.customer_group_id,
            schedule.reuse_from,
            schedule.when,
            schedule.overlap,
            schedule.catch_up_seconds,
            schedule.jitter_seconds,
            schedule.ends_at,
        ]);
        let made = self
            .once
            .run(actor, "schedule.create", idempotency_key, &body, |key| {
                self.make(actor, schedule.clone(), key)
            })
            .await?;
        Ok(made.map(|kept| self.details(kept)))
    }

    async fn make(
        &self,
        actor: &Actor,
        schedule: Schedule,
        key: Option<IdempotencyKey>,
    ) -> Result<Kept, Error> {
        let found = self
            .campaigns
            .find_campaign(actor.account_id, schedule.campaign_id)
            .await?;
        found.ok_or(Error::CampaignNotFound)?;
        self.check_group(actor, schedule.customer_group_id).await?;
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
            audit: self.host.author(actor, now).of(event),
            response: key.map(|key| key.answered(&kept)).transpose()?,
        };
        if self.store.create_schedule(create).await? {
            return Ok(kept);
        }
        let limit = self.settings.schedules_per_account;
        let said = format!("the account has {limit} schedules already, the most that it may have");
        Err(Invalid::new(said).into())
    }
}
