//! The generation worker: leases messages, calls a generator for them, and stores the results.
//!
//! A worker has lanes. Each is an endless stream: new tasks are leased when the last leased ones have
//! started, so that a slow message blocks no other, and results are stored as they come. A lease has tasks of
//! one account, and no two lanes have the same one. At most `concurrency` generator calls run at once in all
//! lanes. Beside them, leases are renewed for as long as they have unfinished tasks.
//!
//! While the generator accepts no calls, nothing is leased: other workers may have another
//! generator.

mod housekeeping;
mod leases;
mod previews;
#[cfg(test)]
mod tests;
mod turn;

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use rerun_core::error::{StoreError, chain};
use rerun_core::generation::{
    EndedRun, GenerationError, GenerationTask, Settled, TaskOutcome, TaskResult,
};
use rerun_core::ids::{CampaignId, LeaseId, RunNumber};
use rerun_core::ports::{Backoff, MessageGenerator};
use rerun_core::usecases::{Generation, LeasedTasks, Settlement};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use crate::observer::{Observer, Unobserved};
use crate::system::Shutdown;
pub use housekeeping::Housekeeping;
use leases::{Leases, Part};
pub use previews::Previews;
use turn::Turn;

/// The most results that are stored at once.
const SETTLE_BATCH: usize = 500;

/// The size at which results are stored although more are ready, in bytes of their content.
const SETTLE_BYTES: usize = 8 << 20;

fn content_bytes(result: &TaskResult) -> usize {
    match &result.outcome {
        TaskOutcome::Generated(content) => content.subject.len() + content.body.len(),
        TaskOutcome::RetryAt { .. } | TaskOutcome::PutOff { .. } | TaskOutcome::Failed { .. } => 0,
    }
}

/// Accounts that are served side by side, so that a short run waits for no turn of a long queue.
const LANES: usize = 2;

/// What the lanes of a worker share.
#[derive(Clone, Copy)]
struct Common<'a> {
    leases: &'a Arc<Leases>,
    /// One for each generator call that may be under way.
    calls: &'a Semaphore,
    shutdown: &'a Shutdown,
}

/// How long after the last message a worker asks more often. The first retry falls into it.
const ATTENTIVE: Duration = Duration::from_secs(2);

/// How often results are offered to a failing store once the process is to end.
const LAST_SETTLE_ATTEMPTS: u32 = 3;

/// How a worker works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerOptions {
    /// Generator calls at once, at least 1.
    pub concurrency: usize,
    /// The most messages to lease at once. For a slow generator about `concurrency`, so that
    /// other workers find something to do and a crash leaves little behind; a quick one takes
    /// more at a time to spare the store: as many as it makes in about 10 ms, so that no account
    /// waits long for its turn.
    pub batch: u32,
    /// How long to wait before asking again when nothing was due. In the first seconds after a
    /// message was leased the worker asks four times as often, so that a retry is not late.
    pub idle: Duration,
}

/// Generates messages until the shutdown is requested.
pub struct Worker {
    generation: Generation,
    generator: Arc<dyn MessageGenerator>,
    pause: Arc<dyn Backoff>,
    wake: Arc<Notify>,
    options: WorkerOptions,
    one_writer: bool,
    observer: Arc<dyn Observer>,
    causes: Causes,
}

