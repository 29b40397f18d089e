//! Schedules: when a campaign is rerun, and the outcome of each of these times.

mod decide;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::actor::{Person, UserName};
use crate::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber, ScheduleId, UserId};
use crate::page::{Contents, json_bytes, text_bytes};
use crate::plan::ReuseFrom;
use crate::status::wire_enum;
use crate::timestamp::Timestamp;

pub use decide::{Context, Decision, Due, Standing, decide, due};

wire_enum! {
    /// What must have changed for a rerun to be worth it.
    When {
        /// Nothing.
        Always => "always",
        /// The customers of the group, since the current run started.
        GroupChanged => "group_changed",
        /// There are segments without a message to reuse.
        NewSegments => "new_segments",
    }
}

wire_enum! {
    /// What happens at a time at which the campaign is not published.
    Overlap {
        /// The time passes.
        Skip => "skip",
        /// The rerun starts when the campaign is published.
        Wait => "wait",
        /// The unpublished rerun is cancelled first.
        Replace => "replace",
    }
}

wire_enum! {
    /// Whether a schedule fires.
    ScheduleStatus {
        /// It has times to come.
        Active => "active",
        /// Somebody paused it, or it was refused too often.
        Paused => "paused",
        /// It has no more times.
        Ended => "ended",
    }
}

wire_enum! {
    /// What became of a time.
    Outcome {
        /// The rerun was started.
        Started => "started",
        /// The condition was not met.
        SkippedUnchanged => "skipped_unchanged",
        /// The campaign was not published.
        SkippedOverlap => "skipped_overlap",
        /// The rerun starts when the campaign is published.
        Waiting => "waiting",
        /// It was too late to make up for it.
        Missed => "missed",
        /// The rerun was refused.
        Refused => "refused",
    }
}

wire_enum! {
    /// What a clock change did to a local time.
    ClockChange {
        /// The local time does not exist on that day.
        Skipped => "skipped",
        /// The local time exists twice on that day.
        Repeated => "repeated",
    }
}

/// A time of a pattern, as a calendar finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarTime {
    /// The time.
    pub at: Timestamp,
    /// The local time with its offset, as RFC 3339.
    pub local: String,
    /// What a clock change did to it.
    pub clock_change: Option<ClockChange>,
}

/// The times of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timing {
    /// Those of a cron pattern.
    Cron(String),
    /// One.
    At(Timestamp),
}

/// A schedule: it starts reruns of a campaign at given times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The account.
    pub account_id: AccountId,
    /// Its id.
    pub id: ScheduleId,
    /// The campaign.
    pub campaign_id: CampaignId,
    /// Its name, for people.
    pub name: String,
    /// Its times.
    pub timing: Timing,
    /// The IANA time zone of the pattern.
    pub time_zone: String,
    /// The group of each rerun; `None` for that of the current run.
    pub customer_group_id: Option<CustomerGroupId>,
    /// Where to look for messages to reuse.
    pub reuse_from: ReuseFrom,
    /// What must have changed.
    pub when: When,
    /// What happens while the campaign is not published.
    pub overlap: Overlap,
    /// How late a time is made up for, in seconds.
    pub catch_up_seconds: u32,
    /// By how much a time may be delayed, in seconds.
    pub jitter_seconds: u32,
    /// It does not fire after this time.
    pub ends_at: Option<Timestamp>,
    /// What moves with its firings.
    pub state: ScheduleState,
    /// Grows with every change.
    pub version: i64,
    /// Who made it: who initiates its reruns.
    pub created_by: UserId,
    /// That person's name, if it was known.
    pub created_by_name: Option<UserName>,
    /// That person's role.
    pub role_code: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed by a person.
    pub updated_at: Timestamp,
}

/// What moves with a schedule's firings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleState {
    /// Whether it fires.
    pub status: ScheduleStatus,
    /// The note that it was paused with, if there is one.
    pub note: Option<String>,
    /// The next time that has no firing yet, before jitter.
    pub next_time: Option<Timestamp>,
    /// When that time is due, with jitter; `None` while it is paused.
    pub due_at: Option<Timestamp>,
    /// The firing that waits for the campaign to be published.
    pub waiting: Option<FiringKey>,
    /// How many of its last firings were refused, one after the other.
    pub refusals: u32,
}

/// What names a firing within its schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FiringKey {
    /// The time before jitter.
    #[serde(with = "crate::timestamp")]
    pub scheduled_for: Timestamp,
    /// Whether a person triggered it.
    pub triggered: bool,
}

