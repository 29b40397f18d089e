//! Waiting for events. One look-up at a time serves all waiting requests of the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rerun_core::error::StoreError;
use rerun_core::ids::AccountId;
use rerun_core::usecases::Events;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::readiness::Readiness;

/// The pause between two look-ups.
const INTERVAL: Duration = Duration::from_millis(100);

/// The requests of this process that wait for events. One of them looks up the newest events of all
/// their accounts and wakes the others; when it is done, another one takes over.
#[derive(Debug, Clone, Default)]
pub struct Waiters(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    turn: tokio::sync::Mutex<()>,
    heads: Mutex<HashMap<AccountId, watch::Sender<i64>>>,
}

impl Waiters {
    /// Returns when the account has an event after this number, at `until`, or when the server no
    /// longer takes requests.
    pub(crate) async fn wait(
        &self,
        events: &Events,
        (account, after): (AccountId, i64),
        until: Instant,
        readiness: &Readiness,
    ) -> Result<(), StoreError> {
        let mut head = self.subscribe(account);
        tokio::select! {
            biased;
            _ = head.wait_for(|head| *head > after) => Ok(()),
            () = tokio::time::sleep_until(until) => Ok(()),
            done = self.look_up(events, readiness) => done,
        }
    }

    fn heads(&self) -> MutexGuard<'_, HashMap<AccountId, watch::Sender<i64>>> {
        self.0.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribe(&self, account: AccountId) -> watch::Receiver<i64> {
        let mut heads = self.heads();
        let head = heads.entry(account).or_insert_with(|| watch::channel(0).0);
        head.subscribe()
    }

    /// Looks up again and again for all, when it is this one's turn. Ends when the server no longer
    /// takes requests.
    async fn look_up(&self, events: &Events, readiness: &Readiness) -> Result<(), StoreError> {
        let _turn = self.0.turn.lock().await;
        while readiness.get() {
            let accounts = self.accounts();
            for (account, seq) in events.heads(&accounts).await? {
                if let Some(head) = self.heads().get(&account) {
                    head.send_if_modified(|head| std::mem::replace(head, seq) != seq);
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }

    /// The accounts that are waited for.
    fn accounts(&self) -> Vec<AccountId> {
        let mut heads = self.heads();
        heads.retain(|_, head| head.receiver_count() > 0);
        heads.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests;