impl Worker {
    /// `pause` says how long to wait after the store failed; a notification of `wake` ends a
    /// wait for something to do. Without notifications the worker looks every
    /// [`idle`](WorkerOptions::idle).
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
            one_writer: false,
            observer: Arc::new(Unobserved),
            causes: Causes::default(),
        }
    }

    /// Reports what it does to `observer`.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// For a store that writes one thing at a time, as SQLite does. Messages are then generated and stored in
    /// about 3 ms, before others are leased, so that other writes do not wait longer. Without this, two accounts are
    /// served side by side, and messages are leased while others are stored.
    #[must_use]
    pub fn with_one_writer(self) -> Self {
        Self {
            one_writer: true,
            ..self
        }
    }

    /// Works until `shutdown` is requested. Then generator calls are dropped, finished results
    /// stored, and leases given back. No failure of store or generator ends it. It needs a Tokio
    /// runtime with timers.
    pub async fn run(&self, shutdown: &Shutdown) {
        let leases = Arc::new(Leases::default());
        let common = Common {
            leases: &leases,
            calls: &Semaphore::new(self.options.concurrency.max(1)),
            shutdown,
        };
        let lanes = if self.one_writer { 1 } else { LANES };
        let work = join_all((0..lanes).map(|lane| self.work(lane, common)));
        tokio::select! {
            _ = work => {}
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

    /// Leases, generates and stores in one lane, until the shutdown is requested.
    async fn work(&self, lane: usize, common: Common<'_>) {
        let Common {
            leases, shutdown, ..
        } = common;
        let results = self
            .tasks(lane, common)
            .map(|(lease, task)| self.attempt(common, lease, task))
            .buffer_unordered(self.options.concurrency.max(1))
            .filter_map(std::future::ready);
        let mut results = pin!(results);
        let mut again = FuturesUnordered::new();
        loop {
            let next = tokio::select! {
                biased;
                Some(()) = again.next() => continue,
                next = results.next() => next,
            };
            let Some(first) = next else { break };
            let mut chunk = vec![first];
            let mut bytes = 0;
            while let Some((_, last)) = chunk.last() {
                bytes += content_bytes(last);
                if chunk.len() >= SETTLE_BATCH || bytes >= SETTLE_BYTES {
                    break;
                }
                let Some(Some(next)) = results.next().now_or_never() else {
                    break;
                };
                chunk.push(next);
            }
            let failed = self.settle(leases, chunk).await.into_iter();
            // What cannot be stored for one account holds up no other.
            again.extend(
                failed.map(|(part, results)| self.settle_again(leases, part, results, shutdown)),
            );
            // A generator that never waits would keep everything else from running.
            tokio::task::yield_now().await;
        }
        while again.next().await.is_some() {}
    }

    /// Leased tasks, without end until the shutdown is requested.
    fn tasks(
        &self,
        lane: usize,
        common: Common<'_>,
    ) -> impl Stream<Item = (LeaseId, GenerationTask)> {
        let Common {
            leases, shutdown, ..
        } = common;
        let length = if self.one_writer {
            turn::WITH_ONE_WRITER
        } else {
            turn::LENGTH
        };
        let turn = Turn::new(length, self.options.concurrency, self.options.batch);
        let state = (VecDeque::<(LeaseId, GenerationTask)>::new(), turn);
        stream::unfold(state, move |(mut queue, mut turn)| async move {
            loop {
                if shutdown.is_requested() {
                    return None;
                }
                while let Some((lease, task)) = queue.pop_front() {
                    if leases.hold((lease, task.account_id)) {
                        return Some(((lease, task), (queue, turn)));
                    }
                }
                if self.one_writer {
                    until_stored(leases).await;
                }
                turn.end();
                queue = self.lease(lane, common, &mut turn).await;
            }
        })
    }

    /// Asks until there is something to do; empty when the shutdown is requested instead.
    async fn lease(
        &self,
        lane: usize,
        common: Common<'_>,
        turn: &mut Turn,
    ) -> VecDeque<(LeaseId, GenerationTask)> {
        let Common {
            leases, shutdown, ..
        } = common;
        let (mut failed, mut woken) = (0, false);
        let begun = Instant::now();
        while !shutdown.is_requested() {
            let ready = async {
                if !woken {
                    leases.until_needed(lane).await;
                }
                self.generator.ready().await;
            };
            tokio::select! {
                () = ready => {}
                () = shutdown.requested() => break,
            }
            let asked = Instant::now();
            let woken_meanwhile = leases.woken.notified();
            match self.lease_batch(lane, leases, turn.messages()).await {
                Ok(LeasedTasks { tasks, .. }) if tasks.is_empty() => {
                    failed = 0;
                    let idle = if begun.elapsed() < ATTENTIVE {
                        self.options.idle / 4
                    } else {
                        self.options.idle
                    };
                    woken = tokio::select! {
                        () = sleep(idle) => false,
                        () = woken_meanwhile => true,
                        () = self.wake.notified() => {
                            leases.woken.notify_waiters();
                            true
                        }
                        () = shutdown.requested() => false,
                    };
                }
                Ok(LeasedTasks { lease, tasks }) => {
                    tracing::debug!(%lease, messages = tasks.len(), "leased");
                    turn.begin(tasks.len(), asked);
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
    async fn lease_batch(
        &self,
        lane: usize,
        leases: &Arc<Leases>,
        messages: u32,
    ) -> Result<LeasedTasks, StoreError> {
        let (generation, leases) = (self.generation.clone(), Arc::clone(leases));
        let examples = self.generator.takes_examples();
        let task = tokio::spawn(async move {
            let mut got = leases.lease(lane, &generation, messages).await?;
            if examples && let Err(error) = generation.add_examples(&mut got).await {
                warn("messages are generated without examples", &error);
            }
            Ok(got)
        });
        task.await
            .unwrap_or_else(|panicked| Err(StoreError::Backend(panicked.into())))
    }

    /// `None` when the shutdown was requested before the generator answered, or the lease was lost before it was
    /// called.
    async fn attempt(
        &self,
        common: Common<'_>,
        lease: LeaseId,
        task: GenerationTask,
    ) -> Option<(LeaseId, TaskResult)> {
        let Common {
            leases, shutdown, ..
        } = common;
        // Within Tokio's budget, few results of a quick generator would be ready to be stored together.
        let call = tokio::task::unconstrained(common.calls.acquire());
        let _permit = tokio::select! {
            biased;
            permit = call => permit.ok()?,
            () = shutdown.requested() => return None,
        };
        // The run may have been cancelled while the task waited for other calls.
        if !leases.hold((lease, task.account_id)) {
            return None;
        }
        let span = tracing::debug_span!(
            "generate",
            campaign_id = %task.campaign_id,
            run_number = %task.run_number,
            message_id = %task.message_id,
        );
        let (begun, call_under_way) = (Instant::now(), Call::begin(&*self.observer));
        let call = AssertUnwindSafe(self.generator.generate(&task)).catch_unwind();
        let attempt = tokio::select! {
            biased;
            attempt = call.instrument(span) => attempt,
            () = shutdown.requested() => return None,
        };
        drop(call_under_way);
        let attempt = attempt.unwrap_or_else(|panic| {
            tracing::error!(panic = panic_text(panic.as_ref()), "the generator panicked");
            Err(GenerationError::new("the generator panicked"))
        });
        let result = attempt.as_ref().map(|_| ()).map_err(|error| error.kind);
        self.observer.call_returned(result, begun.elapsed());
        let result = self.generation.result_of(&task, attempt);
        if let Some(usage) = &result.usage {
            self.observer.tokens_used(usage);
        }
        self.report(&task, &result.outcome);
        leases.made_one((lease, result.account_id));
        Some((lease, result))
    }

    /// Stores results, account by account; returns those that could not be stored.
    async fn settle(
        &self,
        leases: &Leases,
        results: Vec<(LeaseId, TaskResult)>,
    ) -> Vec<(Part, Vec<TaskResult>)> {
        let mut parts: BTreeMap<Part, Vec<TaskResult>> = BTreeMap::new();
        for (lease, result) in results {
            let part = (lease, result.account_id);
            parts.entry(part).or_default().push(result);
        }
        let mut failed = Vec::new();
        for (part, results) in parts {
            let is_stored = self.settle_part(leases, part, &results).await;
            leases.offered(part, results.len());
            if !is_stored {
                failed.push((part, results));
            }
        }
        failed
    }

    /// Returns whether the results are stored.
    async fn settle_part(&self, leases: &Leases, part: Part, results: &[TaskResult]) -> bool {
        let ((lease, _), messages) = (part, results.len());
        let span = tracing::debug_span!("settle", messages);
        let settle = self.generation.settle(lease, results.to_vec());
        match settle.instrument(span).await {
            Ok(Settlement { settled, ended }) => {
                self.observer.settled(messages, settled);
                tracing::debug!(%lease, messages, ?settled, "stored results");
                ended.iter().for_each(report_end);
                leases.done(part, messages);
                true
            }
            Err(error) => {
                warn("results could not be stored", &error);
                false
            }
        }
    }

    /// Offers results again that could not be stored, as long as a lease lasts. What was stored before the
    /// failure has left the lease, so that offering everything again stores nothing twice.
    async fn settle_again(
        &self,
        leases: &Leases,
        part: Part,
        results: Vec<TaskResult>,
        shutdown: &Shutdown,
    ) {
        let ((lease, account_id), messages) = (part, results.len());
        let begun = Instant::now();
        let mut failed = 1;
        loop {
            let ending = shutdown.is_requested() && failed >= LAST_SETTLE_ATTEMPTS;
            let late = begun.elapsed() >= self.generation.policy().lease;
            if ending || late || !leases.hold(part) {
                self.observer.settled(messages, Settled::default());
                tracing::warn!(
                    %lease, %account_id, messages, "results are lost: they will be made again"
                );
                leases.give_up(part);
                return;
            }
            self.pause(failed, shutdown).await;
            if self.settle_part(leases, part, &results).await {
                return;
            }
            failed += 1;
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

    /// The first failure of a run by a cause is logged at `warn`, the others at `debug`: when an
    /// endpoint refuses a key, one line is enough for 100,000 messages. The line about the end of
    /// the run counts them. The generator itself reports that it puts calls off, once for all
    /// messages that wait.
    fn report(&self, task: &GenerationTask, outcome: &TaskOutcome) {
        let (campaign_id, message_id) = (task.campaign_id, task.message_id);
        let run_number = task.run_number;
        let (error, what) = match outcome {
            TaskOutcome::Generated(_) => return,
            TaskOutcome::PutOff { wait, error, .. } => {
                let seconds = wait.as_secs_f64();
                tracing::debug!(
                    %campaign_id, %run_number, %message_id, seconds, error,
                    "a message was put off"
                );
                return;
            }
            TaskOutcome::RetryAt { error, .. } => (
                error,
                "a message could not be generated; it will be tried again",
            ),
            TaskOutcome::Failed { error } => (error, "a message could not be generated"),
        };
        let failed_attempts = task.failed_attempts + 1;
        if self.causes.is_new(campaign_id, run_number, what, error) {
            tracing::warn!(
                %campaign_id, %run_number, %message_id, failed_attempts, error, "{what}"
            );
        } else {
            tracing::debug!(
                %campaign_id, %run_number, %message_id, failed_attempts, error, "{what}"
            );
        }
    }

    async fn pause(&self, failed: u32, shutdown: &Shutdown) {
        tokio::select! {
            () = sleep(self.pause.delay(failed)) => {}
            () = shutdown.requested() => {}
        }
    }
}

/// Waits until no result is to be stored. The loop that stores results polls it again after each
/// of them.
async fn until_stored(leases: &Leases) {
    loop {
        // A quick generator returns at once, but only when it is polled.
        tokio::task::yield_now().await;
        if !leases.have_results() {
            break;
        }
    }
}

/// A failure as the log has it: the run, what happened, and why.
type Cause = (CampaignId, RunNumber, &'static str, String);

/// The failures that were logged last.
#[derive(Default)]
struct Causes(Mutex<VecDeque<Cause>>);

impl Causes {
    /// How many are kept. Of two causes that take turns beyond it each is logged again.
    const KEPT: usize = 64;

    /// Whether this failure was not logged yet, as far as is known. It counts as logged then.
    fn is_new(
        &self,
        campaign_id: CampaignId,
        run_number: RunNumber,
        what: &'static str,
        error: &str,
    ) -> bool {
        let mut causes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = causes.iter().any(|(campaign, run, logged, why)| {
            (*campaign, *run, *logged, why.as_str()) == (campaign_id, run_number, what, error)
        });
        if !known {
            causes.truncate(Self::KEPT - 1);
            causes.push_front((campaign_id, run_number, what, error.to_owned()));
        }
        !known
    }
}

/// A generator call that has begun. It is over when this is dropped.
struct Call<'a>(&'a dyn Observer);

impl<'a> Call<'a> {
    fn begin(observer: &'a dyn Observer) -> Self {
        observer.call_began();
        Self(observer)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.call_ended();
    }
}

fn report_end(run: &EndedRun) {
    let EndedRun {
        campaign_id,
        run_number,
        made,
        failed,
        took,
        ..
    } = run;
    let seconds = took.as_secs_f64();
    tracing::info!(%campaign_id, run = %run_number, made, failed, seconds, "generation of a run finished");
}

fn warn(what: &str, error: &StoreError) {
    tracing::warn!(error = chain(error), "{what}");
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
