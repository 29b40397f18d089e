//! The generation worker: leases messages, has a generator make them, stores what it made.
//!
//! One worker is one endless stream: tasks are leased when the last ones are taken, so that a
//! slow message holds up nobody, at most `concurrency` generator calls run at once, and results
//! are stored as they come. Leases are renewed beside it for as long as they hold anything.

use std::any::Any;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use rerun_core::error::StoreError;
use rerun_core::generation::{GenerationError, GenerationTask, Settled, TaskResult};
use rerun_core::ids::LeaseId;
use rerun_core::ports::{Backoff, Clock, IDEMPOTENCY_WINDOW, IdempotencyStore, MessageGenerator};
use rerun_core::usecases::{Generation, LeasedTasks};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use crate::metrics::Metrics;
use crate::system::Shutdown;

/// The most results that are stored at once.
const SETTLE_BATCH: usize = 500;

/// How often results are offered to a failing store once the process is to end.
const LAST_SETTLE_ATTEMPTS: u32 = 3;

/// How a worker works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerOptions {
    /// Generator calls at once, at least 1.
    pub concurrency: usize,
    /// The most messages to lease at once. For a slow generator about `concurrency`, so that
    /// other workers find something to do and a crash leaves little behind; a quick one takes
    /// more at a time to spare the store.
    pub batch: u32,
    /// How long to wait before asking again when nothing was due.
    pub idle: Duration,
}

/// Makes messages until it is told to end.
pub struct Worker {
    generation: Generation,
    generator: Arc<dyn MessageGenerator>,
    pause: Arc<dyn Backoff>,
    wake: Arc<Notify>,
    options: WorkerOptions,
    metrics: Metrics,
}

impl Worker {
    /// `pause` says how long to wait after the store failed; a notification of `wake` ends a
    /// wait for something to do.
    #[must_use]
    pub fn new(
        generation: Generation,
        generator: Arc<dyn MessageGenerator>,
        pause: Arc<dyn Backoff>,
        wake: Arc<Notify>,
        options: WorkerOptions,
    ) -> Self {
        Self {
            generation,
            generator,
            pause,
            wake,
            options,
            metrics: Metrics::default(),
        }
    }

