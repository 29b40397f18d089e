use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Stamps;
use crate::delivery::{KEPT, Outcome, Parcel, Spread, Verdict, judge};
use crate::error::StoreError;
use crate::feed::PublicEvent;
use crate::ids::{AccountId, AuditEntryId, LeaseId};
use crate::ports::{
    DeliveryQueue, FanOut, FannedOut, LeaseDeliveries, SettleDelivery, SettledDelivery,
};

/// The sender's side of webhooks. A sender queues what is new, leases parcels, sends each, and
/// settles what came of it under the same lease; how many it has at once and when it sleeps is its
/// own business.
#[derive(Clone)]
pub struct Deliveries {
    queue: Arc<dyn DeliveryQueue>,
    stamps: Stamps,
    lease: Duration,
    /// The account that was served last, so that the next lease begins with the one after it.
    turn: Arc<Mutex<Option<AccountId>>>,
    /// The same for what is new.
    queued: Arc<Mutex<Option<AccountId>>>,
}

/// Parcels that were leased together.
#[derive(Debug, Clone, PartialEq)]
pub struct LeasedParcels {
    /// Their lease.
    pub lease: LeaseId,
    /// The parcels.
    pub parcels: Vec<Parcel>,
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settling {
    /// What follows from it.
    pub verdict: Verdict,
    /// What was written.
    pub settled: SettledDelivery,
}

/// The most entries that are looked at for a webhook at once.
const MAX_ENTRIES: u32 = 1_000;

/// The most accounts that one call serves; the next begins after them.
const MAX_ACCOUNTS: u32 = 32;

/// The most rows that one sweep deletes.
const MAX_SWEPT: u32 = 5_000;

fn get(turn: &Mutex<Option<AccountId>>) -> Option<AccountId> {
    *turn.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set(turn: &Mutex<Option<AccountId>>, account: Option<AccountId>) {
    *turn.lock().unwrap_or_else(PoisonError::into_inner) = account;
}

impl Deliveries {
    /// How long a lease lasts unless something else is said. It must be longer than an attempt.
    pub const LEASE: Duration = Duration::from_mins(1);

    /// Over these ports.
    #[must_use]
    pub fn new(queue: Arc<dyn DeliveryQueue>, stamps: Stamps) -> Self {
        Self {
            queue,
            stamps,
            lease: Self::LEASE,
            turn: Arc::default(),
            queued: Arc::default(),
        }
    }

    /// With leases of this length.
    #[must_use]
    pub const fn leasing_for(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long a lease lasts. A sender renews it well before.
    #[must_use]
    pub const fn lease_length(&self) -> Duration {
        self.lease
    }

    /// Queues deliveries of what is new in the logs of some accounts, which take turns.
    ///
    /// # Errors
    /// [`StoreError`]; what was queued before is queued.
    pub async fn fan_out(&self) -> Result<FannedOut, StoreError> {
        let after = get(&self.queued);
        let accounts = self.queue.accounts_behind(after, MAX_ACCOUNTS).await?;
        let found = u32::try_from(accounts.len()).unwrap_or(u32::MAX);
        // The end of the accounts: the next call begins anew.
        let ended = found < MAX_ACCOUNTS;
        let mut all = FannedOut {
            queued: 0,
            more: !ended || after.is_some(),
        };
        for account_id in &accounts {
            let request = FanOut {
                account_id: *account_id,
                entries: MAX_ENTRIES,
                now: self.stamps.clock.now(),
            };
            let one = self.queue.fan_out(request).await?;
            all.queued += one.queued;
            all.more |= one.more;
            set(&self.queued, Some(*account_id));
        }
        if ended {
            set(&self.queued, None);
        }
        Ok(all)
    }

    /// Leases up to `limit` parcels that are due. The accounts that have due deliveries share the
    /// lease, so that an account with a long queue delays no other.
    ///
    /// # Errors
    /// [`StoreError`], when nothing was leased.
    pub async fn lease(&self, limit: u32) -> Result<LeasedParcels, StoreError> {
        let now = self.stamps.clock.now();
        let lease = LeaseId::new(self.stamps.ids.next());
        let mut open = self.accounts_in_turn(limit).await?;
        let mut left = limit;
        let mut parcels = Vec::new();
        while !open.is_empty() && left > 0 {
            let mut have_more = Vec::new();
            for (turns, account_id) in (1..=open.len()).rev().zip(&open) {
                if left == 0 {
                    break;
                }
                let share = left.div_ceil(u32::try_from(turns).unwrap_or(u32::MAX));
                let request = LeaseDeliveries {
                    account_id: *account_id,
                    lease,
                    limit: share,
                    now,
                    until: now + self.lease,
                };
                let taken = match self.queue.lease_deliveries(request).await {
                    Ok(taken) => taken,
                    Err(error) if parcels.is_empty() => return Err(error),
                    // What was taken is sent; the next lease reports the error, if it remains.
                    Err(_again) => return Ok(LeasedParcels { lease, parcels }),
                };
                let number = u32::try_from(taken.len()).unwrap_or(u32::MAX);
                left = left.saturating_sub(number);
                if number >= share {
                    have_more.push(*account_id);
                }
                // Also without a parcel: what is due may have to wait for what is on its way.
                set(&self.turn, Some(*account_id));
                for delivery in taken {
                    parcels.push(Parcel {
                        account_id: *account_id,
                        webhook_id: delivery.webhook_id,
                        lease,
                        url: delivery.url,
                        secrets: delivery.secrets,
                        event: PublicEvent::of(&delivery.entry)?,
                        attempt: delivery.attempt,
                    });
                }
            }
            open = have_more;
        }
        Ok(LeasedParcels { lease, parcels })
    }

    /// The accounts with due deliveries, from the one after the last that was served.
    async fn accounts_in_turn(&self, limit: u32) -> Result<Vec<AccountId>, StoreError> {
        let most = limit.min(MAX_ACCOUNTS);
        if most == 0 {
            return Ok(Vec::new());
        }
        let now = self.stamps.clock.now();
        let after = get(&self.turn);
        let mut accounts = self.queue.accounts_due(after, most, now).await?;
        let found = u32::try_from(accounts.len()).unwrap_or(u32::MAX);
        if let Some(after) = after
            && found < most
        {
            let others = self.queue.accounts_due(None, most - found, now).await?;
            accounts.extend(others.into_iter().filter(|account| *account <= after));
        }
        if accounts.is_empty() {
            set(&self.turn, None);
        }
        Ok(accounts)
    }

    /// Prolongs a lease by its whole length from now; returns how many deliveries it still holds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn renew(&self, lease: LeaseId) -> Result<u64, StoreError> {
        let now = self.stamps.clock.now();
        self.queue
            .renew_deliveries(lease, now, now + self.lease)
            .await
    }

    /// Gives back what a lease still holds, for another sender to take at once. The attempts do
    /// not count.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn release(&self, lease: LeaseId) -> Result<u64, StoreError> {
        let now = self.stamps.clock.now();
        self.queue.release_deliveries(lease, now).await
    }

    /// Judges an attempt that has just ended, and writes what came of it.
    ///
    /// # Errors
    /// [`StoreError`]; the delivery is tried again when its lease has ended.
    pub async fn settle(&self, parcel: &Parcel, outcome: &Outcome) -> Result<Settling, StoreError> {
        let now = self.stamps.clock.now();
        let [.., high, low] = *self.stamps.ids.next().as_bytes();
        let spread = Spread::from_random(u16::from_be_bytes([high, low]));
        let verdict = judge(parcel.attempt, outcome, now, spread);
        let settle = SettleDelivery {
            account_id: parcel.account_id,
            webhook_id: parcel.webhook_id,
            sequence: parcel.event.sequence,
            lease: parcel.lease,
            attempt: outcome.attempt(now),
            verdict,
            audit_id: AuditEntryId::new(self.stamps.ids.next()),
            now,
        };
        let settled = self.queue.settle_delivery(settle).await?;
        Ok(Settling { verdict, settled })
    }

    /// Deletes a part of what is older than [`KEPT`] and of what deleted webhooks left; returns
    /// how many rows went. 0 means that nothing is left to delete.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        let before = self.stamps.clock.now() - KEPT;
        self.queue.sweep_deliveries(before, MAX_SWEPT).await
    }
}
