//! Places in streams, and what is published there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rerun_core::feed::PublicEvent;
use rerun_core::ids::{AccountId, AuditEntryId, LeaseId};
use rerun_core::ports::{
    Clock, EventBroker, EventPublisher, IdGenerator, LeaseCursor, MoveCursor, Store,
};
use rerun_core::publication::{PublicationError, PublishError, Published};
use rerun_core::usecases::Publications;

use crate::fixture::{ACCOUNT, Fixture, all_at_once, stranger};
use crate::ports::TestClock;

const STREAM: &str = "all";

fn request<S>(f: &Fixture<S>, account_id: AccountId, stream: &str) -> LeaseCursor
where
    S: Store + 'static,
{
    let now = f.now();
    LeaseCursor {
        account_id,
        stream: stream.to_owned(),
        lease: LeaseId::new(f.ids.next()),
        now,
        until: now + Publications::LEASE,
    }
}

/// So many events of the account.
async fn events<S: Store + 'static>(f: &Fixture<S>, number: usize) {
    for n in 0..number {
        f.empty_group(&format!("group {n}")).await;
    }
}

async fn event_of_a_stranger<S: Store + 'static>(f: &Fixture<S>) -> AccountId {
    let created = f.engine.groups.create(&stranger(), "theirs", None).await;
    created.expect("a group is created");
    stranger().account_id
}

async fn lease<S: Store + 'static>(f: &Fixture<S>, request: &LeaseCursor) -> Option<i64> {
    let leased = f.store.lease_cursor(request.clone()).await;
    leased.expect("a place is leased")
}

async fn moved<S: Store + 'static>(f: &Fixture<S>, lease: &LeaseCursor, sequence: i64) -> bool {
    let request = MoveCursor {
        lease: lease.clone(),
        sequence,
    };
    let moved = f.store.move_cursor(request).await;
    moved.expect("a place is moved")
}

async fn unpublished<S: Store + 'static>(f: &Fixture<S>, stream: &str) -> Vec<AccountId> {
    let found = f
        .store
        .accounts_unpublished(stream, None, 10, f.now())
        .await;
    found.expect("accounts are found")
}

/// Every stream gets an account's events from the first on, whenever it comes.
pub async fn a_stream_begins_before_the_first_event<S: Store + 'static>(f: &Fixture<S>) {
    assert_eq!(
        lease(f, &request(f, ACCOUNT, STREAM)).await,
        None,
        "no event"
    );
    assert_eq!(unpublished(f, STREAM).await, []);
    events(f, 3).await;
    assert_eq!(unpublished(f, STREAM).await, [ACCOUNT]);
    let held = request(f, ACCOUNT, STREAM);
    assert_eq!(lease(f, &held).await, Some(0));
    assert!(moved(f, &held, 3).await);
    assert_eq!(unpublished(f, "another").await, [ACCOUNT]);
    assert_eq!(lease(f, &request(f, ACCOUNT, "another")).await, Some(0));
}

/// Whoever takes the place next gets it as it was left.
pub async fn a_place_moves_under_its_lease<S: Store + 'static>(f: &Fixture<S>) {
    events(f, 3).await;
    let held = request(f, ACCOUNT, STREAM);
    lease(f, &held).await;
    for sequence in [1, 3, 2] {
        assert!(moved(f, &held, sequence).await);
    }
    let released = f.store.release_cursor(ACCOUNT, STREAM, held.lease).await;
    released.expect("a lease is given back");
    assert_eq!(unpublished(f, STREAM).await, [ACCOUNT]);
    let next = request(f, ACCOUNT, STREAM);
    assert_eq!(lease(f, &next).await, Some(2));
    assert!(moved(f, &next, 3).await);
    let released = f.store.release_cursor(ACCOUNT, STREAM, next.lease).await;
    released.expect("a lease is given back");
    assert_eq!(unpublished(f, STREAM).await, []);
}

/// Of several that want a place at once, one gets it.
pub async fn a_live_lease_keeps_others_out<S: Store + 'static>(f: &Fixture<S>) {
    events(f, 1).await;
    let requests: Vec<_> = (0..8).map(|_| request(f, ACCOUNT, STREAM)).collect();
    let store = Arc::clone(&f.store);
    let taken = all_at_once(8, move |n| {
        let (store, request) = (Arc::clone(&store), requests[n].clone());
        async move { store.lease_cursor(request).await.expect("it is asked") }
    });
    let taken = taken.await;
    assert_eq!(taken.iter().flatten().count(), 1, "{taken:?}");
    assert_eq!(unpublished(f, STREAM).await, []);
    assert_eq!(unpublished(f, "another").await, [ACCOUNT]);
}