    /// Counts what it does there.
    #[must_use]
    pub fn counted_in(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Works until `shutdown` is requested. Then generator calls are dropped, finished results
    /// stored, and leases given back. No failure of store or generator ends it.
    pub async fn run(&self, shutdown: &Shutdown) {
        let leases = Leases::default();
        let work = async {
            let results = self
                .tasks(&leases, shutdown)
                .map(|(lease, task)| self.attempt(lease, task, shutdown))
                .buffer_unordered(self.options.concurrency.max(1))
                .filter_map(std::future::ready)
                .ready_chunks(SETTLE_BATCH);
            let mut results = pin!(results);
            while let Some(chunk) = results.next().await {
                self.settle(&leases, chunk, shutdown).await;
                // A generator that never waits would keep everything else from running.
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = work => {}
            () = self.keep(&leases) => {}
        }
        for lease in leases.all() {
            match self.generation.release(lease).await {
                Ok(messages) => tracing::debug!(%lease, messages, "gave a lease back"),
                Err(error) => warn(
                    "a lease could not be given back; it will end by itself",
                    &error,
                ),
            }
        }
    }

    /// Leased tasks, without end until `shutdown` is requested.
    fn tasks(
        &self,
        leases: &Leases,
        shutdown: &Shutdown,
    ) -> impl Stream<Item = (LeaseId, GenerationTask)> {
        stream::unfold(VecDeque::new(), move |mut queue| async move {
            loop {
                if shutdown.is_requested() {
                    return None;
                }
                while let Some((lease, task)) = queue.pop_front() {
                    if leases.hold(lease) {
                        return Some(((lease, task), queue));
                    }
                }
                queue = self.lease(leases, shutdown).await;
            }
        })
    }

    /// Asks until there is something to do; empty when `shutdown` is requested instead.
    async fn lease(
        &self,
        leases: &Leases,
        shutdown: &Shutdown,
    ) -> VecDeque<(LeaseId, GenerationTask)> {
        let mut failed = 0;
        while !shutdown.is_requested() {
            let asked = Instant::now();
            match self.lease_batch().await {
                Ok(LeasedTasks { tasks, .. }) if tasks.is_empty() => {
                    failed = 0;
                    tokio::select! {
                        () = sleep(self.options.idle) => {}
                        () = self.wake.notified() => {}
                        () = shutdown.requested() => {}
                    }
                }
                Ok(LeasedTasks { lease, tasks }) => {
                    tracing::debug!(%lease, messages = tasks.len(), "leased");
                    let until = asked + self.generation.policy().lease;
                    leases.add(lease, tasks.len(), until);
                    return tasks.into_iter().map(|task| (lease, task)).collect();
                }
                Err(error) => {
                    failed += 1;
                    warn("no messages could be leased", &error);
                    self.pause(failed, shutdown).await;
                }
            }
        }
        VecDeque::new()
    }

    /// As a task of its own: this stream stands still while results are stored, and a request that
    /// stood still with it could keep from them the store's lock that it had been given.
    async fn lease_batch(&self) -> Result<LeasedTasks, StoreError> {
        let (generation, batch) = (self.generation.clone(), self.options.batch);
        let leased = tokio::spawn(async move { generation.lease(batch).await }).await;
        leased.unwrap_or_else(|panicked| Err(StoreError::Backend(panicked.into())))
    }

    /// `None` when `shutdown` was requested before the generator answered.
    async fn attempt(
        &self,
        lease: LeaseId,
        task: GenerationTask,
        shutdown: &Shutdown,
    ) -> Option<(LeaseId, TaskResult)> {
        let span = tracing::debug_span!(
            "generate",
            campaign_id = %task.campaign_id,
            run_number = %task.run_number,
            message_id = %task.message_id,
        );
        let (begun, in_flight) = (Instant::now(), self.metrics.call());
        let call = AssertUnwindSafe(self.generator.generate(&task)).catch_unwind();
        let attempt = tokio::select! {
            biased;
            attempt = call.instrument(span) => attempt,
            () = shutdown.requested() => return None,
        };
        drop(in_flight);
        let well = matches!(attempt, Ok(Ok(_)));
        self.metrics.called(well, begun.elapsed());
        let attempt = attempt.unwrap_or_else(|panic| {
            tracing::error!(panic = panic_text(panic.as_ref()), "the generator panicked");
            Err(GenerationError::new("the generator panicked"))
        });
        if let Err(error) = &attempt {
            tracing::warn!(
                campaign_id = %task.campaign_id,
                message_id = %task.message_id,
                failed_attempts = task.failed_attempts + 1,
                %error,
                "a message could not be generated"
            );
        }
        Some((lease, self.generation.judge(&task, attempt)))
    }

    async fn settle(
        &self,
        leases: &Leases,
        results: Vec<(LeaseId, TaskResult)>,
        shutdown: &Shutdown,
    ) {
        let mut by_lease: BTreeMap<LeaseId, Vec<TaskResult>> = BTreeMap::new();
        for (lease, result) in results {
            by_lease.entry(lease).or_default().push(result);
        }
        for (lease, results) in by_lease {
            let messages = results.len();
            let mut failed = 0;
            loop {
                // What was stored before a failure has left the lease, so that offering
                // everything again stores nothing twice.
                let span = tracing::debug_span!("settle", messages);
                let settle = self.generation.settle(lease, results.clone());
                let error = match settle.instrument(span).await {
                    Ok(settled) => {
                        self.metrics.settled(messages, settled);
                        tracing::debug!(%lease, messages, ?settled, "stored results");
                        break;
                    }
                    Err(error) => error,
                };
                failed += 1;
                warn("results could not be stored", &error);
                let ending = shutdown.is_requested() && failed >= LAST_SETTLE_ATTEMPTS;
                if ending || !leases.hold(lease) {
                    self.metrics.settled(messages, Settled::default());
                    tracing::warn!(%lease, messages, "results are lost: they will be made again");
                    break;
                }
                self.pause(failed, shutdown).await;
            }
            leases.done(lease, messages);
        }
    }

    /// Renews every lease at a third of its length, sooner after a failure. Never ends.
    async fn keep(&self, leases: &Leases) {
        let length = self.generation.policy().lease;
        let mut wait = length / 3;
        loop {
            sleep(wait).await;
            let renewed = join_all(leases.all().into_iter().map(async |lease| {
                let asked = Instant::now();
                match self.generation.renew(lease).await {
                    Ok(0) => {
                        // Cancelled, or taken over after it had ended.
                        tracing::debug!(%lease, "a lease holds nothing any more");
                        leases.lost(lease);
                        true
                    }
                    Ok(_) => {
                        leases.renewed(lease, asked + length);
                        true
                    }
                    Err(error) => {
                        warn("a lease could not be renewed", &error);
                        false
                    }
                }
            }))
            .await;
            wait = if renewed.contains(&false) {
                length / 12
            } else {
                length / 3
            };
        }
    }

    async fn pause(&self, failed: u32, shutdown: &Shutdown) {
        tokio::select! {
            () = sleep(self.pause.delay(failed)) => {}
            () = shutdown.requested() => {}
        }
    }
}

/// The leases that hold something, as far as this worker knows.
#[derive(Debug, Default)]
struct Leases(Mutex<HashMap<LeaseId, Held>>);

#[derive(Debug)]
struct Held {
    /// Messages whose results have not been stored.
    messages: usize,
    until: Instant,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseId, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, lease: LeaseId, messages: usize, until: Instant) {
        self.lock().insert(lease, Held { messages, until });
    }

    /// Whether results under the lease can still be stored.
    fn hold(&self, lease: LeaseId) -> bool {
        self.lock()
            .get(&lease)
            .is_some_and(|held| Instant::now() < held.until)
    }

    fn renewed(&self, lease: LeaseId, until: Instant) {
        if let Some(held) = self.lock().get_mut(&lease) {
            held.until = until;
        }
    }

    fn done(&self, lease: LeaseId, messages: usize) {
        let mut leases = self.lock();
        if let Some(held) = leases.get_mut(&lease) {
            held.messages = held.messages.saturating_sub(messages);
            if held.messages == 0 {
                leases.remove(&lease);
            }
        }
    }

    fn lost(&self, lease: LeaseId) {
        self.lock().remove(&lease);
    }

    fn all(&self) -> Vec<LeaseId> {
        self.lock().keys().copied().collect()
    }
}

/// Forgets, once an hour, responses that were kept under an idempotency key for long enough.
pub struct Housekeeping {
    responses: Arc<dyn IdempotencyStore>,
    clock: Arc<dyn Clock>,
}

impl Housekeeping {
    const EVERY: Duration = Duration::from_hours(1);

