//! The dispatcher: queues deliveries of new events, leases those that are due, sends each, and
//! stores the outcome.
//!
//! Every leased delivery is sent at once, so that no lease waits. The dispatcher leases only as
//! many as may be in flight. An attempt that takes long no longer counts among them, so that
//! receivers that hang do not block those that respond.

mod leases;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rerun_core::delivery::{Outcome, Parcel, Verdict};
use rerun_core::error::{StoreError, chain};
use rerun_core::ports::{Backoff, EventSender};
use rerun_core::usecases::{Deliveries, LeasedParcels, Settling};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::observer::{Observer, Unobserved};
use leases::Leases;

/// An attempt that takes longer than this makes room for another one.
const QUICK: Duration = Duration::from_secs(1);

/// How many attempts may take longer, for each one that may be on its way.
const SLOW_FOR_EACH: usize = 16;

/// How long to wait after an attempt before more is leased, so that one lease serves the attempts that
/// end together.
const GATHER: Duration = Duration::from_millis(5);

/// How long to wait after the news of an event before it is queued, so that one look serves the events of a
/// busy moment.
pub(crate) const GATHER_NEW: Duration = Duration::from_millis(20);

/// How long attempts may go on after the process was asked to end.
const LAST_ATTEMPTS: Duration = Duration::from_secs(5);

/// How often a result is offered to a failing store once the process is to end.
const LAST_SETTLE_ATTEMPTS: u32 = 3;

/// How often old deliveries are deleted.
const SWEEP_EVERY: Duration = Duration::from_mins(10);

/// How a dispatcher works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatcherOptions {
    /// Attempts at once, at least 1. Slow ones do not count.
    pub concurrency: usize,
    /// How long to wait before asking again when nothing was new or due.
    pub idle: Duration,
}

/// Delivers events until it is asked to end.
#[derive(Clone)]
pub struct Dispatcher {
    deliveries: Deliveries,
    sender: Arc<dyn EventSender>,
    pause: Arc<dyn Backoff>,
    wake: Arc<Notify>,
    options: DispatcherOptions,
    observer: Arc<dyn Observer>,
}

/// What the loops of one run share.
struct Run {
    leases: Leases,
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    /// An attempt has ended or has become slow.
    freed: Notify,
    /// Deliveries were queued.
    queued: Notify,
    stop: CancellationToken,
}

/// Reports that an attempt is over, also if it panicked.
struct Freed<'a>(&'a Run);

impl Drop for Freed<'_> {
    fn drop(&mut self) {
        self.0.freed.notify_one();
    }
}

impl Dispatcher {
    /// `pause` says how long to wait after the store failed; a notification of `wake` ends a wait for
    /// new events. Leases of `deliveries` must last longer than an attempt.
    #[must_use]
    pub fn new(
        deliveries: Deliveries,
        sender: Arc<dyn EventSender>,
        pause: Arc<dyn Backoff>,
        wake: Arc<Notify>,
        options: DispatcherOptions,
    ) -> Self {
        Self {
            deliveries,
            sender,
            pause,
            wake,
            options,
            observer: Arc::new(Unobserved),
        }
    }

    /// Reports what it does to `observer`.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// Works until `stop` is cancelled. Then attempts on their way may end for a moment, and leases are
    /// given back. No failure of the store ends it.
    pub async fn run(&self, stop: &CancellationToken) {
        let concurrency = self.options.concurrency.max(1);
        let run = Arc::new(Run {
            leases: Leases::default(),
            quick: Arc::new(Semaphore::new(concurrency)),
            slow: Arc::new(Semaphore::new(concurrency.saturating_mul(SLOW_FOR_EACH))),
            freed: Notify::new(),
            queued: Notify::new(),
            stop: stop.clone(),
        });
        tokio::join!(self.queue(&run), self.send(&run), self.sweep(&run));
    }

    /// Queues deliveries of new events.
    async fn queue(&self, run: &Run) {
        let mut failed = 0;
        while !run.stop.is_cancelled() {
            match self.deliveries.fan_out().await {
                Ok(fanned_out) => {
                    failed = 0;
                    if fanned_out.queued > 0 {
                        run.queued.notify_one();
                    }
                    if fanned_out.more {
                        tokio::task::yield_now().await;
                        continue;
                    }
                    tokio::select! {
                        () = sleep(self.options.idle) => {}
                        () = self.wake.notified() => sleep(GATHER_NEW).await,
                        () = run.stop.cancelled() => {}
                    }
                }
                Err(error) => {
                    failed += 1;
                    warn("deliveries of new events could not be queued", &error);
                    self.pause(failed, run).await;
                }
            }
        }
    }

    /// Leases what is due and sends it.
    async fn send(&self, run: &Arc<Run>) {
        let mut attempts = JoinSet::new();
        let mut failed = 0;
        while !run.stop.is_cancelled() {
            while let Some(ended) = attempts.try_join_next() {
                report_panic(ended);
            }
            let free = run.quick.available_permits();
            if free == 0 {
                tokio::select! {
                    () = run.freed.notified() => {}
                    () = run.stop.cancelled() => {}
                }
                continue;
            }
            match self.lease(free).await {
                Ok(LeasedParcels { lease, parcels }) => {
                    failed = 0;
                    let all = parcels.len() >= free;
                    if !parcels.is_empty() {
                        tracing::debug!(%lease, deliveries = parcels.len(), "leased");
                        let until = Instant::now() + self.deliveries.lease_length();
                        run.leases.add(lease, parcels.len(), until);
                    }
                    for parcel in parcels {
                        let place = Arc::clone(&run.quick).try_acquire_owned().ok();
                        let (own, run) = (self.clone(), Arc::clone(run));
                        attempts.spawn(async move {
                            let freed = Freed(&run);
                            own.deliver(&run, parcel, place).await;
                            drop(freed);
                        });
                    }
                    if !all {
                        self.wait(run).await;
                    }
                }
                Err(error) => {
                    failed += 1;
                    warn("no deliveries could be leased", &error);
                    self.pause(failed, run).await;
                }
            }
        }
        let ending = async { while attempts.join_next().await.map(report_panic).is_some() {} };
        let _in_time = timeout(LAST_ATTEMPTS, ending).await;
        attempts.shutdown().await;
        for lease in run.leases.all() {
            match self.deliveries.release(lease).await {
                Ok(deliveries) => tracing::debug!(%lease, deliveries, "gave a lease back"),
                Err(error) => warn(
                    "a lease could not be given back; it will end by itself",
                    &error,
                ),
            }
        }
    }