/// A process that is gone keeps nothing for ever.
pub async fn a_lease_ends<S: Store + 'static>(f: &Fixture<S>) {
    events(f, 1).await;
    let lost = request(f, ACCOUNT, STREAM);
    lease(f, &lost).await;
    f.clock
        .advance(Publications::LEASE.saturating_sub(Duration::from_millis(1)));
    assert_eq!(lease(f, &request(f, ACCOUNT, STREAM)).await, None);
    // It is prolonged from now on.
    let prolonged = LeaseCursor {
        lease: lost.lease,
        ..request(f, ACCOUNT, STREAM)
    };
    assert!(moved(f, &prolonged, 0).await);
    f.clock.advance(Duration::from_millis(1));
    assert_eq!(unpublished(f, STREAM).await, []);
    f.clock.advance(Publications::LEASE);
    assert_eq!(unpublished(f, STREAM).await, [ACCOUNT]);
    assert_eq!(lease(f, &request(f, ACCOUNT, STREAM)).await, Some(0));
}

/// Who was too slow changes nothing any more.
pub async fn a_lost_lease_moves_nothing<S: Store + 'static>(f: &Fixture<S>) {
    events(f, 2).await;
    event_of_a_stranger(f).await;
    let lost = request(f, ACCOUNT, STREAM);
    lease(f, &lost).await;
    f.clock.advance(Publications::LEASE);
    let next = request(f, ACCOUNT, STREAM);
    assert_eq!(lease(f, &next).await, Some(0));
    assert!(!moved(f, &lost, 2).await);
    let released = f.store.release_cursor(ACCOUNT, STREAM, lost.lease).await;
    released.expect("nothing happens");
    assert_eq!(lease(f, &request(f, ACCOUNT, STREAM)).await, None);
    // The same lease holds nothing of another account or stream.
    for (account_id, stream) in [(stranger().account_id, STREAM), (ACCOUNT, "another")] {
        let elsewhere = LeaseCursor {
            account_id,
            stream: stream.to_owned(),
            ..next.clone()
        };
        assert!(!moved(f, &elsewhere, 2).await);
    }
    assert!(moved(f, &next, 1).await);
}

/// When the clock is set back, a lease does not last for longer.
pub async fn a_lease_of_a_future_clock_does_not_count<S: Store + 'static>(f: &Fixture<S>) {
    events(f, 1).await;
    lease(f, &request(f, ACCOUNT, STREAM)).await;
    f.clock.set(f.now() - Duration::from_secs(4));
    assert_eq!(
        unpublished(f, STREAM).await,
        [],
        "clocks may differ a little"
    );
    assert_eq!(lease(f, &request(f, ACCOUNT, STREAM)).await, None);
    f.clock.set(f.now() - Duration::from_hours(1));
    assert_eq!(unpublished(f, STREAM).await, [ACCOUNT]);
    assert_eq!(lease(f, &request(f, ACCOUNT, STREAM)).await, Some(0));
}

/// Accounts take turns in the order of their ids.
pub async fn accounts_with_unpublished_events_are_found_in_order<S: Store + 'static>(
    f: &Fixture<S>,
) {
    events(f, 1).await;
    let other = event_of_a_stranger(f).await;
    let mut both = [ACCOUNT, other];
    both.sort_unstable();
    assert_eq!(unpublished(f, STREAM).await, both);
    let behind = async |limit| {
        let found = f.engine.publications.behind(STREAM, limit).await;
        found.expect("accounts are found")
    };
    for account in [both[0], both[1], both[0]] {
        assert_eq!(behind(1).await, [account]);
    }
    let first = request(f, both[0], STREAM);
    lease(f, &first).await;
    assert_eq!(behind(10).await, [both[1]]);
}

/// An operator learns how old the oldest event is that waits.
pub async fn the_oldest_unpublished_event_is_known<S: Store + 'static>(f: &Fixture<S>) {
    let since = async || {
        let since = f.store.unpublished_since(STREAM).await;
        since.expect("it is asked")
    };
    assert_eq!(since().await, None);
    let begun = f.now();
    events(f, 1).await;
    f.seconds_later(10);
    events(f, 1).await;
    event_of_a_stranger(f).await;
    f.seconds_later(10);
    assert_eq!(since().await, Some(begun));
    let held = request(f, ACCOUNT, STREAM);
    lease(f, &held).await;
    moved(f, &held, 1).await;
    assert_eq!(since().await, Some(begun + Duration::from_secs(10)));
    moved(f, &held, 2).await;
    assert_eq!(
        since().await,
        Some(begun + Duration::from_secs(10)),
        "a stranger's"
    );
    let theirs = request(f, stranger().account_id, STREAM);
    lease(f, &theirs).await;
    moved(f, &theirs, 1).await;
    assert_eq!(since().await, None);
}