    /// Over these ports.
    #[must_use]
    pub fn new(responses: Arc<dyn IdempotencyStore>, clock: Arc<dyn Clock>) -> Self {
        Self { responses, clock }
    }

    /// Keeps house until `shutdown` is requested.
    pub async fn run(&self, shutdown: &Shutdown) {
        while !shutdown.is_requested() {
            match self
                .responses
                .forget_responses(self.clock.now() - IDEMPOTENCY_WINDOW)
                .await
            {
                Ok(forgotten) => tracing::debug!(forgotten, "forgot old responses"),
                Err(error) => warn("old responses could not be forgotten", &error),
            }
            tokio::select! {
                () = sleep(Self::EVERY) => {}
                () = shutdown.requested() => {}
            }
        }
    }
}

fn warn(what: &str, error: &StoreError) {
    tracing::warn!(error = error_chain(error), "{what}");
}

/// An error with everything that caused it, each once: some errors repeat their cause.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use rerun_core::Timestamp;
    use rerun_core::campaign::Template;
    use rerun_core::generation::{GenerationBrief, GenerationPolicy, Settled, TaskOutcome};
    use rerun_core::ids::{AccountId, CampaignId, MessageId, RunNumber};
    use rerun_core::message::Content;
    use rerun_core::ports::{
        GenerationQueue, MockBackoff, MockClock, MockGenerationQueue, MockIdGenerator,
        MockIdempotencyStore, SettleRun,
    };
    use rerun_core::segment::{Attributes, SegmentBy};
    use rerun_core::usecases::Stamps;
    use uuid::Uuid;

    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    /// A generator that takes as long as the test says.
    #[derive(Default)]
    struct Slow {
        takes: Duration,
        calls: AtomicUsize,
        at_once: AtomicUsize,
        most_at_once: AtomicUsize,
    }

