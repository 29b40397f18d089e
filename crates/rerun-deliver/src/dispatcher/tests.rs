use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::audit::AuditEntry;
use rerun_core::delivery::Response;
use rerun_core::ids::{AccountId, AuditEntryId, LeaseId, WebhookId};
use rerun_core::ports::{
    FannedOut, LeasedDelivery, MockBackoff, MockClock, MockDeliveryQueue, MockIdGenerator,
    SettledDelivery,
};
use rerun_core::usecases::Host;
use uuid::Uuid;

use super::*;

const IDLE: Duration = Duration::from_millis(500);

fn account() -> AccountId {
    AccountId::new(Uuid::nil())
}

/// A delivery of this event to this webhook.
fn delivery(webhook: u128, sequence: i64) -> LeasedDelivery {
    LeasedDelivery {
        webhook_id: WebhookId::new(Uuid::from_u128(webhook)),
        url: "https://example.com/".into(),
        secrets: vec![1],
        entry: AuditEntry {
            seq: sequence,
            id: AuditEntryId::new(Uuid::nil()),
            account_id: account(),
            action: "run.completed".into(),
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
        },
        attempt: 1,
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("down".into())
}

/// What the mocked queue was told, and what it is to return.
struct World {
    begun: Instant,
    due: Mutex<VecDeque<LeasedDelivery>>,
    /// Deliveries that become due when new events are looked for.
    new: Mutex<VecDeque<Vec<LeasedDelivery>>>,
    limits: Mutex<Vec<u32>>,
    lease_failures: AtomicUsize,
    settle_failures: AtomicUsize,
    fan_out_failures: AtomicUsize,
    /// When which event was settled.
    settled: Mutex<Vec<(Duration, i64)>>,
    released: Mutex<Vec<LeaseId>>,
    sweeps: AtomicUsize,
}

impl World {
    fn of(due: impl IntoIterator<Item = LeasedDelivery>) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            due: Mutex::new(due.into_iter().collect()),
            new: Mutex::default(),
            limits: Mutex::default(),
            lease_failures: AtomicUsize::default(),
            settle_failures: AtomicUsize::default(),
            fan_out_failures: AtomicUsize::default(),
            settled: Mutex::default(),
            released: Mutex::default(),
            sweeps: AtomicUsize::default(),
        })
    }

    fn settled(&self) -> Vec<i64> {
        let settled = self.settled.lock().unwrap();
        settled.iter().map(|(_, sequence)| *sequence).collect()
    }

    fn settled_at(&self, sequence: i64) -> Duration {
        let settled = self.settled.lock().unwrap();
        settled
            .iter()
            .find(|(_, other)| *other == sequence)
            .unwrap()
            .0
    }
}

fn fail_once(failures: &AtomicUsize) -> bool {
    let less = |n: usize| n.checked_sub(1);
    failures
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok()
}

fn queue(world: &Arc<World>) -> MockDeliveryQueue {
    let mut queue = MockDeliveryQueue::new();
    let of = Arc::clone(world);
    queue.expect_accounts_behind().returning(move |after, _| {
        if fail_once(&of.fan_out_failures) {
            return Err(unavailable());
        }
        let is_new = after.is_none() && !of.new.lock().unwrap().is_empty();
        Ok(is_new.then(account).into_iter().collect())
    });
    let of = Arc::clone(world);
    queue.expect_fan_out().returning(move |_| {
        let new = of.new.lock().unwrap().pop_front().unwrap_or_default();
        let queued = new.len().try_into().unwrap();
        of.due.lock().unwrap().extend(new);
        Ok(FannedOut {
            queued,
            more: false,
        })
    });
    let of = Arc::clone(world);
    queue.expect_accounts_due().returning(move |after, _, _| {
        if fail_once(&of.lease_failures) {
            return Err(unavailable());
        }
        let is_due = after.is_none() && !of.due.lock().unwrap().is_empty();
        Ok(is_due.then(account).into_iter().collect())
    });
    let of = Arc::clone(world);
    queue.expect_lease_deliveries().returning(move |request| {
        of.limits.lock().unwrap().push(request.limit);
        let mut due = of.due.lock().unwrap();
        let number = due.len().min(request.limit.try_into().unwrap());
        Ok(due.drain(..number).collect())
    });
    let of = Arc::clone(world);
    queue.expect_settle_delivery().returning(move |settle| {
        if fail_once(&of.settle_failures) {
            return Err(unavailable());
        }
        let at = of.begun.elapsed();
        of.settled.lock().unwrap().push((at, settle.sequence));
        Ok(SettledDelivery {
            counted: true,
            disabled: None,
        })
    });
    let of = Arc::clone(world);
    queue
        .expect_release_deliveries()
        .returning(move |lease, _| {
            of.released.lock().unwrap().push(lease);
            Ok(1)
        });
    let of = Arc::clone(world);
    queue.expect_sweep_deliveries().returning(move |_, _| {
        // Two parts of old rows, and nothing after that.
        let before = of.sweeps.fetch_add(1, Ordering::SeqCst);
        Ok(if before < 2 { 5_000 } else { 0 })
    });
    queue
}