/// A broker in memory, which may fail before or after it took an event.
#[derive(Clone, Default)]
struct Broker(Arc<Mutex<Stream>>);

#[derive(Default)]
struct Stream {
    events: Vec<(AccountId, i64, AuditEntryId)>,
    /// How many events are taken until the connection breaks.
    breaks_after: Option<usize>,
    /// Whether the event at which it breaks is taken.
    taken_unheard: bool,
}

impl Broker {
    fn with<T>(&self, look: impl FnOnce(&mut Stream) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn sequences(&self, account: AccountId) -> Vec<i64> {
        self.with(|stream| {
            let own = stream.events.iter().filter(|(of, ..)| *of == account);
            own.map(|(_, sequence, _)| *sequence).collect()
        })
    }
}

#[async_trait]
impl EventBroker for Broker {
    fn stream(&self) -> &str {
        STREAM
    }

    async fn take_over(
        &self,
        account: AccountId,
    ) -> Result<(Option<Published>, Box<dyn EventPublisher>), PublishError> {
        let last = self.with(|stream| {
            let own = stream.events.iter().rev().find(|(of, ..)| *of == account);
            own.map(|(_, sequence, event_id)| Published {
                sequence: *sequence,
                event_id: *event_id,
            })
        });
        Ok((last, Box::new(self.clone())))
    }
}

#[async_trait]
impl EventPublisher for Broker {
    async fn publish(&mut self, event: &PublicEvent) -> Result<(), PublishError> {
        let broken = || Err(PublishError::Unavailable("the connection broke".into()));
        let taken = (event.account_id, event.sequence, event.id);
        self.with(|stream| {
            match &mut stream.breaks_after {
                Some(0) if stream.taken_unheard => stream.events.push(taken),
                Some(0) => return broken(),
                Some(left) => {
                    *left -= 1;
                    stream.events.push(taken);
                    return Ok(());
                }
                None => {
                    stream.events.push(taken);
                    return Ok(());
                }
            }
            broken()
        })
    }
}

/// Publishes until nothing is left.
async fn publish<S: Store + 'static>(f: &Fixture<S>, broker: &Broker) {
    for _ in 0..100 {
        let accounts = f.engine.publications.behind(STREAM, 10).await;
        let accounts = accounts.expect("accounts are found");
        if accounts.is_empty() {
            return;
        }
        for account in accounts {
            let done = f.engine.publications.publish(broker, account).await;
            done.expect("events are published");
        }
    }
    panic!("there is always more to publish");
}

/// A long log goes in parts, and accounts do not mix.
pub async fn events_are_published_once_and_in_order<S: Store + 'static>(f: &Fixture<S>) {
    let broker = Broker::default();
    events(f, 300).await;
    let other = event_of_a_stranger(f).await;
    publish(f, &broker).await;
    events(f, 2).await;
    publish(f, &broker).await;
    assert_eq!(broker.sequences(ACCOUNT), (1..=302).collect::<Vec<_>>());
    assert_eq!(broker.sequences(other), [1]);
    let ids: Vec<_> = f
        .entries(ACCOUNT)
        .await
        .into_iter()
        .map(|entry| entry.id)
        .collect();
    let published = broker.with(|stream| {
        let own = stream.events.iter().filter(|(of, ..)| *of == ACCOUNT);
        own.map(|(.., id)| *id).collect::<Vec<_>>()
    });
    let mut expected = ids;
    expected.sort_unstable();
    let mut published = published;
    published.sort_unstable();
    assert_eq!(published, expected);
}

/// The process may stop between the broker's word and its own note, and the broker may lose what it did
/// not write to its disk.
pub async fn the_stream_says_where_to_go_on<S: Store + 'static>(f: &Fixture<S>) {
    let broker = Broker::default();
    events(f, 5).await;
    publish(f, &broker).await;
    let held = request(f, ACCOUNT, STREAM);
    lease(f, &held).await;
    // As if the last two had not been noted.
    moved(f, &held, 3).await;
    let released = f.store.release_cursor(ACCOUNT, STREAM, held.lease).await;
    released.expect("a lease is given back");
    publish(f, &broker).await;
    assert_eq!(broker.sequences(ACCOUNT), [1, 2, 3, 4, 5]);
    broker.with(|stream| stream.events.truncate(3));
    events(f, 1).await;
    publish(f, &broker).await;
    assert_eq!(broker.sequences(ACCOUNT), [1, 2, 3, 4, 5, 6]);
    // A stream with limits drops its oldest messages.
    broker.with(|stream| stream.events.clear());
    events(f, 1).await;
    publish(f, &broker).await;
    assert_eq!(broker.sequences(ACCOUNT), [7]);
}

