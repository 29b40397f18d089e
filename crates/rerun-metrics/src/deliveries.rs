//! What the dispatcher and the publisher of events do.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};
use rerun_core::delivery::{Outcome, SendError};

/// Of attempts: a receiver nearby takes milliseconds, and one that hangs takes the whole timeout.
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0,
];

const DELIVERED: &str = "delivered";
const REFUSED: &str = "refused";

pub(super) struct Deliveries {
    attempts: IntCounterVec,
    seconds: Histogram,
    published: IntCounter,
    unpublished: IntCounter,
}

impl Deliveries {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let deliveries = Self {
            attempts: IntCounterVec::new(
                Opts::new(
                    "rerun_webhook_attempts_total",
                    "Attempts to deliver an event to a webhook, by their outcome: delivered, \
                     refused (a status other than 2xx), or the reason why there was no response.",
                ),
                &["outcome"],
            )?,
            seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "rerun_webhook_attempt_duration_seconds",
                    "Duration of attempts to deliver an event to a webhook, in seconds.",
                )
                .buckets(SECONDS.to_vec()),
            )?,
            published: IntCounter::new(
                "rerun_events_published_total",
                "Events that this process published in the NATS stream.",
            )?,
            unpublished: IntCounter::new(
                "rerun_event_publication_failures_total",
                "Attempts to publish events in the NATS stream that failed.",
            )?,
        };
        registry.register(Box::new(deliveries.attempts.clone()))?;
        registry.register(Box::new(deliveries.seconds.clone()))?;
        registry.register(Box::new(deliveries.published.clone()))?;
        registry.register(Box::new(deliveries.unpublished.clone()))?;
        // There at zero, so that a rate has a first value.
        let errors = SendError::ALL.iter().map(|error| error.as_str());
        for outcome in [DELIVERED, REFUSED].into_iter().chain(errors) {
            deliveries.attempts.with_label_values(&[outcome]);
        }
        Ok(deliveries)
    }

    pub(super) fn published(&self, events: u64) {
        self.published.inc_by(events);
    }

    pub(super) fn publication_failed(&self) {
        self.unpublished.inc();
    }

    pub(super) fn count(&self, outcome: &Outcome) {
        let name = match outcome.response {
            Ok(_) if outcome.is_delivered() => DELIVERED,
            Ok(_) => REFUSED,
            Err(error) => error.as_str(),
        };
        self.attempts.with_label_values(&[name]).inc();
        self.seconds.observe(outcome.duration.as_secs_f64());
    }
}
