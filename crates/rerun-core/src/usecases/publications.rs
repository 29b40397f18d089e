use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Host;
use crate::audit::AuditEntry;
use crate::error::StoreError;
use crate::feed::PublicEvent;
use crate::ids::{AccountId, LeaseId};
use crate::page::Limit;
use crate::ports::{
    EventBroker, EventCursors, EventFilter, EventLog, EventPublisher, LeaseCursor, MoveCursor,
};
use crate::publication::{PublicationError, Published, resumes_after};
use crate::timestamp::Timestamp;

/// Publishes the events of accounts in a stream, each once and in order.
///
/// The place of an account is written after the broker has its events. Whoever takes an account over goes
/// on after the last event that the stream has of it.
#[derive(Clone)]
pub struct Publications {
    cursors: Arc<dyn EventCursors>,
    log: Arc<dyn EventLog>,
    host: Host,
    lease: Duration,
    /// The last account of those that were returned last, so that the next call begins after it.
    turn: Arc<Mutex<Option<AccountId>>>,
}

/// What was done for an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Publication {
    /// How many events were published.
    pub events: u64,
    /// Whether there were more when its turn was over.
    pub more: bool,
}

/// An account while its events are published.
struct Held {
    lease: LeaseCursor,
    /// The number of the last event that the broker has.
    at: i64,
    published: u64,
}

/// How many events are read at once. After them the place is written.
const BATCH: i64 = 256;

/// How many events are published for an account before it is another one's turn.
const TURN: u64 = 1_024;

impl Publications {
    /// How long a lease lasts unless it is prolonged.
    pub const LEASE: Duration = Duration::from_secs(30);

    /// Over these ports.
    #[must_use]
    pub fn new(cursors: Arc<dyn EventCursors>, log: Arc<dyn EventLog>, host: Host) -> Self {
        Self {
            cursors,
            log,
            host,
            lease: Self::LEASE,
            turn: Arc::default(),
        }
    }

    /// With leases of this length.
    #[must_use]
    pub const fn leasing_for(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Returns up to `limit` accounts with events that the stream does not have, in turns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn behind(&self, stream: &str, limit: u32) -> Result<Vec<AccountId>, StoreError> {
        let now = self.host.clock.now();
        let after = *self.turn();
        let cursors = &self.cursors;
        let mut accounts = cursors
            .accounts_unpublished(stream, after, limit, now)
            .await?;
        if accounts.is_empty() && after.is_some() {
            accounts = cursors
                .accounts_unpublished(stream, None, limit, now)
                .await?;
        }
        *self.turn() = accounts.last().copied();
        Ok(accounts)
    }

    fn turn(&self) -> std::sync::MutexGuard<'_, Option<AccountId>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes what is new in the account's log, for as long as its turn lasts. Nothing is done when
    /// another process is at it.
    ///
    /// # Errors
    /// [`PublicationError`]. An account whose events nobody can publish stays under the lease until that
    /// ends, so that it is not tried all the time.
    pub async fn publish(
        &self,
        broker: &dyn EventBroker,
        account: AccountId,
    ) -> Result<Publication, PublicationError> {
        let lease = LeaseId::new(self.host.ids.next());
        let request = self.request(broker.stream(), account, lease);
        let Some(cursor) = self.cursors.lease_cursor(request.clone()).await? else {
            return Ok(Publication::default());
        };
        let mut held = Held {
            lease: request,
            at: cursor,
            published: 0,
        };
        let done = self.publish_held(broker, &mut held).await;
        if held.published > 0 && done.is_err() {
            // The next one finds it in the stream if this fails.
            let _noted = self.note(&mut held).await;
        }
        let keep = done
            .as_ref()
            .is_err_and(PublicationError::is_of_the_account);
        if !keep {
            let (stream, cursors) = (broker.stream(), &self.cursors);
            cursors.release_cursor(account, stream, lease).await?;
        }
        done
    }

    fn request(&self, stream: &str, account_id: AccountId, lease: LeaseId) -> LeaseCursor {
        let now = self.host.clock.now();
        LeaseCursor {
            account_id,
            stream: stream.to_owned(),
            lease,
            now,
            until: now + self.lease,
        }
    }

    async fn publish_held(
        &self,
        broker: &dyn EventBroker,
        held: &mut Held,
    ) -> Result<Publication, PublicationError> {
        let account = held.lease.account_id;
        let (last, mut publisher) = broker.take_over(account).await?;
        held.at = resumes_after(held.at, last);
        if let Some(last) = last {
            self.must_have(account, last).await?;
        }
        loop {
            let (entries, newest) = self.entries(account, held.at, BATCH).await?;
            for entry in &entries {
                if self.is_half_over(held) && !self.note(held).await? {
                    return Ok(held.so_far(true));
                }
                self.publish_one(publisher.as_mut(), entry).await?;
                held.at = entry.seq;
                held.published += 1;
            }
            let more = held.at < newest;
            if !self.note(held).await? || !more || held.published >= TURN {
                return Ok(held.so_far(more));
            }
        }
    }

    /// Whether the lease should be prolonged. Who is late does not publish before that is done: another
    /// process may have taken the account over.
    fn is_half_over(&self, held: &Held) -> bool {
        self.host.clock.now() + self.lease / 2 >= held.lease.until
    }

    async fn publish_one(
        &self,
        publisher: &mut dyn EventPublisher,
        entry: &AuditEntry,
    ) -> Result<(), PublicationError> {
        let event = PublicEvent::of(entry)?;
        Ok(publisher.publish(&event).await?)
    }

    /// Writes the place and prolongs the lease; returns whether it still holds.
    async fn note(&self, held: &mut Held) -> Result<bool, StoreError> {
        let LeaseCursor {
            account_id,
            ref stream,
            lease,
            ..
        } = held.lease;
        held.lease = self.request(stream, account_id, lease);
        let request = MoveCursor {
            lease: held.lease.clone(),
            sequence: held.at,
        };
        self.cursors.move_cursor(request).await
    }

    /// Makes sure that the stream's last event is one of the account's log.
    async fn must_have(&self, account: AccountId, last: Published) -> Result<(), PublicationError> {
        let (entries, _) = self.entries(account, last.sequence - 1, 1).await?;
        let own = entries
            .first()
            .is_some_and(|entry| entry.seq == last.sequence && entry.id == last.event_id);
        if own {
            Ok(())
        } else {
            Err(PublicationError::Foreign(last.sequence))
        }
    }

    /// The entries after a number, and the number of the newest one.
    async fn entries(
        &self,
        account: AccountId,
        after: i64,
        most: i64,
    ) -> Result<(Vec<AuditEntry>, i64), StoreError> {
        let limit = Limit::new(most).map_err(|error| StoreError::Backend(error.into()))?;
        let all = EventFilter::default();
        let page = self.log.events(account, &all, after, limit).await?;
        Ok(page.map_or((Vec::new(), 0), |page| (page.events, page.head_sequence)))
    }

    /// Returns when the oldest event that the stream does not have was written; `None` when it has all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unpublished_since(&self, stream: &str) -> Result<Option<Timestamp>, StoreError> {
        self.cursors.unpublished_since(stream).await
    }
}

