use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rerun_core::ids::{AccountId, LeaseId};
use tokio::time::Instant;

/// What a lease holds of an account.
pub(super) type Part = (LeaseId, AccountId);

/// The leases that hold something, as far as this worker knows.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<BTreeMap<Part, Held>>);

#[derive(Debug)]
struct Held {
    /// Messages whose results have not been stored.
    messages: usize,
    /// How many of these results are there, and were not offered to the store.
    made: usize,
    until: Instant,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Part, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lease until then, with a message of each of these accounts.
    pub(super) fn add(
        &self,
        lease: LeaseId,
        accounts: impl IntoIterator<Item = AccountId>,
        until: Instant,
    ) {
        let mut leases = self.lock();
        for account in accounts {
            let held = leases.entry((lease, account)).or_insert(Held {
                messages: 0,
                made: 0,
                until,
            });
            held.messages += 1;
        }
    }

    /// There is a result under the lease.
    pub(super) fn made_one(&self, part: Part) {
        if let Some(held) = self.lock().get_mut(&part) {
            held.made += 1;
        }
    }

    /// Results were offered to the store.
    pub(super) fn offered(&self, part: Part, messages: usize) {
        if let Some(held) = self.lock().get_mut(&part) {
            held.made = held.made.saturating_sub(messages);
        }
    }

    /// Whether there are results that have not been offered to the store.
    pub(super) fn have_results(&self) -> bool {
        self.lock().values().any(|held| held.made > 0)
    }

    /// Whether results under the lease can still be stored.
    pub(super) fn hold(&self, part: Part) -> bool {
        self.lock()
            .get(&part)
            .is_some_and(|held| Instant::now() < held.until)
    }

    pub(super) fn renewed(&self, lease: LeaseId, until: Instant) {
        for ((of, _), held) in self.lock().iter_mut() {
            if *of == lease {
                held.until = until;
            }
        }
    }

    pub(super) fn done(&self, part: Part, messages: usize) {
        let mut leases = self.lock();
        if let Some(held) = leases.get_mut(&part) {
            held.messages = held.messages.saturating_sub(messages);
            if held.messages == 0 {
                leases.remove(&part);
            }
        }
    }

    /// A lease holds nothing any more.
    pub(super) fn lost(&self, lease: LeaseId) {
        self.lock().retain(|(of, _), _| *of != lease);
    }

    /// What a lease holds of an account cannot be stored.
    pub(super) fn give_up(&self, part: Part) {
        self.lock().remove(&part);
    }

    pub(super) fn all(&self) -> BTreeSet<LeaseId> {
        self.lock().keys().map(|(lease, _)| *lease).collect()
    }
}
