//! Ports implemented on the machine: its clock, new ids, and random waits. Everything else in this
//! crate is pure.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use uuid::Uuid;

use crate::ports::{Backoff, Clock, IdGenerator};
use crate::timestamp::Timestamp;

/// The clock of the machine, in whole milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the port that all others ask"
    )]
    fn now(&self) -> Timestamp {
        crate::timestamp::truncate(chrono::Utc::now())
    }
}

/// Makes UUIDs of version 7, which sort by the time they were made.
#[derive(Debug, Clone, Copy, Default)]
pub struct UuidV7;

impl IdGenerator for UuidV7 {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the port that all others ask"
    )]
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// Waits that double: the first takes 0.35 s to 0.7 s, the fourth 2.8 s to 5.6 s, none longer than 15 s.
/// Chance picks within these bounds, so that what failed together does not return together.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExponentialBackoff;

impl ExponentialBackoff {
    const SHORTEST: Duration = Duration::from_millis(350);
    // Jitter can double a wait.
    const LONGEST_BEFORE_JITTER: Duration = Duration::from_millis(7_500);
}

impl Backoff for ExponentialBackoff {
    fn delay(&self, failed: u32) -> Duration {
        // From the fifth on every wait has the same bounds.
        let skipped = usize::try_from(failed.clamp(1, 5)).unwrap_or(5) - 1;
        ExponentialBuilder::new()
            .with_min_delay(Self::SHORTEST)
            .with_max_delay(Self::LONGEST_BEFORE_JITTER)
            .with_jitter()
            .without_max_times()
            .build()
            .nth(skipped)
            .unwrap_or(Self::LONGEST_BEFORE_JITTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_has_whole_milliseconds() {
        let now = SystemClock.now();
        assert_eq!(now, crate::timestamp::truncate(now));
        // An id has the time when it was made.
        let made = UuidV7.next().get_timestamp().unwrap().to_unix().0;
        assert!(now.timestamp().abs_diff(made.try_into().unwrap()) < 60);
    }

    #[test]
    fn ids_sort_by_the_time_they_were_made() {
        let ids: Vec<Uuid> = (0..1_000).map(|_| UuidV7.next()).collect();
        assert!(ids.is_sorted());
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn waits_double_within_their_bounds() {
        let bounds = [
            (1, 350, 700),
            (2, 700, 1_400),
            (3, 1_400, 2_800),
            (4, 2_800, 5_600),
        ];
        for (failed, shortest, longest) in bounds {
            for _ in 0..200 {
                let wait = ExponentialBackoff.delay(failed).as_millis();
                assert!((shortest..=longest).contains(&wait), "{failed}: {wait} ms");
            }
        }
        for failed in [0, 5, 6, 7, u32::MAX] {
            assert!(
                ExponentialBackoff.delay(failed) <= Duration::from_secs(15),
                "{failed}"
            );
        }
    }

    #[test]
    fn five_attempts_end_within_a_minute() {
        for _ in 0..200 {
            let waits: Duration = (1..5).map(|failed| ExponentialBackoff.delay(failed)).sum();
            assert!(waits < Duration::from_mins(1), "{waits:?}");
        }
    }

    #[test]
    fn waits_differ() {
        let first = ExponentialBackoff.delay(3);
        assert!((0..100).any(|_| ExponentialBackoff.delay(3) != first));
    }
}