impl Held {
    const fn so_far(&self, more: bool) -> Publication {
        Publication {
            events: self.published,
            more,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::feed::EventPage;
    use crate::ids::AuditEntryId;
    use crate::ports::{
        MockClock, MockEventBroker, MockEventCursors, MockEventLog, MockEventPublisher,
        MockIdGenerator,
    };

    const ACCOUNT: AccountId = AccountId::new(Uuid::from_u128(1));

    fn entry(seq: i64) -> AuditEntry {
        AuditEntry {
            seq,
            id: AuditEntryId::new(Uuid::from_u128(6)),
            account_id: ACCOUNT,
            action: "customer_group.created".into(),
            campaign_id: None,
            run_number: None,
            user_id: None,
            user_name: None,
            role_code: None,
            ip: None,
            request_id: None,
            details: "{}".into(),
            created_at: Timestamp::UNIX_EPOCH,
            hash: [0; 32],
        }
    }

    fn publications(cursors: MockEventCursors, events: i64) -> Publications {
        let mut log = MockEventLog::new();
        log.expect_events().returning(move |_, _, after, limit| {
            let read = (after + 1..=events).take(limit.get().into());
            Ok(Some(EventPage {
                events: read.map(entry).collect(),
                next_sequence: 0,
                head_sequence: events,
            }))
        });
        let mut clock = MockClock::new();
        clock.expect_now().return_const(Timestamp::UNIX_EPOCH);
        let mut ids = MockIdGenerator::new();
        ids.expect_next().return_const(Uuid::from_u128(9));
        Publications::new(Arc::new(cursors), Arc::new(log), Host::new(clock, ids))
    }

    /// What one turn publishes of so many events, and the places that are written.
    async fn published(events: i64, lease_holds: bool) -> (Publication, Vec<i64>) {
        let (places, written) = std::sync::mpsc::channel();
        let mut cursors = MockEventCursors::new();
        cursors.expect_lease_cursor().returning(|_| Ok(Some(0)));
        cursors.expect_release_cursor().returning(|_, _, _| Ok(()));
        cursors.expect_move_cursor().returning(move |request| {
            places.send(request.sequence).unwrap();
            Ok(lease_holds)
        });
        let mut broker = MockEventBroker::new();
        broker.expect_stream().return_const("events".to_owned());
        broker.expect_take_over().returning(|_| {
            let mut publisher = MockEventPublisher::new();
            publisher.expect_publish().returning(|_| Ok(()));
            Ok((None, Box::new(publisher)))
        });
        let publications = publications(cursors, events);
        let done = publications.publish(&broker, ACCOUNT).await.unwrap();
        drop(publications);
        (done, written.iter().collect())
    }

    #[tokio::test]
    async fn the_place_is_written_after_each_part_until_the_turn_is_over() {
        let publication = |events, more| Publication { events, more };
        let (all, written) = published(600, true).await;
        assert_eq!(all, publication(600, false));
        assert_eq!(written, [256, 512, 600]);
        let (turn, written) = published(2_000, true).await;
        assert_eq!(turn, publication(1_024, true));
        assert_eq!(written, [256, 512, 768, 1_024]);
    }

    #[tokio::test]
    async fn a_lost_lease_ends_the_turn() {
        let (done, written) = published(600, false).await;
        assert_eq!((done.events, done.more), (256, true));
        assert_eq!(written, [256]);
    }

    #[tokio::test]
    async fn what_is_unpublished_is_asked_of_the_store() {
        let since = Some(Timestamp::UNIX_EPOCH + Duration::from_secs(1));
        let mut cursors = MockEventCursors::new();
        cursors
            .expect_unpublished_since()
            .returning(move |_| Ok(since));
        let publications = publications(cursors, 0);
        assert_eq!(
            publications.unpublished_since("events").await.unwrap(),
            since
        );
    }
}
