//! How long jobs wait for their connections, and how the connections are used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rerun_core::ports::{PoolUsage, Waits};
use tracing::Span;

/// Counts waits, shared by the clones of a database.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    waiting: AtomicU64,
    timeouts: AtomicU64,
    jobs: [AtomicU64; Waits::BOUNDS.len() + 1],
    total_micros: AtomicU64,
}

impl Meter {
    /// Begins a wait.
    pub(crate) fn wait(self: &Arc<Self>) -> Wait {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Wait {
            meter: Arc::clone(self),
            since: Instant::now(),
            // At the default filter nobody asks for it, and it costs as little as the question.
            span: tracing::debug_span!("database"),
        }
    }

    /// How connections are used that jobs waited for.
    pub(crate) fn usage(&self, size: u32, in_use: u32, idle: u32) -> PoolUsage {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PoolUsage {
            size,
            in_use,
            idle,
            waiting: count(&self.waiting),
            timeouts: count(&self.timeouts),
            waits: Waits {
                jobs: std::array::from_fn(|group| self.jobs.get(group).map_or(0, count)),
                total_micros: count(&self.total_micros),
            },
        }
    }
}

/// A job's wait for its connection, which ends when this is dropped.
#[derive(Debug)]
pub struct Wait {
    meter: Arc<Meter>,
    since: Instant,
    /// The job's span, wait included.
    pub(crate) span: Span,
}

impl Wait {
    /// Notes that the job was given up.
    pub fn timed_out(self) {
        self.meter.timeouts.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let waited = self.since.elapsed();
        let group = Waits::BOUNDS.partition_point(|bound| *bound < waited);
        if let Some(jobs) = self.meter.jobs.get(group) {
            jobs.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.meter.total_micros.fetch_add(micros, Ordering::Relaxed);
        self.meter.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
