//! What schedules do.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};
use rerun_core::schedule::Outcome;

/// Of firings: a server that runs looks every second, and one that was down catches up.
const SECONDS: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0, 86_400.0,
];

pub(super) struct Firings {
    outcomes: IntCounterVec,
    lateness: Histogram,
}

impl Firings {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let firings = Self {
            outcomes: IntCounterVec::new(
                Opts::new(
                    "rerun_schedule_firings_total",
                    "Times of schedules that were decided, and triggers, by their outcome.",
                ),
                &["outcome"],
            )?,
            lateness: Histogram::with_opts(
                HistogramOpts::new(
                    "rerun_schedule_lateness_seconds",
                    "How late a time of a schedule was decided, in seconds.",
                )
                .buckets(SECONDS.to_vec()),
            )?,
        };
        registry.register(Box::new(firings.outcomes.clone()))?;
        registry.register(Box::new(firings.lateness.clone()))?;
        // There at zero, so that a rate has a first value.
        for outcome in Outcome::ALL {
            firings.outcomes.with_label_values(&[outcome.as_str()]);
        }
        Ok(firings)
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.outcomes.with_label_values(&[outcome.as_str()]).inc();
    }

    /// So many times were missed because a later one is made up for.
    pub(super) fn missed(&self, times: u32) {
        let missed = Outcome::Missed.as_str();
        self.outcomes
            .with_label_values(&[missed])
            .inc_by(times.into());
    }

    /// A time was decided so late; `None` if it had waited for its campaign.
    pub(super) fn late(&self, millis: Option<u64>) {
        if let Some(millis) = millis {
            let late = Duration::from_millis(millis);
            self.lateness.observe(late.as_secs_f64());
        }
    }
}