/// What became of one time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// The time.
    pub key: FiringKey,
    /// When it was decided.
    #[serde(with = "crate::timestamp")]
    pub fired_at: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
    /// The run, exactly when one was started.
    pub run_number: Option<RunNumber>,
    /// Why; the code of the refusal, if it was refused.
    pub reason: Option<String>,
}

/// A schedule with the newest of its firings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// The schedule.
    pub schedule: Schedule,
    /// Its last firing.
    pub last_firing: Option<Firing>,
}

impl Contents for ScheduleView {
    fn bytes(&self) -> usize {
        self.schedule.bytes() + self.last_firing.as_ref().map_or(0, Firing::bytes)
    }
}

impl Contents for Schedule {
    fn bytes(&self) -> usize {
        let cron = match &self.timing {
            Timing::Cron(cron) => cron.len(),
            Timing::At(_) => 0,
        };
        cron + json_bytes(&self.name)
            + self.time_zone.len()
            + text_bytes(self.state.note.as_ref())
            + self
                .created_by_name
                .as_ref()
                .map_or(0, |name| json_bytes(name.as_str()))
    }
}

impl Contents for Firing {
    fn bytes(&self) -> usize {
        text_bytes(self.reason.as_ref())
    }
}

impl Schedule {
    /// The longest name, in characters.
    pub const MAX_NAME_LENGTH: usize = 255;
    /// The longest note, in characters.
    pub const MAX_NOTE_LENGTH: usize = 2_000;
    /// The longest catch-up window, in seconds: 366 days.
    pub const MAX_CATCH_UP: u32 = 366 * 86_400;
    /// The longest jitter, in seconds: a day.
    pub const MAX_JITTER: u32 = 86_400;
    /// After this many refusals in a row it is paused.
    pub const MAX_REFUSALS: u32 = 5;
    /// The fewest minutes between two times of a pattern.
    pub const MIN_MINUTES: u32 = 15;

    /// The person for whom it acts.
    #[must_use]
    pub fn creator(&self) -> Person {
        Person {
            user_name: self.created_by_name.clone(),
            ..Person::new(self.created_by, self.role_code.as_str())
        }
    }

    /// When a time is due: after a delay that is the same wherever and whenever it is computed, and
    /// that ends before the time `after` it is due.
    #[must_use]
    pub fn due_at(&self, time: Timestamp, after: Option<Timestamp>) -> Timestamp {
        let gap = after.map_or(i64::MAX, |after| (after - time).num_milliseconds());
        let most = (i64::from(self.jitter_seconds) * 1_000).min(gap);
        if most <= 0 {
            return time;
        }
        let digest = Sha256::new()
            .chain_update(self.id.as_uuid().as_bytes())
            .chain_update(time.timestamp_millis().to_be_bytes())
            .finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        // 2⁶³ is so much larger than a day that every delay is as probable.
        let chance = i64::from_be_bytes(first) & i64::MAX;
        time + chrono::TimeDelta::milliseconds(chance % most)
    }

    /// Whether a time is not after the end.
    #[must_use]
    pub fn may_fire_at(&self, time: Timestamp) -> bool {
        self.ends_at.is_none_or(|end| time <= end)
    }

    /// The state with these as the next times: the first one, and the one after it. Without
    /// any it has ended.
    #[must_use]
    pub fn with_next(&self, times: &[Timestamp]) -> ScheduleState {
        let mut times = times.iter().copied().filter(|time| self.may_fire_at(*time));
        let next_time = times.next();
        let after = times.next();
        ScheduleState {
            status: match next_time {
                Some(_) => ScheduleStatus::Active,
                None => ScheduleStatus::Ended,
            },
            next_time,
            due_at: next_time.map(|time| self.due_at(time, after)),
            ..self.state.clone()
        }
    }

    /// The state after this firing.
    #[must_use]
    pub fn after(&self, mut state: ScheduleState, firing: &Firing) -> ScheduleState {
        if state.waiting == Some(firing.key) {
            state.waiting = None;
        }
        match firing.outcome {
            Outcome::Refused => state.refusals = state.refusals.saturating_add(1),
            Outcome::Waiting => state.waiting = Some(firing.key),
            Outcome::Started | Outcome::SkippedUnchanged => state.refusals = 0,
            Outcome::SkippedOverlap | Outcome::Missed => {}
        }
        if state.refusals >= Self::MAX_REFUSALS && state.status == ScheduleStatus::Active {
            let code = firing.reason.as_deref().unwrap_or_default();
            state.status = ScheduleStatus::Paused;
            state.note = Some(format!(
                "{} refusals in a row, the last one: {code}",
                state.refusals
            ));
            state.due_at = None;
        }
        state
    }
}

#[cfg(test)]
pub(crate) mod tests;