    #[async_trait]
    impl MessageGenerator for Slow {
        async fn generate(&self, task: &GenerationTask) -> Result<Content, GenerationError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
            if !self.takes.is_zero() {
                sleep(self.takes).await;
            }
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            let subject = task.message_id.to_string();
            Ok(Content {
                subject,
                body: "b".to_owned(),
            })
        }
    }

    fn task(number: u128) -> GenerationTask {
        GenerationTask {
            account_id: AccountId::new(Uuid::nil()),
            campaign_id: CampaignId::new(Uuid::nil()),
            run_number: RunNumber::FIRST,
            message_id: MessageId::new(Uuid::from_u128(number)),
            failed_attempts: 0,
            attributes: Attributes::new([]),
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
        limits: Mutex<Vec<(Duration, u32)>>,
        settled: Mutex<Vec<(Duration, Vec<TaskResult>)>>,
        settle_failures: AtomicUsize,
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
        queue.expect_lease().returning(move |_, limit, _, _| {
            of.limits.lock().unwrap().push((begun.elapsed(), limit));
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
            of.settled
                .lock()
                .unwrap()
                .push((begun.elapsed(), settle.results));
            Ok(Settled::default())
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
            Stamps {
                clock: Arc::new(clock),
                ids: Arc::new(ids),
            },
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
        assert_eq!(world.limits.lock().unwrap()[0].1, 2_000);
        assert!(
            world.released.lock().unwrap().is_empty(),
            "nothing was held any more"
        );
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
            async fn generate(&self, task: &GenerationTask) -> Result<Content, GenerationError> {
                let slow = task.message_id.as_uuid().is_nil();
                sleep(Duration::from_secs(if slow { 100 } else { 1 })).await;
                Ok(Content {
                    subject: "s".into(),
                    body: "b".into(),
                })
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
            sleep(Duration::from_millis(1_200)).await;
            wake.notify_one();
            sleep(Duration::from_millis(100)).await;
            trigger.request();
        });
        let asked: Vec<u128> = world
            .limits
            .lock()
            .unwrap()
            .iter()
            .map(|(at, _)| at.as_millis())
            .collect();
        assert_eq!(asked, [0, 500, 1_000, 1_200]);
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
            .limits
            .lock()
            .unwrap()
            .iter()
            .map(|(at, _)| at.as_secs())
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
            async fn generate(&self, task: &GenerationTask) -> Result<Content, GenerationError> {
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
                other @ (TaskOutcome::Generated(_) | TaskOutcome::Failed { .. }) => {
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
        queue: MockGenerationQueue,
    }

    #[async_trait]
    impl GenerationQueue for TakingTurns {
        async fn lease(
            &self,
            lease: LeaseId,
            limit: u32,
            now: Timestamp,
            until: Timestamp,
        ) -> Result<Vec<GenerationTask>, StoreError> {
            let _turn = self.turns.lock().await;
            self.queue.lease(lease, limit, now, until).await
        }

        async fn renew(
            &self,
            lease: LeaseId,
            now: Timestamp,
            until: Timestamp,
        ) -> Result<u64, StoreError> {
            let _turn = self.turns.lock().await;
            self.queue.renew(lease, now, until).await
        }

        async fn release(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError> {
            let _turn = self.turns.lock().await;
            self.queue.release(lease, now).await
        }

        async fn settle(&self, settle: SettleRun) -> Result<Settled, StoreError> {
            let _turn = self.turns.lock().await;
            self.queue.settle(settle).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_leasing_was_given_is_not_kept_from_results() {
        let world = World::of(vec![Ok(tasks(0..1))]);
        let store = Arc::new(TakingTurns {
            turns: tokio::sync::Mutex::new(()),
            queue: queue(&world, Instant::now()),
        });
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
}
