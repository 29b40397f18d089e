use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rerun_core::ids::LeaseId;
use tokio::time::Instant;

/// The leases that deliveries on their way are under.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<BTreeMap<LeaseId, Held>>);

#[derive(Debug)]
struct Held {
    deliveries: usize,
    until: Instant,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<LeaseId, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, lease: LeaseId, deliveries: usize, until: Instant) {
        self.lock().insert(lease, Held { deliveries, until });
    }

    /// Whether the lease has ended by itself.
    pub(super) fn is_over(&self, lease: LeaseId) -> bool {
        self.lock()
            .get(&lease)
            .is_none_or(|held| held.until <= Instant::now())
    }

    /// The attempt at one of the lease's deliveries has ended.
    pub(super) fn done(&self, lease: LeaseId) {
        let mut leases = self.lock();
        if let Some(held) = leases.get_mut(&lease) {
            held.deliveries = held.deliveries.saturating_sub(1);
            if held.deliveries == 0 {
                leases.remove(&lease);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<LeaseId> {
        self.lock().keys().copied().collect()
    }
}