    async fn lease(&self, free: usize) -> Result<LeasedParcels, StoreError> {
        self.deliveries
            .lease(u32::try_from(free).unwrap_or(u32::MAX))
            .await
    }

    /// Waits until there may be something to lease.
    async fn wait(&self, run: &Run) {
        tokio::select! {
            () = sleep(self.options.idle) => {}
            () = run.queued.notified() => {}
            // A webhook gets a few events at once, or one after the other.
            () = run.freed.notified() => sleep(GATHER).await,
            () = run.stop.cancelled() => {}
        }
    }

    /// Makes one attempt, and writes what came of it.
    async fn deliver(&self, run: &Run, parcel: Parcel, place: Option<OwnedSemaphorePermit>) {
        let span = tracing::debug_span!(
            "deliver",
            account_id = %parcel.account_id,
            webhook_id = %parcel.webhook_id,
            event_id = %parcel.event.id,
            sequence = parcel.event.sequence,
            attempt = parcel.attempt,
        );
        async {
            let (outcome, place) = self.attempt(run, &parcel, place).await;
            self.observer.attempted(&outcome);
            self.settle(run, &parcel, &outcome).await;
            run.leases.done(parcel.lease);
            drop(place);
        }
        .instrument(span)
        .await;
    }

    /// Sends the parcel. When that takes long, its place is exchanged for one of those for slow
    /// attempts, if one is free.
    async fn attempt(
        &self,
        run: &Run,
        parcel: &Parcel,
        place: Option<OwnedSemaphorePermit>,
    ) -> (Outcome, Option<OwnedSemaphorePermit>) {
        let mut sending = self.sender.send(parcel);
        tokio::select! {
            outcome = &mut sending => return (outcome, place),
            () = sleep(QUICK) => {}
        }
        let place = match Arc::clone(&run.slow).try_acquire_owned() {
            Ok(slow) => {
                drop(place);
                run.freed.notify_one();
                Some(slow)
            }
            Err(_none_free) => place,
        };
        (sending.await, place)
    }

    async fn settle(&self, run: &Run, parcel: &Parcel, outcome: &Outcome) {
        let mut failed = 0;
        loop {
            let error = match self.deliveries.settle(parcel, outcome).await {
                Ok(settling) => {
                    report(parcel, outcome, &settling);
                    return;
                }
                Err(error) => error,
            };
            failed += 1;
            warn("the result of a delivery could not be stored", &error);
            let ending = run.stop.is_cancelled() && failed >= LAST_SETTLE_ATTEMPTS;
            if ending || run.leases.is_over(parcel.lease) {
                tracing::warn!("the result of a delivery is lost: the event will be sent again");
                return;
            }
            self.pause(failed, run).await;
        }
    }

    /// Deletes old deliveries, and what deleted webhooks left.
    async fn sweep(&self, run: &Run) {
        while !run.stop.is_cancelled() {
            match self.deliveries.sweep().await {
                Ok(0) => {}
                Ok(rows) => {
                    tracing::debug!(rows, "deleted old deliveries");
                    tokio::task::yield_now().await;
                    continue;
                }
                Err(error) => warn("old deliveries could not be deleted", &error),
            }
            tokio::select! {
                () = sleep(SWEEP_EVERY) => {}
                () = run.stop.cancelled() => {}
            }
        }
    }

    async fn pause(&self, failed: u32, run: &Run) {
        tokio::select! {
            () = sleep(self.pause.delay(failed)) => {}
            () = run.stop.cancelled() => {}
        }
    }
}

/// Logs what came of an attempt. A webhook that is disabled, or an event that is given up, is worth a
/// line of its own; a failed attempt is not, because it is kept and shown with the delivery.
fn report(parcel: &Parcel, outcome: &Outcome, settling: &Settling) {
    let Parcel {
        account_id,
        webhook_id,
        ..
    } = parcel;
    let (event_id, attempt) = (parcel.event.id, parcel.attempt);
    let status = outcome.response.ok().map(|response| response.status);
    let error = outcome.response.err().map(|error| error.to_string());
    if let Some(reason) = settling.settled.disabled {
        tracing::warn!(%account_id, %webhook_id, %reason, status, error, "a webhook is disabled");
    }
    match settling.verdict {
        Verdict::Failed => tracing::warn!(
            %account_id, %webhook_id, %event_id, attempt, status, error, "an event is given up"
        ),
        Verdict::Delivered | Verdict::RetryAt(_) | Verdict::Gone => tracing::debug!(
            %account_id, %webhook_id, %event_id, attempt, status, error, "an attempt ended"
        ),
    }
}

fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a delivery panicked; its lease will end by itself");
    }
}

fn warn(what: &'static str, error: &StoreError) {
    tracing::warn!(error = chain(error), "{what}");
}
