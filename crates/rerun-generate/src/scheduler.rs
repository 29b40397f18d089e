//! The scheduler: looks every second for schedules whose time has come, and has them decided.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use rerun_core::error::{StoreError, chain};
use rerun_core::ports::DueSchedule;
use rerun_core::schedule::Outcome;
use rerun_core::usecases::{Fired, Schedules};
use tokio::time::sleep;

use crate::observer::{Observer, Unobserved};
use crate::system::Shutdown;

/// Fires schedules until the shutdown is requested. Any number of servers may have one: a time has one
/// firing, whoever decides it.
pub struct Scheduler {
    schedules: Schedules,
    observer: Arc<dyn Observer>,
}

impl Scheduler {
    /// How long to wait before asking again when nothing was due.
    const IDLE: Duration = Duration::from_secs(1);
    /// The most schedules that are leased at once.
    const BATCH: u32 = 64;
    /// Schedules that are decided at the same time.
    const CONCURRENCY: usize = 4;

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
    pub async fn run(&self, shutdown: &Shutdown) {
        while !shutdown.is_requested() {
            let was_full = match self.schedules.lease(Self::BATCH).await {
                Ok(due) => {
                    let full = u32::try_from(due.len()).is_ok_and(|due| due == Self::BATCH);
                    let firing = |due| self.fire(due);
                    let firings = stream::iter(due);
                    firings.for_each_concurrent(Self::CONCURRENCY, firing).await;
                    full
                }
                Err(error) => {
                    warn(&error);
                    false
                }
            };
            if was_full {
                continue;
            }
            tokio::select! {
                () = sleep(Self::IDLE) => {}
                () = shutdown.requested() => {}
            }
        }
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

fn warn(error: &StoreError) {
    tracing::warn!(error = chain(error), "due schedules could not be looked up");
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