/// Receivers: those with an even number respond at once, and the others hang for this long.
#[derive(Default)]
struct Receivers {
    hang: Duration,
    panics: AtomicUsize,
    on_their_way: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl EventSender for Receivers {
    async fn send(&self, parcel: &Parcel) -> Outcome {
        assert!(
            !fail_once(&self.panics),
            "a receiver that nobody thought of"
        );
        let now = self.on_their_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        if parcel.webhook_id.as_uuid().as_u128() % 2 == 1 {
            sleep(self.hang).await;
        } else {
            sleep(Duration::from_millis(1)).await;
        }
        self.on_their_way.fetch_sub(1, Ordering::SeqCst);
        Outcome {
            response: Ok(Response {
                status: 200,
                retry_after: None,
            }),
            duration: Duration::ZERO,
        }
    }
}

fn hanging(hang: Duration) -> Arc<Receivers> {
    Arc::new(Receivers {
        hang,
        ..Receivers::default()
    })
}

fn dispatcher(
    world: &Arc<World>,
    sender: Arc<Receivers>,
    concurrency: usize,
) -> (Dispatcher, Arc<Notify>) {
    let mut clock = MockClock::new();
    clock.expect_now().returning(|| Timestamp::UNIX_EPOCH);
    let mut ids = MockIdGenerator::new();
    let next = AtomicUsize::new(1);
    ids.expect_next().returning(move || {
        Uuid::from_u128(next.fetch_add(1, Ordering::SeqCst).try_into().unwrap())
    });
    let mut backoff = MockBackoff::new();
    backoff
        .expect_delay()
        .returning(|failed| Duration::from_secs(failed.into()));
    let deliveries = Deliveries::new(Arc::new(queue(world)), Host::new(clock, ids));
    let wake = Arc::new(Notify::new());
    let options = DispatcherOptions {
        concurrency,
        idle: IDLE,
    };
    let dispatcher = Dispatcher::new(
        deliveries.leasing_for(Duration::from_secs(50)),
        sender,
        Arc::new(backoff),
        Arc::clone(&wake),
        options,
    );
    (dispatcher, wake)
}

/// Lets the dispatcher work for a while, then ends it; returns how long its end took.
async fn run_for(dispatcher: &Dispatcher, time: Duration) -> Duration {
    let stop = CancellationToken::new();
    let stopped = async {
        sleep(time).await;
        stop.cancel();
        Instant::now()
    };
    let ((), stopped) = tokio::join!(dispatcher.run(&stop), stopped);
    stopped.elapsed()
}

#[tokio::test(start_paused = true)]
async fn every_delivery_is_sent_once_with_a_bound_for_all() {
    let world = World::of((1..=100).map(|sequence| delivery(2, sequence)));
    let receivers = hanging(Duration::ZERO);
    let (dispatcher, _) = dispatcher(&world, Arc::clone(&receivers), 4);
    run_for(&dispatcher, Duration::from_secs(5)).await;
    let mut settled = world.settled();
    settled.sort_unstable();
    assert_eq!(settled, (1..=100).collect::<Vec<_>>());
    assert_eq!(receivers.most.load(Ordering::SeqCst), 4);
    let limits = world.limits.lock().unwrap();
    assert!(limits.iter().all(|limit| *limit <= 4), "{limits:?}");
    assert!(
        world.released.lock().unwrap().is_empty(),
        "nothing was held any more"
    );
}

#[tokio::test(start_paused = true)]
async fn receivers_that_hang_do_not_use_up_the_places_of_others() {
    let hang = Duration::from_secs(20);
    let due = (1..=8).map(|sequence| delivery(1, sequence));
    let world = World::of(due.chain((9..=10).map(|sequence| delivery(2, sequence))));
    let (dispatcher, _) = dispatcher(&world, hanging(hang), 4);
    run_for(&dispatcher, Duration::from_secs(30)).await;
    for sequence in [9, 10] {
        let at = world.settled_at(sequence);
        assert!(at < Duration::from_secs(3), "{sequence} after {at:?}");
    }
    for sequence in 1..=8 {
        assert!(world.settled_at(sequence) >= hang, "{sequence}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_attempts_have_a_bound_too() {
    let world = World::of((1..=100).map(|sequence| delivery(1, sequence)));
    let receivers = hanging(Duration::from_hours(1));
    let (dispatcher, _) = dispatcher(&world, Arc::clone(&receivers), 2);
    run_for(&dispatcher, Duration::from_mins(5)).await;
    let most = receivers.most.load(Ordering::SeqCst);
    assert_eq!(most, 2 * SLOW_FOR_EACH + 2);
}

#[tokio::test(start_paused = true)]
async fn new_events_are_sent_as_soon_as_somebody_wakes_the_dispatcher() {
    let world = World::of([]);
    let (dispatcher, wake) = dispatcher(&world, hanging(Duration::ZERO), 4);
    let write = async {
        sleep(Duration::from_millis(100)).await;
        world.new.lock().unwrap().push_back(vec![delivery(2, 1)]);
        wake.notify_one();
    };
    tokio::join!(run_for(&dispatcher, Duration::from_secs(5)), write);
    let at = world.settled_at(1);
    assert!(at < Duration::from_millis(150), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn new_events_are_found_without_a_wake() {
    let world = World::of([]);
    let (dispatcher, _) = dispatcher(&world, hanging(Duration::ZERO), 4);
    let write = async {
        sleep(Duration::from_millis(100)).await;
        world.new.lock().unwrap().push_back(vec![delivery(2, 1)]);
    };
    tokio::join!(run_for(&dispatcher, Duration::from_secs(5)), write);
    assert!(world.settled_at(1) <= IDLE + Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn what_is_due_after_an_attempt_is_sent_at_once() {
    let world = World::of([delivery(2, 1)]);
    let (dispatcher, _) = dispatcher(&world, hanging(Duration::ZERO), 4);
    let next = async {
        // As in an ordered webhook: the next one is due when the one before is delivered.
        while world.settled().is_empty() {
            sleep(Duration::from_micros(100)).await;
        }
        world.due.lock().unwrap().push_back(delivery(2, 2));
    };
    tokio::join!(run_for(&dispatcher, Duration::from_secs(5)), next);
    let between = world.settled_at(2).saturating_sub(world.settled_at(1));
    assert!(between < Duration::from_millis(20), "{between:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_asked_again() {
    let world = World::of([delivery(2, 1)]);
    world.new.lock().unwrap().push_back(vec![delivery(2, 2)]);
    world.fan_out_failures.store(1, Ordering::SeqCst);
    world.lease_failures.store(2, Ordering::SeqCst);
    world.settle_failures.store(2, Ordering::SeqCst);
    let (dispatcher, _) = dispatcher(&world, hanging(Duration::ZERO), 4);
    run_for(&dispatcher, Duration::from_secs(20)).await;
    let mut settled = world.settled();
    settled.sort_unstable();
    assert_eq!(settled, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_result_is_given_up_when_its_lease_is_over() {
    let world = World::of([delivery(2, 1)]);
    world.settle_failures.store(1_000, Ordering::SeqCst);
    let (dispatcher, _) = dispatcher(&world, hanging(Duration::ZERO), 1);
    let later = async {
        sleep(Duration::from_secs(70)).await;
        world.settle_failures.store(0, Ordering::SeqCst);
        world.due.lock().unwrap().push_back(delivery(2, 2));
    };
    tokio::join!(run_for(&dispatcher, Duration::from_secs(80)), later);
    assert_eq!(world.settled(), [2]);
}

#[tokio::test(start_paused = true)]
async fn an_end_waits_a_moment_for_attempts_and_gives_leases_back() {
    let world = World::of([delivery(1, 1)]);
    let (brief, _) = dispatcher(&world, hanging(Duration::from_secs(4)), 4);
    let took = run_for(&brief, Duration::from_secs(1)).await;
    assert_eq!(world.settled(), [1]);
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(world.released.lock().unwrap().is_empty());

    let world = World::of([delivery(1, 1), delivery(1, 2)]);
    let (endless, _) = dispatcher(&world, hanging(Duration::from_hours(1)), 4);
    let took = run_for(&endless, Duration::from_secs(1)).await;
    assert!(world.settled().is_empty());
    assert!(took < LAST_ATTEMPTS * 2, "{took:?}");
    assert_eq!(world.released.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_delivery_and_no_other() {
    let world = World::of([delivery(2, 1)]);
    let receivers = hanging(Duration::ZERO);
    receivers.panics.store(1, Ordering::SeqCst);
    let (dispatcher, _) = dispatcher(&world, receivers, 1);
    let later = async {
        sleep(Duration::from_secs(1)).await;
        world.due.lock().unwrap().push_back(delivery(2, 2));
    };
    tokio::join!(run_for(&dispatcher, Duration::from_secs(5)), later);
    assert_eq!(world.settled(), [2]);
    // Nobody else waits for the end of its lease.
    assert_eq!(world.released.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn old_deliveries_are_swept_until_none_is_left() {
    let world = World::of([]);
    let (dispatcher, _) = dispatcher(&world, hanging(Duration::ZERO), 1);
    run_for(&dispatcher, SWEEP_EVERY + Duration::from_secs(1)).await;
    assert_eq!(world.sweeps.load(Ordering::SeqCst), 4);
}
