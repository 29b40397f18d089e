//! Publishes events in a stream: looks for accounts with new ones, and publishes those of several accounts
//! at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use rerun_core::error::chain;
use rerun_core::ids::AccountId;
use rerun_core::ports::{Backoff, EventBroker};
use rerun_core::publication::PublicationError;
use rerun_core::usecases::{Publication, Publications};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::dispatcher::GATHER_NEW;
use crate::observer::{Observer, Unobserved};

/// How many accounts have a turn at once.
const AT_ONCE: usize = 8;

/// How many accounts are looked up at once.
const ACCOUNTS: u32 = 64;

/// Publishes events until it is asked to end.
#[derive(Clone)]
pub struct Publisher {
    publications: Publications,
    broker: Arc<dyn EventBroker>,
    pause: Arc<dyn Backoff>,
    wake: Arc<Notify>,
    idle: Duration,
    observer: Arc<dyn Observer>,
}

/// What was logged of failures last.
#[derive(Default)]
struct Said(Option<String>);

impl Said {
    /// Logs a failure, unless it is the same as the last one: a broker may be away for days.
    fn failure(&mut self, error: &PublicationError) {
        let text = chain(error);
        if self.0.as_ref() != Some(&text) {
            tracing::warn!(error = text, "no events are published now");
            self.0 = Some(text);
        }
    }

    fn success(&mut self) {
        if self.0.take().is_some() {
            tracing::info!("events are published again");
        }
    }
}

impl Publisher {
    /// `pause` says how long to wait after a failure; a notification of `wake` ends a wait for new events,
    /// which `idle` ends otherwise.
    #[must_use]
    pub fn new(
        publications: Publications,
        broker: Arc<dyn EventBroker>,
        pause: Arc<dyn Backoff>,
        wake: Arc<Notify>,
        idle: Duration,
    ) -> Self {
        Self {
            publications,
            broker,
            pause,
            wake,
            idle,
            observer: Arc::new(Unobserved),
        }
    }

    /// Reports what it does to `observer`.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// Works until `stop` is cancelled. Then the events on their way are waited for, and leases are given
    /// back. No failure ends it.
    pub async fn run(&self, stop: &CancellationToken) {
        let (mut failed, mut said) = (0, Said::default());
        while !stop.is_cancelled() {
            let wait = match self.round(stop).await {
                Ok(Publication { events, more }) => {
                    failed = 0;
                    if events > 0 {
                        said.success();
                    }
                    if more {
                        continue;
                    }
                    self.idle
                }
                Err(error) => {
                    failed += 1;
                    said.failure(&error);
                    self.observer.publication_failed();
                    self.pause.delay(failed)
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.wake.notified(), if failed == 0 => sleep(GATHER_NEW).await,
                () = stop.cancelled() => {}
            }
        }
    }

    /// Gives some accounts a turn each. Ends early when the broker or the store fails.
    async fn round(&self, stop: &CancellationToken) -> Result<Publication, PublicationError> {
        let behind = self.publications.behind(self.broker.stream(), ACCOUNTS);
        let accounts = behind.await?;
        let mut all = Publication {
            events: 0,
            more: u32::try_from(accounts.len()).is_ok_and(|found| found >= ACCOUNTS),
        };
        let turns = stream::iter(accounts)
            .take_while(|_| std::future::ready(!stop.is_cancelled()))
            .map(|account| self.turn(account));
        let mut turns = turns.buffer_unordered(AT_ONCE);
        let mut failure = None;
        // All that have begun end, so that they give their leases back.
        while let Some(turn) = turns.next().await {
            match turn {
                Ok(one) => {
                    all.events += one.events;
                    all.more |= one.more;
                }
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(all), Err)
    }

    async fn turn(&self, account_id: AccountId) -> Result<Publication, PublicationError> {
        match self.publications.publish(&*self.broker, account_id).await {
            Ok(one) => {
                if one.events > 0 {
                    tracing::debug!(%account_id, events = one.events, "published");
                    self.observer.published(one.events);
                }
                Ok(one)
            }
            Err(error) if error.is_of_the_account() => {
                self.observer.publication_failed();
                tracing::warn!(%account_id, error = chain(&error), "an account's events are not published");
                Ok(Publication::default())
            }
            Err(error) => Err(error),
        }
    }
}
