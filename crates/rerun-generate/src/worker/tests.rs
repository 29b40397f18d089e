mod lanes;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::campaign::Template;
use rerun_core::generation::{
    FailureKind, GenerationBrief, GenerationPolicy, Made, NearestMessage, SettledRun, Usage,
};
use rerun_core::ids::{AccountId, CampaignId, MessageId, RunNumber};
use rerun_core::message::Content;
use rerun_core::ports::{
    GenerationQueue, IDEMPOTENCY_WINDOW, LeaseTasks, MockBackoff, MockClock, MockGenerationQueue,
    MockIdGenerator, MockIdempotencyStore, SettleRun,
};
use rerun_core::segment::{Attributes, KeptValues, SegmentBy, SegmentKey};
use rerun_core::usecases::Host;
use uuid::Uuid;

use super::*;

const LEASE: Duration = Duration::from_secs(30);

/// A generator that takes as long as the test says.
#[derive(Default)]
struct Slow {
    takes: Duration,
    /// How many bytes the body has besides its first.
    more: usize,
    calls: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

#[async_trait]
impl MessageGenerator for Slow {
    async fn generate(&self, task: &GenerationTask) -> Result<Made, GenerationError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        if !self.takes.is_zero() {
            sleep(self.takes).await;
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let subject = task.message_id.to_string();
        Ok(Made::from(Content {
            subject,
            body: "b".repeat(1 + self.more),
        }))
    }
}

fn task(number: u128) -> GenerationTask {
    GenerationTask {
        account_id: AccountId::new(Uuid::nil()),
        campaign_id: CampaignId::new(Uuid::nil()),
        run_number: RunNumber::FIRST,
        message_id: MessageId::new(Uuid::from_u128(number)),
        failed_attempts: 0,
        put_off: Duration::ZERO,
        attributes: Attributes::new([]),
        example: None,
        brief: Arc::new(GenerationBrief {
            template: Template {
                subject: "s".into(),
                body: "b".into(),
            },
            brief: None,
            segment_by: SegmentBy::new(&["country"]).unwrap(),
        }),
    }
}

fn tasks(numbers: std::ops::Range<u128>) -> Vec<GenerationTask> {
    numbers.map(task).collect()
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("down".into())
}

/// What the mocked queue was told, and what it is to answer.
#[derive(Default)]
struct World {
    /// Answers to requests for tasks, the first first; then nothing is due.
    due: Mutex<VecDeque<Result<Vec<GenerationTask>, StoreError>>>,
    asked: Mutex<Vec<Duration>>,
    limits: Mutex<Vec<u32>>,
    settled: Mutex<Vec<(Duration, Vec<TaskResult>)>>,
    settle_failures: AtomicUsize,
    /// An account whose results cannot be stored, and how often they were offered.
    lost: Mutex<Option<AccountId>>,
    offers: AtomicUsize,
    renewals: Mutex<Vec<Duration>>,
    /// How many renewals to answer before the lease holds nothing any more.
    renewable: Mutex<Option<usize>>,
    renew_failures: AtomicUsize,
    released: Mutex<Vec<LeaseId>>,
}

impl World {
    fn of(due: Vec<Result<Vec<GenerationTask>, StoreError>>) -> Arc<Self> {
        Arc::new(Self {
            due: Mutex::new(due.into()),
            ..Self::default()
        })
    }

