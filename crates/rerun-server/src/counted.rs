use std::time::Duration;

use rerun_core::delivery::Outcome;
use rerun_core::generation::{FailureKind, Settled, Usage};
use rerun_core::usecases::{Fired, PreviewedGroup};
use rerun_generate::Observer;
use rerun_metrics::Metrics;

/// Counts what a worker, a scheduler, a dispatcher or a publisher does in the metrics of the process.
#[derive(Debug)]
pub struct Counted(pub Metrics);

impl Observer for Counted {
    fn call_began(&self) {
        self.0.call_began();
    }

    fn call_ended(&self) {
        self.0.call_ended();
    }

    fn call_returned(&self, result: Result<(), FailureKind>, took: Duration) {
        self.0.call_returned(result, took);
    }

    fn tokens_used(&self, usage: &Usage) {
        self.0.tokens_used(usage);
    }

    fn settled(&self, results: usize, settled: Settled) {
        self.0.settled(results, settled);
    }

    fn fired(&self, fired: &Fired) {
        self.0.schedule_fired(fired);
    }

    fn group_previewed(&self, previewed: &PreviewedGroup) {
        self.0.group_previewed(previewed);
    }
}

impl rerun_deliver::Observer for Counted {
    fn attempted(&self, outcome: &Outcome) {
        self.0.delivery_attempted(outcome);
    }

    fn published(&self, events: u64) {
        self.0.events_published(events);
    }

    fn publication_failed(&self) {
        self.0.publication_failed();
    }
}
