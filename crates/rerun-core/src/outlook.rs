//! Computes what a rerun to the current run's group would change, after imports into that group.

use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::plan::RunPlan;
use crate::segment::SegmentKey;
use crate::timestamp::{CLOCK_TOLERANCE, Timestamp};

/// How long nothing must be imported into a group before its reruns are previewed.
pub const QUIET: Duration = Duration::from_secs(10);

/// How long after its first import a group is previewed at the latest.
pub const LATEST: Duration = Duration::from_secs(40);

/// How long after a failed preview the group is previewed again.
pub const RETRY: Duration = Duration::from_mins(1);

/// How often the preview of a group is tried.
pub const MOST_ATTEMPTS: u32 = 5;

/// How long a preview's lease lasts unless it is renewed.
pub const LEASE: Duration = Duration::from_mins(1);

/// The times by which a queue of changed groups decides at `now`.
///
/// No due time and no lease is further in the future than the constants above say. One that is was
/// set before the clock went back, and counts as past. Therefore nothing stops when a clock changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Now.
    pub now: Timestamp,
    /// A due time after this one was set before the clock went back.
    pub due_horizon: Timestamp,
    /// The end of a lease that begins now.
    pub lease_until: Timestamp,
    /// A lease that ends after this time was taken before the clock went back.
    pub lease_horizon: Timestamp,
}

impl Times {
    /// Returns the times at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        let longest = QUIET.max(LATEST).max(RETRY);
        Self {
            now,
            due_horizon: now + longest + CLOCK_TOLERANCE,
            lease_until: now + LEASE,
            lease_horizon: now + LEASE + CLOCK_TOLERANCE,
        }
    }

    /// Whether a group that is due at this time can be taken.
    #[must_use]
    pub fn is_due(&self, due_at: Timestamp) -> bool {
        due_at <= self.now || due_at > self.due_horizon
    }

    /// Whether a lease until this time is still alive.
    #[must_use]
    pub fn is_alive(&self, lease_until: Timestamp) -> bool {
        lease_until > self.now && lease_until <= self.lease_horizon
    }
}

/// When a group that is imported into is previewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// At this time, if nothing more is imported.
    pub at: Timestamp,
    /// At this time at the latest.
    pub latest: Timestamp,
}

impl Due {
    /// Returns the times after an import into a group that does not wait for a preview.
    #[must_use]
    pub fn after_import(now: Timestamp) -> Self {
        Self {
            at: now + QUIET,
            latest: now + LATEST,
        }
    }

    /// Returns the times after one more import into a group that waits.
    #[must_use]
    pub fn put_off(self, now: Timestamp) -> Self {
        let again = Self::after_import(now);
        Self {
            at: self.latest.min(again.at),
            latest: self.latest.min(again.latest),
        }
    }
}

/// A segment of a run, with its customers when the run started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunSegment {
    /// Its key by the campaign's value rules of now.
    pub key: SegmentKey,
    /// Its customers.
    pub customer_count: i64,
}

/// How many of something a rerun would match, generate and leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Shares {
    /// In segments that reuse a message.
    pub matched: u64,
    /// In segments that need a new message.
    pub new: u64,
    /// In segments of the current run that the group does not have any more.
    pub gone: u64,
}

/// What a rerun would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// The segments.
    pub segments: Shares,
    /// Their customers: for those that are gone, as many as the run had.
    pub customers: Shares,
    /// A hash of the numbers above, the run, and the segments that are new and gone. The same
    /// outlook has the same hash.
    pub digest: [u8; 32],
}

