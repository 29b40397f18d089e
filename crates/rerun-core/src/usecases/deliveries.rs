use std::sync::Arc;
use std::time::Duration;

use super::Host;
use super::turns::Turn;
use crate::delivery::{KEPT, Outcome, Parcel, Spread, Verdict, judge};
use crate::error::StoreError;
use crate::feed::PublicEvent;
use crate::ids::{AuditEntryId, LeaseId};
use crate::ports::{
    DeliveryQueue, FanOut, FannedOut, LeaseDeliveries, SettleDelivery, SettledDelivery,
};

/// The sender's side of webhooks. A sender queues what is new, leases parcels, sends each, and
/// settles what came of it under the same lease; how many it has at once and when it sleeps is its
/// own business.
#[derive(Clone)]
pub struct Deliveries {
    queue: Arc<dyn DeliveryQueue>,
    host: Host,
    lease: Duration,
    turn: Turn,
    /// The turn of what is new.
    queued: Turn,
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

impl Deliveries {
    /// How long a lease lasts unless something else is said. It must be longer than an attempt.
    pub const LEASE: Duration = Duration::from_mins(1);

    /// Over these ports.
    #[must_use]
    pub fn new(queue: Arc<dyn DeliveryQueue>, host: Host) -> Self {
        Self {
            queue,
            host,
            lease: Self::LEASE,
            turn: Turn::default(),
            queued: Turn::default(),
        }
    }

    /// With leases of this length.
    #[must_use]
    pub const fn leasing_for(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long a lease lasts unless it is renewed.
    #[must_use]
    pub const fn lease_length(&self) -> Duration {
        self.lease
    }

    /// Queues deliveries of what is new in the logs of some accounts, which take turns.
    ///
    /// # Errors
    /// [`StoreError`]; what was queued before is queued.
    pub async fn fan_out(&self) -> Result<FannedOut, StoreError> {
        let after = self.queued.last();
        let accounts = self.queue.accounts_behind(after, MAX_ACCOUNTS).await?;
        let found = u32::try_from(accounts.len()).unwrap_or(u32::MAX);
        // The end of the accounts: the next call starts with the first one again.
        let ended = found < MAX_ACCOUNTS;
        let mut all = FannedOut {
            queued: 0,
            more: !ended || after.is_some(),
        };
        for account_id in &accounts {
            let request = FanOut {
                account_id: *account_id,
                entries: MAX_ENTRIES,
                now: self.host.clock.now(),
            };
            // Also before an error: the next call must come to the accounts after this one.
            self.queued.set(Some(*account_id));
            let one = self.queue.fan_out(request).await?;
            all.queued += one.queued;
            all.more |= one.more;
        }
        if ended {
            self.queued.set(None);
        }
        Ok(all)
    }

    /// Leases up to `limit` parcels that are due. The accounts that have due deliveries share the
    /// lease, so that an account with a long queue delays no other.
    ///
    /// # Errors
    /// [`StoreError`], when there is no parcel to send. The next call starts with another account.
    pub async fn lease(&self, limit: u32) -> Result<LeasedParcels, StoreError> {
        let now = self.host.clock.now();
        let lease = LeaseId::new(self.host.ids.next());
        let find = |after, most| self.queue.accounts_due(after, most, now);
        let mut open = self.turn.accounts(limit.min(MAX_ACCOUNTS), find).await?;
        let mut left = limit;
        let mut parcels = Vec::new();
        let mut unreadable = None;
        while !open.is_empty() {
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
                // Also without a parcel, since what is due may have to wait for what is on its way, and
                // before an error.
                self.turn.set(Some(*account_id));
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
                for delivery in taken {
                    // Nobody can send it. The others that were taken with it are sent.
                    let event = match PublicEvent::of(&delivery.entry) {
                        Ok(event) => event,
                        Err(error) => {
                            unreadable = Some(error);
                            continue;
                        }
                    };
                    parcels.push(Parcel {
                        account_id: *account_id,
                        webhook_id: delivery.webhook_id,
                        lease,
                        url: delivery.url,
                        secrets: delivery.secrets,
                        event,
                        attempt: delivery.attempt,
                    });
                }
            }
            open = have_more;
        }
        match unreadable {
            Some(error) if parcels.is_empty() => Err(error),
            Some(_) | None => Ok(LeasedParcels { lease, parcels }),
        }
    }

