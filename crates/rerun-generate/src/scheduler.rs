//! The scheduler: looks every second for schedules whose time has come, and has them decided.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rerun_core::error::chain;
use rerun_core::ports::DueSchedule;
use rerun_core::schedule::Outcome;
use rerun_core::usecases::{Fired, Schedules};
use tokio::time::{Instant, sleep_until};

use crate::observer::{Observer, Unobserved};
use crate::system::Shutdown;

/// Fires schedules until the shutdown is requested. Any number of servers may have one: a time has one
/// firing, whoever decides it.
pub struct Scheduler {
    schedules: Schedules,
    observer: Arc<dyn Observer>,
}

impl Scheduler {
    /// How long to wait before asking again when nothing more was due.
    const IDLE: Duration = Duration::from_secs(1);
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
                    look = Instant::now() + Self::IDLE;
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
