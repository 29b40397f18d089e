//! The scheduler: looks for due schedules at the start of every second, and fires them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rerun_core::Timestamp;
use rerun_core::error::chain;
use rerun_core::ports::{Clock, DueSchedule};
use rerun_core::schedule::Outcome;
use rerun_core::system::SystemClock;
use rerun_core::usecases::{Fired, Schedules};
use tokio::time::{Instant, sleep_until};

use crate::observer::{Observer, Unobserved};
use crate::system::Shutdown;

/// Fires schedules until the shutdown is requested. Several servers may run one each: every due time
/// still has exactly one firing.
pub struct Scheduler {
    schedules: Schedules,
    observer: Arc<dyn Observer>,
}

impl Scheduler {
    /// Schedules that are decided at the same time. More are not leased: what a server that is killed
    /// has leased fires late.
    const CONCURRENCY: u32 = 8;
    /// So many places must be free before more schedules are leased: a lease is a transaction.
    const WORTH_A_LEASE: u32 = 4;

    /// Over these use cases.
    #[must_use]
    pub fn new(schedules: Schedules) -> Self {
        Self {
            schedules,
            observer: Arc::new(Unobserved),
        }
    }

    /// Reports what it does to this observer.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// Fires what is due until `shutdown` is requested. What is being decided then is decided.
    ///
    /// A rerun that takes long to plan takes one place, and delays no other schedule.
    pub async fn run(&self, shutdown: &Shutdown) {
        let mut firing = FuturesUnordered::new();
        let mut look = Instant::now();
        while !shutdown.is_requested() {
            let busy = u32::try_from(firing.len()).unwrap_or(u32::MAX);
            let free = Self::CONCURRENCY.saturating_sub(busy);
            let is_worth_it = free >= Self::WORTH_A_LEASE;
            if is_worth_it && look <= Instant::now() {
                let due = self.lease(free).await;
                let was_full = u32::try_from(due.len()).is_ok_and(|due| due >= free);
                firing.extend(due.into_iter().map(|due| self.fire(due)));
                if !was_full {
                    look = Instant::now() + until_next_second(SystemClock.now());
                }
                continue;
            }
            tokio::select! {
                Some(()) = firing.next() => {}
                () = sleep_until(look), if is_worth_it => {}
                () = shutdown.requested() => {}
            }
        }
        while firing.next().await.is_some() {}
    }

    async fn lease(&self, limit: u32) -> Vec<DueSchedule> {
        let leased = self.schedules.lease(limit).await;
        leased.unwrap_or_else(|error| {
            let error = chain(&error);
            tracing::warn!(error, "due schedules could not be looked up");
            Vec::new()
        })
    }

    async fn fire(&self, due: DueSchedule) {
        match self.schedules.fire(due).await {
            Ok(Some(fired)) => {
                log(&fired);
                self.observer.fired(&fired);
            }
            Ok(None) => {}
            Err(error) => {
                // It is due again when the lease ends.
                tracing::warn!(
                    schedule_id = %due.id,
                    error = chain(&error),
                    "a schedule could not be fired"
                );
            }
        }
    }
}

/// How long it is until the next second begins. Nearly all times are at the start of a minute: whoever
/// looks at the start of a second is not late.
fn until_next_second(now: Timestamp) -> Duration {
    let passed = Duration::from_nanos(now.timestamp_subsec_nanos().into());
    // A leap second has more than a second's nanoseconds.
    Duration::from_secs(1)
        .checked_sub(passed)
        .unwrap_or_default()
        .max(Duration::from_millis(1))
}

fn log(fired: &Fired) {
    let firing = &fired.firing;
    let (schedule_id, outcome, reason) = (fired.schedule_id, firing.outcome, &firing.reason);
    let run_number = firing.run_number.map(rerun_core::RunNumber::get);
    let late_ms = fired.late_millis;
    let missed = fired.missed;
    if outcome == Outcome::Refused {
        tracing::warn!(%schedule_id, reason, "a schedule was refused");
    } else {
        tracing::info!(%schedule_id, %outcome, run_number, late_ms, missed, "a schedule fired");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_when_a_second_begins() {
        let after = |text: &str| until_next_second(text.parse().unwrap());
        assert_eq!(after("2026-01-01T09:00:00Z"), Duration::from_secs(1));
        let nearly = after("2026-01-01T09:00:00.750Z");
        assert_eq!(nearly, Duration::from_millis(250));
        // Never at once again.
        let last = after("2026-01-01T08:59:59.999999Z");
        assert_eq!(last, Duration::from_millis(1));
        let leap = after("2016-12-31T23:59:60.5Z");
        assert_eq!(leap, Duration::from_millis(1));
    }
}