    /// Prolongs a lease by its whole length from now; returns how many deliveries it still holds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn renew(&self, lease: LeaseId) -> Result<u64, StoreError> {
        let now = self.host.clock.now();
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
        let now = self.host.clock.now();
        self.queue.release_deliveries(lease, now).await
    }

    /// Judges an attempt that has just ended, and writes what came of it.
    ///
    /// # Errors
    /// [`StoreError`]; the delivery is tried again when its lease has ended.
    pub async fn settle(&self, parcel: &Parcel, outcome: &Outcome) -> Result<Settling, StoreError> {
        let now = self.host.clock.now();
        let [.., high, low] = *self.host.ids.next().as_bytes();
        let spread = Spread::from_random(u16::from_be_bytes([high, low]));
        let verdict = judge(parcel.attempt, outcome, now, spread);
        let settle = SettleDelivery {
            account_id: parcel.account_id,
            webhook_id: parcel.webhook_id,
            sequence: parcel.event.sequence,
            lease: parcel.lease,
            attempt: outcome.attempt(now),
            verdict,
            audit_id: AuditEntryId::new(self.host.ids.next()),
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
        let before = self.host.clock.now() - KEPT;
        self.queue.sweep_deliveries(before, MAX_SWEPT).await
    }
}

#[cfg(test)]
mod tests {
    use mockall::predicate::{always, eq};
    use uuid::Uuid;

    use super::*;
    use crate::audit::AuditEntry;
    use crate::ids::{AccountId, WebhookId};
    use crate::ports::{LeasedDelivery, MockClock, MockDeliveryQueue, MockIdGenerator};

    const ONE: AccountId = AccountId::new(Uuid::from_u128(1));
    const TWO: AccountId = AccountId::new(Uuid::from_u128(2));

    fn broken() -> StoreError {
        StoreError::Corrupt("a row of this account".into())
    }

    fn deliveries(queue: MockDeliveryQueue) -> Deliveries {
        let mut clock = MockClock::new();
        clock
            .expect_now()
            .return_const(chrono::DateTime::UNIX_EPOCH);
        let mut ids = MockIdGenerator::new();
        ids.expect_next().return_const(Uuid::from_u128(9));
        Deliveries::new(Arc::new(queue), Host::new(clock, ids))
    }

    fn delivery(seq: i64, details: &str) -> LeasedDelivery {
        LeasedDelivery {
            webhook_id: WebhookId::new(Uuid::from_u128(5)),
            url: "https://example.com".into(),
            secrets: vec![1],
            entry: AuditEntry {
                seq,
                id: AuditEntryId::new(Uuid::from_u128(6)),
                account_id: ONE,
                action: "customer_group.created".into(),
                campaign_id: None,
                run_number: None,
                user_id: None,
                user_name: None,
                role_code: None,
                ip: None,
                request_id: None,
                details: details.into(),
                created_at: chrono::DateTime::UNIX_EPOCH,
                hash: [0; 32],
            },
            attempt: 1,
        }
    }

    #[tokio::test]
    async fn an_account_that_fails_does_not_hold_up_what_is_new_for_others() {
        let mut queue = MockDeliveryQueue::new();
        let mut behind = |after, accounts: &'static [AccountId]| {
            queue
                .expect_accounts_behind()
                .with(eq(after), always())
                .times(1)
                .returning(|_, _| Ok(accounts.to_vec()));
        };
        behind(None, &[ONE, TWO]);
        behind(Some(ONE), &[TWO]);
        queue.expect_fan_out().times(2).returning(|request| {
            if request.account_id == ONE {
                return Err(broken());
            }
            Ok(FannedOut {
                queued: 3,
                more: false,
            })
        });
        let deliveries = deliveries(queue);
        assert!(deliveries.fan_out().await.is_err());
        assert_eq!(deliveries.fan_out().await.unwrap().queued, 3);
    }