/// A database that was restored, or another one, must not mix its events with those of before.
pub async fn a_stream_of_another_log_gets_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let broker = Broker::default();
    events(f, 3).await;
    let of_another = AuditEntryId::new(f.ids.next());
    for sequence in [2, 9] {
        broker.with(|stream| stream.events = vec![(ACCOUNT, sequence, of_another)]);
        let refused = f.engine.publications.publish(&broker, ACCOUNT).await;
        let Err(PublicationError::Foreign(number)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(number, sequence);
        assert_eq!(broker.sequences(ACCOUNT), [sequence]);
        // It is not tried all the time.
        assert_eq!(unpublished(f, STREAM).await, []);
        f.clock.advance(Publications::LEASE);
    }
    assert_eq!(unpublished(f, STREAM).await, [ACCOUNT]);
}

/// What the broker has is not published again, heard of or not.
pub async fn an_outage_keeps_what_is_published<S: Store + 'static>(f: &Fixture<S>) {
    let broker = Broker::default();
    events(f, 6).await;
    for taken_unheard in [false, true] {
        broker.with(|stream| {
            stream.breaks_after = Some(2);
            stream.taken_unheard = taken_unheard;
        });
        let failed = f.engine.publications.publish(&broker, ACCOUNT).await;
        let Err(PublicationError::Publish(PublishError::Unavailable(_))) = failed else {
            panic!("{failed:?}");
        };
        // The lease is given back: it goes on as soon as the broker is there again.
        assert_eq!(unpublished(f, STREAM).await, [ACCOUNT]);
    }
    let held = request(f, ACCOUNT, STREAM);
    assert_eq!(lease(f, &held).await, Some(4), "what was heard of is noted");
    let released = f.store.release_cursor(ACCOUNT, STREAM, held.lease).await;
    released.expect("a lease is given back");
    broker.with(|stream| stream.breaks_after = None);
    publish(f, &broker).await;
    assert_eq!(broker.sequences(ACCOUNT), [1, 2, 3, 4, 5, 6]);
}

/// A broker that takes so long for each event. Another process may take the account over meanwhile.
struct Slow<S> {
    store: Arc<S>,
    clock: Arc<TestClock>,
    takes: Duration,
    rival: LeaseCursor,
    broker: Broker,
}

impl<S> Slow<S> {
    fn again(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            takes: self.takes,
            rival: self.rival.clone(),
            broker: self.broker.clone(),
        }
    }
}

#[async_trait]
impl<S: Store + 'static> EventBroker for Slow<S> {
    fn stream(&self) -> &str {
        STREAM
    }

    async fn take_over(
        &self,
        account: AccountId,
    ) -> Result<(Option<Published>, Box<dyn EventPublisher>), PublishError> {
        let (last, _) = self.broker.take_over(account).await?;
        Ok((last, Box::new(self.again())))
    }
}

#[async_trait]
impl<S: Store + 'static> EventPublisher for Slow<S> {
    async fn publish(&mut self, event: &PublicEvent) -> Result<(), PublishError> {
        self.clock.advance(self.takes);
        let now = self.clock.now();
        let request = LeaseCursor {
            now,
            until: now + Publications::LEASE,
            ..self.rival.clone()
        };
        let _held = self.store.lease_cursor(request).await;
        self.broker.clone().publish(event).await
    }
}

/// A turn may last longer than a lease. Whoever was so slow that another process took over stops.
pub async fn a_slow_broker_keeps_its_lease<S: Store + 'static>(f: &Fixture<S>) {
    events(f, 5).await;
    let third = Publications::LEASE / 3;
    for (takes, published, last) in [(third, 5, 5), (Publications::LEASE, 1, 1)] {
        let slow = Slow {
            store: Arc::clone(&f.store),
            clock: Arc::clone(&f.clock),
            takes,
            rival: request(f, ACCOUNT, STREAM),
            broker: Broker::default(),
        };
        let held = request(f, ACCOUNT, STREAM);
        lease(f, &held).await;
        moved(f, &held, 0).await;
        let released = f.store.release_cursor(ACCOUNT, STREAM, held.lease).await;
        released.expect("a lease is given back");
        let done = f.engine.publications.publish(&slow, ACCOUNT).await;
        assert_eq!(done.expect("it stops").events, published);
        assert_eq!(slow.broker.sequences(ACCOUNT).last(), Some(&last));
    }
}
