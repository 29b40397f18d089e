use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, LeaseId};
use rerun_core::usecases::{Generation, LeasedTasks};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a lease holds of an account.
pub(super) type Part = (LeaseId, AccountId);

/// The leases that hold something, as far as this worker knows.
#[derive(Debug, Default)]
pub(super) struct Leases {
    known: Mutex<Known>,
    /// Something was leased.
    leased: Notify,
    /// One of the lanes was woken. Each of them must look: what there is may be of an account that is in another lane.
    pub(super) woken: Notify,
}

#[derive(Debug, Default)]
struct Known {
    held: BTreeMap<Part, Held>,
    /// The accounts that lanes are leasing from.
    leasing: BTreeSet<(usize, AccountId)>,
}

impl Known {
    /// The accounts that other lanes have, or are leasing from.
    fn of_others(&self, lane: usize) -> BTreeSet<AccountId> {
        let held = self
            .held
            .iter()
            .map(|((_, account), held)| (held.lane, *account));
        let all = held.chain(self.leasing.iter().copied());
        let others = all.filter(|(of, _)| *of != lane);
        others.map(|(_, account)| account).collect()
    }
}

/// The accounts that a lane is leasing from. They are given up when this is dropped.
struct Claims<'a> {
    leases: &'a Leases,
    lane: usize,
}

impl Claims<'_> {
    /// Unless another lane has the account.
    fn claim(&self, account: AccountId) -> bool {
        let mut known = self.leases.known();
        let free = !known.of_others(self.lane).contains(&account);
        if free {
            known.leasing.insert((self.lane, account));
        }
        free
    }
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        self.leases
            .known()
            .leasing
            .retain(|(lane, _)| *lane != self.lane);
    }
}

#[derive(Debug)]
struct Held {
    /// In which lane of the worker it is.
    lane: usize,
    /// Messages whose results have not been stored.
    messages: usize,
    /// How many of these results are there, and were not offered to the store.
    made: usize,
    until: Instant,
}

impl Leases {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until another lane has something, unless this is the first lane. So one lane alone asks while there is
    /// nothing to do.
    pub(super) async fn until_needed(&self, lane: usize) {
        loop {
            let leased = self.leased.notified();
            if lane == 0 || !self.known().of_others(lane).is_empty() {
                break;
            }
            leased.await;
        }
    }

    /// Leases tasks of an account that no other lane has.
    ///
    /// # Errors
    /// [`StoreError`], when nothing was leased.
    pub(super) async fn lease(
        &self,
        lane: usize,
        generation: &Generation,
        messages: u32,
    ) -> Result<LeasedTasks, StoreError> {
        let until = Instant::now() + generation.policy().lease;
        let claims = Claims { leases: self, lane };
        let busy = self.known().of_others(lane).len();
        let claim = |account| claims.claim(account);
        let got = generation.lease_from_one(messages, busy, claim).await?;
        let accounts = got.tasks.iter().map(|task| task.account_id);
        self.add(lane, got.lease, accounts, until);
        self.leased.notify_waiters();
        Ok(got)
    }

    /// A lease of a lane until then, with a message of each of these accounts.
    fn add(
        &self,
        lane: usize,
        lease: LeaseId,
        accounts: impl IntoIterator<Item = AccountId>,
        until: Instant,
    ) {
        let mut known = self.known();
        for account in accounts {
            let held = known.held.entry((lease, account)).or_insert(Held {
                lane,
                messages: 0,
                made: 0,
                until,
            });
            held.messages += 1;
        }
    }

    /// There is a result under the lease.
    pub(super) fn made_one(&self, part: Part) {
        if let Some(held) = self.known().held.get_mut(&part) {
            held.made += 1;
        }
    }

    /// Results were offered to the store.
    pub(super) fn offered(&self, part: Part, messages: usize) {
        if let Some(held) = self.known().held.get_mut(&part) {
            held.made = held.made.saturating_sub(messages);
        }
    }

    /// Whether there are results that have not been offered to the store.
    pub(super) fn have_results(&self) -> bool {
        self.known().held.values().any(|held| held.made > 0)
    }

    /// Whether results under the lease can still be stored.
    pub(super) fn hold(&self, part: Part) -> bool {
        self.known()
            .held
            .get(&part)
            .is_some_and(|held| Instant::now() < held.until)
    }

    pub(super) fn renewed(&self, lease: LeaseId, until: Instant) {
        for ((of, _), held) in &mut self.known().held {
            if *of == lease {
                held.until = until;
            }
        }
    }

    pub(super) fn done(&self, part: Part, messages: usize) {
        let mut known = self.known();
        if let Some(held) = known.held.get_mut(&part) {
            held.messages = held.messages.saturating_sub(messages);
            if held.messages == 0 {
                known.held.remove(&part);
            }
        }
    }

    /// A lease holds nothing any more.
    pub(super) fn lost(&self, lease: LeaseId) {
        self.known().held.retain(|(of, _), _| *of != lease);
    }

    /// What a lease holds of an account cannot be stored.
    pub(super) fn give_up(&self, part: Part) {
        self.known().held.remove(&part);
    }

    pub(super) fn all(&self) -> BTreeSet<LeaseId> {
        self.known().held.keys().map(|(lease, _)| *lease).collect()
    }
}