impl Outlook {
    /// Compares a plan with the segments of the current run. Returns `None` when the run has a
    /// message for each segment of the group and no others: a rerun would change nothing.
    #[must_use]
    pub fn of(plan: &RunPlan, current: &[RunSegment]) -> Option<Self> {
        let (mut segments, mut customers) = (Shares::default(), Shares::default());
        let number = |count: i64| u64::try_from(count).unwrap_or_default();
        let mut new = Vec::new();
        for item in &plan.items {
            if item.reuses.is_some() {
                segments.matched += 1;
                customers.matched += number(item.customer_count);
            } else {
                segments.new += 1;
                customers.new += number(item.customer_count);
                new.push(item.key);
            }
        }
        let there: HashSet<SegmentKey> = plan.items.iter().map(|item| item.key).collect();
        let mut gone = Vec::new();
        for segment in current.iter().filter(|one| !there.contains(&one.key)) {
            segments.gone += 1;
            customers.gone += number(segment.customer_count);
            gone.push(segment.key);
        }
        if new.is_empty() && gone.is_empty() {
            return None;
        }
        let mut digest = Sha256::new();
        let run = plan.previous_run.map_or(0, crate::ids::RunNumber::get);
        digest.update(run.to_be_bytes());
        for shares in [segments, customers] {
            for count in [shares.matched, shares.new, shares.gone] {
                digest.update(count.to_be_bytes());
            }
        }
        for mut keys in [new, gone] {
            keys.sort_unstable();
            for key in keys {
                digest.update(key.as_bytes());
            }
        }
        Some(Self {
            segments,
            customers,
            digest: digest.finalize().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::{MessageId, RunNumber};
    use crate::message::ReusedFrom;
    use crate::plan::PlannedSegment;
    use crate::run::SegmentCounts;
    use crate::status::CampaignStatus;

    #[test]
    fn a_time_that_the_clock_cannot_have_set_counts_as_come() {
        let now = Timestamp::UNIX_EPOCH;
        let times = Times::at(now);
        let tick = Duration::from_millis(1);
        let horizon = now + RETRY + CLOCK_TOLERANCE;
        for (due_at, is_due) in [
            (now, true),
            (now + tick, false),
            (horizon, false),
            (horizon + tick, true),
        ] {
            assert_eq!(times.is_due(due_at), is_due, "{due_at}");
        }
        let horizon = now + LEASE + CLOCK_TOLERANCE;
        for (until, is_alive) in [
            (now, false),
            (now + tick, true),
            (horizon, true),
            (horizon + tick, false),
        ] {
            assert_eq!(times.is_alive(until), is_alive, "{until}");
        }
    }

    fn key(country: &str) -> SegmentKey {
        SegmentKey::of([("country", Some(country))])
    }

    /// A plan of segments with their customers, after run 1; the matched ones first.
    fn plan(matched: &[(&str, i64)], new: &[(&str, i64)]) -> RunPlan {
        let reused = ReusedFrom {
            message_id: MessageId::new(Uuid::nil()),
            run_number: RunNumber::FIRST,
        };
        let item = |reuses: Option<ReusedFrom>| {
            move |(country, customer_count): &(&str, i64)| PlannedSegment {
                key: key(country),
                customer_count: *customer_count,
                reuses,
            }
        };
        let matched = matched.iter().map(item(Some(reused)));
        RunPlan {
            run_number: RunNumber::new(2).unwrap(),
            previous_run: Some(RunNumber::FIRST),
            archived_messages: 0,
            segments: SegmentCounts {
                total: 0,
                matched: 0,
                new: 0,
            },
            customer_count: 0,
            fields: Vec::new(),
            resulting_status: CampaignStatus::ReadyForReview,
            items: matched.chain(new.iter().map(item(None))).collect(),
        }
    }

    fn run(segments: &[(&str, i64)]) -> Vec<RunSegment> {
        let segment = |(country, customer_count): &(&str, i64)| RunSegment {
            key: key(country),
            customer_count: *customer_count,
        };
        segments.iter().map(segment).collect()
    }

    #[test]
    fn an_outlook_counts_what_is_matched_new_and_gone() {
        let plan = plan(&[("DE", 5), ("FR", 1)], &[("ES", 3)]);
        let outlook = Outlook::of(&plan, &run(&[("DE", 2), ("FR", 1), ("IT", 7)])).unwrap();
        let shares = |matched, new, gone| Shares { matched, new, gone };
        assert_eq!(outlook.segments, shares(2, 1, 1));
        assert_eq!(outlook.customers, shares(6, 3, 7));
    }

    /// A message of the current run that cannot be reused is made again: its segment is new, and
    /// not gone.
    #[test]
    fn a_segment_that_is_there_is_not_gone() {
        let outlook = Outlook::of(&plan(&[], &[("DE", 5)]), &run(&[("DE", 5)])).unwrap();
        assert_eq!((outlook.segments.new, outlook.segments.gone), (1, 0));
    }

    #[test]
    fn the_same_segments_are_no_change() {
        let more_customers = plan(&[("DE", 50), ("FR", 1)], &[]);
        assert_eq!(
            Outlook::of(&more_customers, &run(&[("DE", 5), ("FR", 1)])),
            None
        );
    }

    #[test]
    fn a_digest_is_of_numbers_and_segments() {
        let digest = |matched, new, current| Outlook::of(&plan(matched, new), &run(current));
        let one = digest(&[("DE", 5)], &[("ES", 1)], &[("DE", 5)]).unwrap();
        let same = digest(&[("DE", 5)], &[("ES", 1)], &[("DE", 4)]).unwrap();
        assert_eq!(one.digest, same.digest);
        for other in [
            digest(&[("DE", 5)], &[("IT", 1)], &[("DE", 5)]),
            digest(&[("DE", 6)], &[("ES", 1)], &[("DE", 5)]),
            digest(&[("DE", 5)], &[("ES", 2)], &[("DE", 5)]),
            digest(&[("DE", 5)], &[("ES", 1)], &[("DE", 5), ("IT", 1)]),
            digest(&[("DE", 5)], &[], &[("DE", 5), ("ES", 1)]),
        ] {
            assert_ne!(one.digest, other.unwrap().digest);
        }
        let of_next_run = RunPlan {
            previous_run: RunNumber::new(2),
            ..plan(&[("DE", 5)], &[("ES", 1)])
        };
        let of_next_run = Outlook::of(&of_next_run, &run(&[("DE", 5)])).unwrap();
        assert_ne!(one.digest, of_next_run.digest);
    }

    #[test]
    fn imports_put_a_preview_off_but_not_for_ever() {
        let start = Timestamp::UNIX_EPOCH;
        let mut due = Due::after_import(start);
        assert_eq!(due.at, start + QUIET);
        for second in 1..100 {
            let now = start + Duration::from_secs(second);
            due = due.put_off(now);
            assert_eq!(due.at, (now + QUIET).min(start + LATEST));
        }
        assert!(LATEST + LEASE / 3 <= Duration::from_mins(1));
        // The clock goes back: the preview is not put off until it has caught up.
        let back = start - Duration::from_hours(1);
        assert_eq!(due.put_off(back), Due::after_import(back));
    }

    #[test]
    fn nothing_waits_for_a_clock_that_went_back() {
        let now = Timestamp::UNIX_EPOCH;
        let times = Times::at(now);
        let hour = Duration::from_hours(1);
        assert!(times.is_due(now) && times.is_due(now + hour));
        assert!(!times.is_due(now + LATEST) && !times.is_due(now + RETRY));
        assert!(times.is_alive(now + LEASE) && !times.is_alive(now + hour));
        assert!(!times.is_alive(now));
    }
}