    fn messages(&self) -> Vec<u128> {
        let settled = self.settled.lock().unwrap();
        let results = settled.iter().flat_map(|(_, results)| results);
        let mut ids: Vec<u128> = results.map(|r| r.message_id.as_uuid().as_u128()).collect();
        ids.sort_unstable();
        ids
    }
}

fn fail_once(failures: &AtomicUsize) -> bool {
    let less = |n: usize| n.checked_sub(1);
    failures
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok()
}

fn queue(world: &Arc<World>, begun: Instant) -> MockGenerationQueue {
    let mut queue = MockGenerationQueue::new();
    let of = Arc::clone(world);
    queue.expect_due_accounts().returning(move |after, _, _| {
        // The one account, then nothing until all are asked for again.
        if after.is_some() {
            return Ok(Vec::new());
        }
        of.asked.lock().unwrap().push(begun.elapsed());
        let mut due = of.due.lock().unwrap();
        match due.front() {
            None => Ok(Vec::new()),
            Some(Ok(_)) => Ok(vec![AccountId::new(Uuid::nil())]),
            Some(Err(_)) => due.pop_front().unwrap().map(|_| Vec::new()),
        }
    });
    let of = Arc::clone(world);
    queue.expect_lease().returning(move |request| {
        of.limits.lock().unwrap().push(request.limit);
        of.due
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or_else(|| Ok(Vec::new()))
    });
    let of = Arc::clone(world);
    queue.expect_settle().returning(move |settle: SettleRun| {
        if fail_once(&of.settle_failures) {
            return Err(unavailable());
        }
        if *of.lost.lock().unwrap() == Some(settle.account_id) {
            of.offers.fetch_add(1, Ordering::SeqCst);
            return Err(unavailable());
        }
        of.settled
            .lock()
            .unwrap()
            .push((begun.elapsed(), settle.results));
        Ok(SettledRun::default())
    });
    let of = Arc::clone(world);
    queue.expect_renew().returning(move |_, _, _| {
        of.renewals.lock().unwrap().push(begun.elapsed());
        if fail_once(&of.renew_failures) {
            return Err(unavailable());
        }
        match of.renewable.lock().unwrap().as_mut() {
            Some(0) => Ok(0),
            Some(left) => {
                *left -= 1;
                Ok(1)
            }
            None => Ok(1),
        }
    });
    let of = Arc::clone(world);
    queue.expect_release().returning(move |lease, _| {
        of.released.lock().unwrap().push(lease);
        Ok(1)
    });
    queue
}

fn worker(
    world: &Arc<World>,
    generator: Arc<dyn MessageGenerator>,
    concurrency: usize,
) -> (Worker, Arc<Notify>) {
    let queue = Arc::new(queue(world, Instant::now()));
    worker_over(queue, generator, concurrency)
}

fn worker_over(
    queue: Arc<dyn GenerationQueue>,
    generator: Arc<dyn MessageGenerator>,
    concurrency: usize,
) -> (Worker, Arc<Notify>) {
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
    let backoff: Arc<dyn Backoff> = Arc::new(backoff);
    let generation = Generation::new(
        queue,
        Arc::clone(&backoff),
        Host::new(clock, ids),
        GenerationPolicy {
            lease: LEASE,
            ..GenerationPolicy::default()
        },
    );
    let wake = Arc::new(Notify::new());
    let options = WorkerOptions {
        concurrency,
        batch: 2_000,
        idle: Duration::from_millis(500),
    };
    (
        Worker::new(generation, generator, backoff, Arc::clone(&wake), options),
        wake,
    )
}

/// Lets the worker work for a while, then ends it.
async fn run_for(worker: &Worker, time: Duration) {
    let (trigger, shutdown) = Shutdown::new();
    tokio::join!(worker.run(&shutdown), async {
        sleep(time).await;
        trigger.request();
    });
}

#[tokio::test(start_paused = true)]
async fn every_task_is_generated_once_and_settled() {
    let world = World::of(vec![Ok(tasks(0..1_200)), Ok(tasks(1_200..1_300))]);
    let generator = Arc::new(Slow::default());
    let (worker, _) = worker(&world, generator.clone(), 4);
    run_for(&worker, Duration::from_secs(1)).await;
    assert_eq!(world.messages(), (0..1_300).collect::<Vec<_>>());
    assert_eq!(generator.calls.load(Ordering::SeqCst), 1_300);
    let settled = world.settled.lock().unwrap();
    assert!(
        settled
            .iter()
            .all(|(_, results)| results.len() <= SETTLE_BATCH)
    );
    assert!(settled.len() < 10, "{} transactions", settled.len());
    assert!(
        world.released.lock().unwrap().is_empty(),
        "nothing was held any more"
    );
}

#[tokio::test(start_paused = true)]
async fn as_many_messages_are_leased_as_are_soon_made() {
    let quick = Duration::from_millis(5);
    let limits = async |takes| {
        let leases = [0..4, 4..12, 12..28, 28..60];
        let world = World::of(leases.map(|ids| Ok(tasks(ids))).into());
        let generator = Arc::new(Slow {
            takes,
            ..Slow::default()
        });
        let (worker, _) = worker(&world, generator, 4);
        run_for(&worker, Duration::from_secs(1)).await;
        let limits = world.limits.lock().unwrap();
        limits.clone()
    };
    assert_eq!(limits(Duration::ZERO).await[..4], [4, 8, 16, 32]);
    assert_eq!(limits(quick).await.last(), Some(&8), "10 ms for 4 at once");
    assert_eq!(
        limits(quick * 100).await.last(),
        Some(&4),
        "one for each call"
    );
}

/// Otherwise what another account queues waits for results that were made before it came, and for
/// the next lease.
#[tokio::test(start_paused = true)]
async fn one_writer_stores_what_is_made_before_more_is_leased() {
    for one_writer in [true, false] {
        let leases = [0..4, 4..12, 12..28, 28..60];
        let world = World::of(leases.map(|ids| Ok(tasks(ids))).into());
        let store = TakingTurns::over(&world, Duration::from_millis(3));
        let (worker, _) = worker_over(store.clone(), Arc::new(Slow::default()), 4);
        let worker = Worker {
            one_writer,
            ..worker
        };
        run_for(&worker, Duration::from_secs(1)).await;
        assert_eq!(world.messages().len(), 60);
        let waits = store.waits.load(Ordering::SeqCst);
        assert_eq!(waits == 0, one_writer, "{waits} waited");
        let limits = world.limits.lock().unwrap();
        // The messages of each lease were stored in 3 ms, however many they were.
        let expected = if one_writer {
            [4, 4, 8, 16]
        } else {
            [4, 8, 16, 32]
        };
        assert_eq!(limits[..4], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn large_results_are_stored_before_many_are_held() {
    let world = World::of(vec![Ok(tasks(0..200))]);
    let generator = Arc::new(Slow {
        more: 199_999,
        ..Slow::default()
    });
    let (worker, _) = worker(&world, generator, 4);
    run_for(&worker, Duration::from_secs(1)).await;
    assert_eq!(world.messages(), (0..200).collect::<Vec<_>>());
    for (_, results) in world.settled.lock().unwrap().iter() {
        assert!(
            results.len() * 200_000 < SETTLE_BYTES + 200_000,
            "{}",
            results.len()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_are_bounded_and_results_do_not_wait_for_the_batch() {
    let world = World::of(vec![Ok(tasks(0..9))]);
    let generator = Arc::new(Slow {
        takes: Duration::from_secs(1),
        ..Slow::default()
    });
    let (worker, _) = worker(&world, generator.clone(), 3);
    run_for(&worker, Duration::from_millis(3_500)).await;
    assert_eq!(generator.most_at_once.load(Ordering::SeqCst), 3);
    let seconds: Vec<u64> = world
        .settled
        .lock()
        .unwrap()
        .iter()
        .map(|(at, _)| at.as_secs())
        .collect();
    assert_eq!((seconds.first(), seconds.last()), (Some(&1), Some(&3)));
    assert_eq!(world.messages().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_slow_message_does_not_hold_up_the_next_batch() {
    struct OneSlow;
    #[async_trait]
    impl MessageGenerator for OneSlow {
        async fn generate(&self, task: &GenerationTask) -> Result<Made, GenerationError> {
            let slow = task.message_id.as_uuid().is_nil();
            sleep(Duration::from_secs(if slow { 100 } else { 1 })).await;
            Ok(Made::from(Content {
                subject: "s".into(),
                body: "b".into(),
            }))
        }
    }
    let world = World::of(vec![Ok(tasks(0..2)), Ok(tasks(2..4)), Ok(tasks(4..6))]);
    let (worker, _) = worker(&world, Arc::new(OneSlow), 2);
    run_for(&worker, Duration::from_secs(10)).await;
    assert_eq!(world.messages(), [1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_at_a_third_of_their_length() {
    let world = World::of(vec![Ok(tasks(0..1))]);
    let generator = Arc::new(Slow {
        takes: Duration::from_secs(95),
        ..Slow::default()
    });
    let (worker, _) = worker(&world, generator, 1);
    run_for(&worker, Duration::from_mins(2)).await;
    let seconds: Vec<u64> = world
        .renewals
        .lock()
        .unwrap()
        .iter()
        .map(Duration::as_secs)
        .collect();
    assert_eq!(seconds, [10, 20, 30, 40, 50, 60, 70, 80, 90]);
    assert_eq!(world.messages(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_is_tried_again_soon() {
    let world = World::of(vec![Ok(tasks(0..1))]);
    world.renew_failures.store(1, Ordering::SeqCst);
    let generator = Arc::new(Slow {
        takes: Duration::from_secs(20),
        ..Slow::default()
    });
    let (worker, _) = worker(&world, generator, 1);
    run_for(&worker, Duration::from_secs(25)).await;
    let renewals = world.renewals.lock().unwrap();
    assert_eq!(
        *renewals,
        [Duration::from_secs(10), Duration::from_millis(12_500)]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_lease_held_is_not_generated() {
    let world = World::of(vec![Ok(tasks(0..10))]);
    *world.renewable.lock().unwrap() = Some(1);
    let generator = Arc::new(Slow {
        takes: Duration::from_secs(6),
        ..Slow::default()
    });
    let (worker, _) = worker(&world, generator.clone(), 1);
    run_for(&worker, Duration::from_secs(100)).await;
    // The lease was lost at 20 s, in the fourth call.
    assert_eq!(generator.calls.load(Ordering::SeqCst), 4);
    assert!(world.released.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_ends_at_its_time() {
    let world = World::of(vec![Ok(tasks(0..10))]);
    world.renew_failures.store(usize::MAX, Ordering::SeqCst);
    let generator = Arc::new(Slow {
        takes: Duration::from_secs(8),
        ..Slow::default()
    });
    let (worker, _) = worker(&world, generator.clone(), 1);
    run_for(&worker, Duration::from_secs(100)).await;
    assert_eq!(
        generator.calls.load(Ordering::SeqCst),
        4,
        "none begins after 30 s"
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_polls_and_can_be_woken() {
    let world = World::of(vec![]);
    let (worker, wake) = worker(&world, Arc::new(Slow::default()), 1);
    let (trigger, shutdown) = Shutdown::new();
    tokio::join!(worker.run(&shutdown), async {
        sleep(Duration::from_millis(3_200)).await;
        wake.notify_one();
        sleep(Duration::from_millis(100)).await;
        trigger.request();
    });
    let asked: Vec<u128> = world
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(Duration::as_millis)
        .collect();
    let attentive: Vec<u128> = (0..=16).map(|n| n * 125).collect();
    assert_eq!(asked[..17], attentive, "more often at first");
    assert_eq!(asked[17..], [2_500, 3_000, 3_200]);
}

#[test]
fn a_cause_is_new_once_for_each_run() {
    let causes = Causes::default();
    let is_new = |run: i64, error: &str| {
        let run = RunNumber::new(run).unwrap();
        causes.is_new(CampaignId::new(Uuid::nil()), run, "failed", error)
    };
    assert!(is_new(1, "status 401"));
    assert!(!is_new(1, "status 401"));
    assert!(is_new(1, "status 500"));
    assert!(is_new(2, "status 401"));
    assert!(!is_new(1, "status 401"), "others in between change nothing");
    for n in 0..2 * Causes::KEPT {
        assert!(is_new(1, &n.to_string()));
    }
    assert!(causes.0.lock().unwrap().len() <= Causes::KEPT, "bounded");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_asked_again_ever_more_slowly() {
    let world = World::of(vec![
        Err(unavailable()),
        Err(StoreError::Backend("broken".into())),
        Err(unavailable()),
        Ok(tasks(0..1)),
    ]);
    let (worker, _) = worker(&world, Arc::new(Slow::default()), 1);
    run_for(&worker, Duration::from_secs(7)).await;
    let asked: Vec<u64> = world
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(Duration::as_secs)
        .take(4)
        .collect();
    assert_eq!(asked, [0, 1, 3, 6]);
    assert_eq!(world.messages(), [0]);
}

#[tokio::test(start_paused = true)]
async fn results_outlive_a_failure_of_the_store() {
    let world = World::of(vec![Ok(tasks(0..3))]);
    world.settle_failures.store(5, Ordering::SeqCst);
    let generator = Arc::new(Slow::default());
    let (worker, _) = worker(&world, generator.clone(), 2);
    run_for(&worker, Duration::from_mins(1)).await;
    assert_eq!(world.messages(), [0, 1, 2]);
    assert_eq!(generator.calls.load(Ordering::SeqCst), 3);
    // The waits between the attempts took longer than a third of the lease.
    assert!(!world.renewals.lock().unwrap().is_empty());
}

/// As when it is on a server of the database that is lost.
#[tokio::test(start_paused = true)]
async fn an_account_whose_results_cannot_be_stored_holds_up_no_other() {
    let lost = AccountId::new(Uuid::from_u128(7));
    let mut shared = tasks(0..10);
    for task in shared.iter_mut().step_by(2) {
        task.account_id = lost;
    }
    let world = World::of(vec![Ok(shared), Ok(tasks(10..12))]);
    *world.lost.lock().unwrap() = Some(lost);
    let generator = Arc::new(Slow {
        takes: Duration::from_millis(10),
        ..Slow::default()
    });
    let (worker, _) = worker(&world, generator, 2);
    run_for(&worker, Duration::from_millis(100)).await;
    assert_eq!(world.messages(), [1, 3, 5, 7, 9, 10, 11]);
}

/// Although their lease is renewed for the sake of other accounts.
#[tokio::test(start_paused = true)]
async fn results_that_cannot_be_stored_are_given_up_after_the_length_of_a_lease() {
    let lost = AccountId::new(Uuid::from_u128(7));
    let mut shared = tasks(0..30);
    shared[0].account_id = lost;
    shared[29].account_id = lost;
    let world = World::of(vec![Ok(shared)]);
    *world.lost.lock().unwrap() = Some(lost);
    let generator = Arc::new(Slow {
        takes: Duration::from_secs(4),
        ..Slow::default()
    });
    let (worker, _) = worker(&world, generator.clone(), 1);
    run_for(&worker, Duration::from_secs(200)).await;
    assert_eq!(world.messages(), (1..29).collect::<Vec<_>>());
    // At 4, 5, 7, 10, 14, 19, 25, 32 and 40 s.
    assert_eq!(world.offers.load(Ordering::SeqCst), 9);
    let calls = generator.calls.load(Ordering::SeqCst);
    assert_eq!(calls, 29, "none for what was given up");
}

#[tokio::test(start_paused = true)]
async fn at_the_end_finished_results_are_stored_and_leases_given_back() {
    let world = World::of(vec![Ok(tasks(0..10))]);
    let generator = Arc::new(Slow {
        takes: Duration::from_secs(10),
        ..Slow::default()
    });
    let (worker, _) = worker(&world, generator.clone(), 4);
    let begun = Instant::now();
    run_for(&worker, Duration::from_secs(15)).await;
    assert_eq!(
        begun.elapsed(),
        Duration::from_secs(15),
        "calls are dropped, not awaited"
    );
    assert_eq!(world.messages(), [0, 1, 2, 3]);
    assert_eq!(generator.calls.load(Ordering::SeqCst), 8);
    assert_eq!(world.released.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_a_store_that_is_gone() {
    let world = World::of(vec![Ok(tasks(0..1))]);
    world.settle_failures.store(usize::MAX, Ordering::SeqCst);
    let (worker, _) = worker(&world, Arc::new(Slow::default()), 1);
    let begun = Instant::now();
    run_for(&worker, Duration::from_millis(100)).await;
    assert_eq!(begun.elapsed(), Duration::from_millis(100));
    assert!(world.messages().is_empty());
}

#[tokio::test(start_paused = true)]
async fn failures_and_panics_of_the_generator_are_failed_attempts() {
    struct Bad;
    #[async_trait]
    impl MessageGenerator for Bad {
        async fn generate(&self, task: &GenerationTask) -> Result<Made, GenerationError> {
            assert!(!task.message_id.as_uuid().is_nil(), "the first one panics");
            Err(GenerationError::new("busy"))
        }
    }
    let world = World::of(vec![Ok(tasks(0..2))]);
    let (worker, _) = worker(&world, Arc::new(Bad), 1);
    run_for(&worker, Duration::from_secs(1)).await;
    let settled = world.settled.lock().unwrap();
    let mut errors: Vec<String> = settled
        .iter()
        .flat_map(|(_, results)| results)
        .map(|result| match &result.outcome {
            TaskOutcome::RetryAt { error, .. } => error.clone(),
            other @ (TaskOutcome::Generated(_)
            | TaskOutcome::PutOff { .. }
            | TaskOutcome::Failed { .. }) => {
                panic!("{other:?}")
            }
        })
        .collect();
    errors.sort_unstable();
    assert_eq!(errors, ["busy", "the generator panicked"]);
}

/// A store that does one thing at a time, for those who ask in their order.
struct TakingTurns {
    turns: tokio::sync::Mutex<()>,
    /// How long it takes to store results.
    settling: Duration,
    /// How often somebody had to wait for another.
    waits: AtomicUsize,
    queue: MockGenerationQueue,
}

impl TakingTurns {
    fn over(world: &Arc<World>, settling: Duration) -> Arc<Self> {
        Arc::new(Self {
            turns: tokio::sync::Mutex::new(()),
            settling,
            waits: AtomicUsize::new(0),
            queue: queue(world, Instant::now()),
        })
    }

    async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        if let Ok(turn) = self.turns.try_lock() {
            return turn;
        }
        self.waits.fetch_add(1, Ordering::SeqCst);
        self.turns.lock().await
    }
}

#[async_trait]
impl GenerationQueue for TakingTurns {
    async fn due_accounts(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        let _turn = self.turn().await;
        self.queue.due_accounts(after, limit, now).await
    }

    async fn lease(&self, request: LeaseTasks) -> Result<Vec<GenerationTask>, StoreError> {
        let _turn = self.turn().await;
        self.queue.lease(request).await
    }

    async fn examples(
        &self,
        account: AccountId,
        messages: Vec<MessageId>,
    ) -> Result<Vec<NearestMessage>, StoreError> {
        let _turn = self.turn().await;
        self.queue.examples(account, messages).await
    }

    async fn renew(
        &self,
        lease: LeaseId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError> {
        let _turn = self.turn().await;
        self.queue.renew(lease, now, until).await
    }

    async fn release(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError> {
        let _turn = self.turn().await;
        self.queue.release(lease, now).await
    }

    async fn settle(&self, settle: SettleRun) -> Result<SettledRun, StoreError> {
        let _turn = self.turn().await;
        sleep(self.settling).await;
        self.queue.settle(settle).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_leasing_was_given_is_not_kept_from_results() {
    let world = World::of(vec![Ok(tasks(0..1))]);
    let store = TakingTurns::over(&world, Duration::ZERO);
    let generator = Arc::new(Slow {
        takes: Duration::from_secs(1),
        ..Slow::default()
    });
    let (worker, _) = worker_over(store.clone(), generator, 2);
    let others = async {
        sleep(Duration::from_millis(400)).await;
        // Meanwhile the worker asks for tasks, then it has a result to store.
        let _turn = store.turns.lock().await;
        sleep(Duration::from_secs(2)).await;
    };
    let ended = tokio::time::timeout(Duration::from_mins(1), async {
        tokio::join!(run_for(&worker, Duration::from_secs(5)), others)
    });
    assert!(ended.await.is_ok(), "it waits for itself");
    assert_eq!(world.messages(), [0]);
}

#[tokio::test(start_paused = true)]
async fn old_responses_are_forgotten_every_hour() {
    let mut clock = MockClock::new();
    clock.expect_now().returning(|| Timestamp::UNIX_EPOCH);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let mut responses = MockIdempotencyStore::new();
    responses
        .expect_forget_responses()
        .returning(move |before| {
            assert_eq!(before, Timestamp::UNIX_EPOCH - IDEMPOTENCY_WINDOW);
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                Err(unavailable())
            } else {
                Ok(1)
            }
        });
    let housekeeping = Housekeeping::new(Arc::new(responses), Arc::new(clock));
    let (trigger, shutdown) = Shutdown::new();
    tokio::join!(housekeeping.run(&shutdown), async {
        sleep(Duration::from_mins(121)).await;
        trigger.request();
    });
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_leased_while_the_generator_takes_no_calls() {
    /// Puts the first call off for a minute, and says so to whoever asks.
    #[derive(Default)]
    struct Closed {
        until: Mutex<Option<Instant>>,
        calls: AtomicUsize,
    }
    #[async_trait]
    impl MessageGenerator for Closed {
        async fn generate(&self, task: &GenerationTask) -> Result<Made, GenerationError> {
            if self.calls.fetch_add(1, Ordering::SeqCst) == 0 {
                let wait = Duration::from_mins(1);
                *self.until.lock().unwrap() = Some(Instant::now() + wait);
                return Err(GenerationError::put_off(wait, "busy"));
            }
            Slow::default().generate(task).await
        }

        async fn ready(&self) {
            let until = *self.until.lock().unwrap();
            if let Some(until) = until {
                tokio::time::sleep_until(until).await;
            }
        }
    }
    let world = World::of(vec![Ok(tasks(0..1)), Ok(tasks(1..2))]);
    let generator = Arc::new(Closed::default());
    let (worker, _) = worker(&world, generator.clone(), 1);
    run_for(&worker, Duration::from_secs(61)).await;
    let asked = world.asked.lock().unwrap().clone();
    // It asks once more while the first call is made.
    let later: Vec<u64> = asked.iter().skip(1).map(Duration::as_secs).collect();
    assert!(later.iter().all(|at| *at >= 60), "{asked:?}");
    assert_eq!(generator.calls.load(Ordering::SeqCst), 2);
    let settled = world.settled.lock().unwrap();
    let outcomes: Vec<&TaskOutcome> = settled
        .iter()
        .flat_map(|(_, results)| results)
        .map(|result| &result.outcome)
        .collect();
    assert!(
        matches!(
            outcomes.as_slice(),
            [TaskOutcome::PutOff { wait, .. }, TaskOutcome::Generated(_)]
                if *wait == Duration::from_mins(1)
        ),
        "{outcomes:?}"
    );
}

/// Counts the calls of each method.
#[derive(Default)]
struct Seen {
    began: AtomicUsize,
    ended: AtomicUsize,
    returned: AtomicUsize,
    results: AtomicUsize,
}

impl Observer for Seen {
    fn call_began(&self) {
        self.began.fetch_add(1, Ordering::SeqCst);
    }

    fn call_ended(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    fn call_returned(&self, result: Result<(), FailureKind>, took: Duration) {
        assert_eq!((result, took), (Ok(()), Duration::from_secs(2)));
        self.returned.fetch_add(1, Ordering::SeqCst);
    }

    fn settled(&self, results: usize, _: Settled) {
        self.results.fetch_add(results, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_learns_of_every_call_and_its_end() {
    let world = World::of(vec![Ok(tasks(0..3))]);
    let generator = Arc::new(Slow {
        takes: Duration::from_secs(2),
        ..Slow::default()
    });
    let (worker, _) = worker(&world, generator, 2);
    let seen = Arc::new(Seen::default());
    let worker = worker.observed_by(seen.clone());
    // The third call begins after two seconds, and is dropped a second later.
    run_for(&worker, Duration::from_secs(3)).await;
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    assert_eq!((count(&seen.began), count(&seen.ended)), (3, 3));
    assert_eq!((count(&seen.returned), count(&seen.results)), (2, 2));
}

/// The tokens of the prompt and of the response, of each call that told them.
#[derive(Default)]
struct Tokens(Mutex<Vec<(u32, u32)>>);

impl Observer for Tokens {
    fn tokens_used(&self, usage: &Usage) {
        let tokens = (usage.prompt_tokens, usage.completion_tokens);
        self.0.lock().unwrap().push(tokens);
    }
}

/// Tells what each call used: the first one fails.
#[derive(Default)]
struct Metering {
    calls: AtomicUsize,
}

#[async_trait]
impl MessageGenerator for Metering {
    async fn generate(&self, _: &GenerationTask) -> Result<Made, GenerationError> {
        let usage = |prompt_tokens, completion_tokens| Usage {
            prompt_tokens,
            completion_tokens,
            model: None,
        };
        if self.calls.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(GenerationError {
                usage: Some(usage(1, 2)),
                ..GenerationError::new("refused")
            });
        }
        Ok(Made {
            content: Content {
                subject: "s".into(),
                body: "b".into(),
            },
            usage: Some(usage(3, 4)),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_learns_what_calls_used_failed_ones_too() {
    let world = World::of(vec![Ok(tasks(0..2))]);
    let (worker, _) = worker(&world, Arc::new(Metering::default()), 1);
    let seen = Arc::new(Tokens::default());
    let worker = worker.observed_by(seen.clone());
    run_for(&worker, Duration::from_secs(1)).await;
    assert_eq!(*seen.0.lock().unwrap(), [(1, 2), (3, 4)]);
}

/// Says what example each message had.
struct Learning;

#[async_trait]
impl MessageGenerator for Learning {
    async fn generate(&self, task: &GenerationTask) -> Result<Made, GenerationError> {
        let example = task.example.as_ref();
        let body = example.map_or("none", |example| example.content.body.as_str());
        Ok(Made::from(Content {
            subject: "s".into(),
            body: body.to_owned(),
        }))
    }

    fn takes_examples(&self) -> bool {
        true
    }
}

/// Examples are looked up once for a batch. Without them, messages are generated all the same.
#[tokio::test(start_paused = true)]
async fn a_generator_that_takes_examples_gets_them() {
    let world = World::of(vec![Ok(tasks(0..3)), Ok(tasks(3..4))]);
    let mut queue = queue(&world, Instant::now());
    let looks = Arc::new(AtomicUsize::new(0));
    let looked = Arc::clone(&looks);
    queue.expect_examples().returning(move |_, messages| {
        if looked.fetch_add(1, Ordering::SeqCst) > 0 {
            return Err(unavailable());
        }
        assert_eq!(messages.len(), 3);
        let content = Content {
            subject: "s".into(),
            body: "approved".into(),
        };
        let attributes = Attributes::new([]);
        let nearest = NearestMessage {
            suggested_for: messages[1],
            segment: KeptValues {
                key: SegmentKey::displaced(1),
                attributes,
                types: None,
                own: None,
            },
            content,
        };
        Ok(vec![nearest])
    });
    let (worker, _) = worker_over(Arc::new(queue), Arc::new(Learning), 1);
    run_for(&worker, Duration::from_secs(5)).await;
    assert_eq!(looks.load(Ordering::SeqCst), 2);
    let settled = world.settled.lock().unwrap();
    let results = settled.iter().flat_map(|(_, results)| results);
    let mut bodies = Vec::new();
    for result in results {
        if let TaskOutcome::Generated(content) = &result.outcome {
            bodies.push(content.body.as_str());
        }
    }
    assert_eq!(bodies, ["none", "approved", "none", "none"]);
}
