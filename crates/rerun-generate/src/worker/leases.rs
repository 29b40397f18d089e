use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rerun_core::ids::LeaseId;
use tokio::time::Instant;

/// The leases that hold something, as far as this worker knows.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<LeaseId, Held>>);

#[derive(Debug)]
struct Held {
    /// Messages whose results have not been stored.
    messages: usize,
    /// How many of these results are there.
    made: usize,
    until: Instant,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseId, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, lease: LeaseId, messages: usize, until: Instant) {
        let held = Held {
            messages,
            made: 0,
            until,
        };
        self.lock().insert(lease, held);
    }

    /// There is a result under the lease.
    pub(super) fn made_one(&self, lease: LeaseId) {
        if let Some(held) = self.lock().get_mut(&lease) {
            held.made += 1;
        }
    }

    /// Whether there are results that have not been stored.
    pub(super) fn have_results(&self) -> bool {
        self.lock().values().any(|held| held.made > 0)
    }

    /// Whether results under the lease can still be stored.
    pub(super) fn hold(&self, lease: LeaseId) -> bool {
        self.lock()
            .get(&lease)
            .is_some_and(|held| Instant::now() < held.until)
    }

    pub(super) fn renewed(&self, lease: LeaseId, until: Instant) {
        if let Some(held) = self.lock().get_mut(&lease) {
            held.until = until;
        }
    }

    pub(super) fn done(&self, lease: LeaseId, messages: usize) {
        let mut leases = self.lock();
        if let Some(held) = leases.get_mut(&lease) {
            held.messages = held.messages.saturating_sub(messages);
            held.made = held.made.saturating_sub(messages);
            if held.messages == 0 {
                leases.remove(&lease);
            }
        }
    }

    pub(super) fn lost(&self, lease: LeaseId) {
        self.lock().remove(&lease);
    }

    pub(super) fn all(&self) -> Vec<LeaseId> {
        self.lock().keys().copied().collect()
    }
}
