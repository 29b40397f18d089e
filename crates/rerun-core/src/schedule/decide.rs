//! Decides the outcome of a schedule's time.

use super::{Outcome, Overlap, Schedule, Timing, When};
use crate::error::Error;
use crate::status::CampaignStatus;
use crate::timestamp::Timestamp;

/// The times of a schedule that have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The times that a later one of them stands for.
    pub missed: Vec<Timestamp>,
    /// The last of them. `None` when there may be later ones that are not known yet.
    pub latest: Option<Timestamp>,
    /// The known times after these, in their order.
    pub next: Vec<Timestamp>,
}

/// Returns which of a schedule's times have come. `times` are the times from the next one on, in their
/// order; `complete` says that there are no more.
#[must_use]
pub fn due(schedule: &Schedule, times: &[Timestamp], complete: bool, now: Timestamp) -> Due {
    let within = times
        .iter()
        .take_while(|time| schedule.may_fire_at(**time))
        .count();
    let complete = complete || within < times.len();
    let times = times.get(..within).unwrap_or_default();
    // A time whose successor is not known yet cannot be judged: its delay is not known.
    let known = if complete {
        times.len()
    } else {
        times.len().saturating_sub(1)
    };
    let come = (0..known)
        .take_while(|i| {
            let (time, after) = (times.get(*i), times.get(i + 1));
            time.is_some_and(|time| schedule.due_at(*time, after.copied()) <= now)
        })
        .count();
    // When all that are known have come, the last of them may not be the last that has.
    let open = !complete && come == known;
    let judged = if open { come.saturating_sub(1) } else { come };
    let next = times.get(judged..).unwrap_or_default().to_vec();
    let mut missed = times.get(..judged).unwrap_or_default().to_vec();
    let latest = if open { None } else { missed.pop() };
    Due {
        missed,
        latest,
        next,
    }
}

/// A campaign, as far as a schedule's decision depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its status.
    pub status: CampaignStatus,
    /// Whether its current run is a rerun.
    pub is_rerun: bool,
}

/// What the decision about a time depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Whether a person asked for it, or it has waited: then it is never too late.
    pub is_late_allowed: bool,
    /// Whether the creator's role may initiate a rerun.
    pub may_initiate: bool,
    /// The campaign; `None` when it was deleted.
    pub campaign: Option<Standing>,
    /// Whether the group changed since the current run started; `None` when the group does not
    /// exist.
    pub group_changed: Option<bool>,
    /// Whether another firing waits.
    pub another_waits: bool,
}

/// What is to be done about a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Start the rerun.
    Start {
        /// Cancel the unpublished rerun first.
        replacing: bool,
        /// Only if there are segments without a message to reuse.
        if_new_segments: bool,
    },
    /// Write down that nothing was started.
    Settle {
        /// What became of it.
        outcome: Outcome,
        /// Why; the code of a refusal.
        reason: &'static str,
    },
}

const fn settle(outcome: Outcome, reason: &'static str) -> Decision {
    Decision::Settle { outcome, reason }
}

/// A time is on time until this many seconds after it was due, even if none is made up for.
const GRACE_SECONDS: u32 = 60;

/// Decides about a time that was due at `due_at`.
#[must_use]
pub fn decide(
    schedule: &Schedule,
    due_at: Timestamp,
    context: &Context,
    now: Timestamp,
) -> Decision {
    let late = (now - due_at).num_milliseconds();
    let window = i64::from(schedule.catch_up_seconds.max(GRACE_SECONDS)) * 1_000;
    if late > window && !context.is_late_allowed {
        return settle(Outcome::Missed, "older than the catch-up window");
    }
    if !context.may_initiate {
        return settle(Outcome::Refused, "unauthorized");
    }
    let Some(campaign) = context.campaign else {
        return settle(Outcome::Refused, Error::CampaignNotFound.code());
    };
    let published = campaign.status == CampaignStatus::Published;
    match schedule.overlap {
        _ if published => {}
        Overlap::Skip => return settle(Outcome::SkippedOverlap, "the campaign is not published"),
        Overlap::Wait if context.another_waits => {
            return settle(Outcome::SkippedOverlap, "another time waits already");
        }
        Overlap::Wait => return settle(Outcome::Waiting, "the campaign is not published"),
        Overlap::Replace if campaign.is_rerun => {}
        Overlap::Replace => {
            let refusal = Error::CampaignNotPublished(campaign.status);
            return settle(Outcome::Refused, refusal.code());
        }
    }
    let Some(changed) = context.group_changed else {
        return settle(Outcome::Refused, Error::CustomerGroupNotFound.code());
    };
    // A group that is the same has the same segments. Only what may be reused may have changed.
    let same = !changed && (schedule.when == When::GroupChanged || !published);
    if same && schedule.when != When::Always {
        return settle(Outcome::SkippedUnchanged, "the group did not change");
    }
    Decision::Start {
        replacing: !published,
        if_new_segments: schedule.when == When::NewSegments,
    }
}

impl Schedule {
    /// The pattern, if it has one.
    #[must_use]
    pub fn cron(&self) -> Option<&str> {
        match &self.timing {
            Timing::Cron(cron) => Some(cron),
            Timing::At(_) => None,
        }
    }
}