    #[tokio::test]
    async fn an_account_that_fails_does_not_hold_up_the_parcels_of_others() {
        let mut queue = MockDeliveryQueue::new();
        let mut due = |after, accounts: &'static [AccountId]| {
            queue
                .expect_accounts_due()
                .with(eq(after), always(), always())
                .returning(|_, _, _| Ok(accounts.to_vec()));
        };
        due(None, &[ONE, TWO]);
        due(Some(ONE), &[TWO]);
        queue.expect_lease_deliveries().returning(|request| {
            if request.account_id == ONE {
                return Err(broken());
            }
            Ok(vec![delivery(1, "{}")])
        });
        let deliveries = deliveries(queue);
        assert!(deliveries.lease(10).await.is_err());
        let leased = deliveries.lease(10).await.unwrap();
        assert_eq!(leased.parcels[0].account_id, TWO);
    }

    #[tokio::test]
    async fn what_is_new_is_looked_for_until_all_accounts_have_had_their_turn() {
        let most = u128::from(MAX_ACCOUNTS);
        // Whether there is more to do, and whether the next call goes on after the last account.
        let more_to_do = async |after: Option<AccountId>, found: u128, has_more: bool| {
            let mut queue = MockDeliveryQueue::new();
            queue
                .expect_accounts_behind()
                .with(eq(after), eq(MAX_ACCOUNTS))
                .returning(move |_, _| {
                    let ids = (1..=found).map(|n| AccountId::new(Uuid::from_u128(n)));
                    Ok(ids.collect())
                });
            queue.expect_fan_out().returning(move |request| {
                let first = request.account_id == ONE;
                Ok(FannedOut {
                    queued: 1,
                    more: first && has_more,
                })
            });
            let deliveries = deliveries(queue);
            deliveries.queued.set(after);
            let all = deliveries.fan_out().await.unwrap();
            assert_eq!(u128::from(all.queued), found);
            (all.more, deliveries.queued.last().is_some())
        };
        assert_eq!(more_to_do(None, 2, false).await, (false, false));
        assert_eq!(more_to_do(None, 2, true).await, (true, false));
        assert_eq!(more_to_do(Some(ONE), 2, false).await, (true, false));
        assert_eq!(more_to_do(None, most, false).await, (true, true));
    }

    #[tokio::test]
    async fn what_is_older_than_30_days_is_swept() {
        let mut queue = MockDeliveryQueue::new();
        let before = chrono::DateTime::UNIX_EPOCH - Duration::from_hours(30 * 24);
        queue
            .expect_sweep_deliveries()
            .with(eq(before), always())
            .returning(|_, _| Ok(7));
        assert_eq!(deliveries(queue).sweep().await.unwrap(), 7);
    }

    #[test]
    fn a_lease_has_the_length_that_is_asked_for() {
        let length = Duration::from_secs(7);
        let deliveries = deliveries(MockDeliveryQueue::new());
        assert_eq!(deliveries.lease_length(), Deliveries::LEASE);
        assert_eq!(deliveries.leasing_for(length).lease_length(), length);
    }

    #[tokio::test]
    async fn an_entry_that_nobody_can_read_does_not_hold_up_the_others() {
        let mut queue = MockDeliveryQueue::new();
        queue
            .expect_accounts_due()
            .returning(|_, _, _| Ok(vec![ONE]));
        let mut answers = vec![
            vec![delivery(1, "[]")],
            vec![delivery(1, "[]"), delivery(2, "{}")],
        ];
        queue
            .expect_lease_deliveries()
            .returning(move |_| Ok(answers.pop().unwrap_or_default()));
        let deliveries = deliveries(queue);
        let leased = deliveries.lease(10).await.unwrap();
        let sent: Vec<i64> = leased.parcels.iter().map(|it| it.event.sequence).collect();
        assert_eq!(sent, [2]);
        // Alone it is reported.
        assert!(deliveries.lease(10).await.is_err());
    }
}
