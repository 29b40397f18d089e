use std::sync::Arc;
use std::time::Duration;

use rerun_core::ports::{Clock, IDEMPOTENCY_WINDOW, IdempotencyStore};
use rerun_core::usecases::Campaigns;
use tokio::time::sleep;

use super::warn;
use crate::system::Shutdown;

/// Forgets, once an hour, responses that were kept under an idempotency key for long enough, and
/// deletes, every few seconds, what is left of deleted campaigns.
pub struct Housekeeping {
    responses: Arc<dyn IdempotencyStore>,
    clock: Arc<dyn Clock>,
    campaigns: Option<Campaigns>,
}

impl Housekeeping {
    const EVERY: Duration = Duration::from_hours(1);
    const SWEEP_EVERY: Duration = Duration::from_secs(10);

    /// Over these ports.
    #[must_use]
    pub fn new(responses: Arc<dyn IdempotencyStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            responses,
            clock,
            campaigns: None,
        }
    }

    /// Deletes what is left of deleted campaigns, too.
    #[must_use]
    pub fn sweeping(mut self, campaigns: Campaigns) -> Self {
        self.campaigns = Some(campaigns);
        self
    }

    /// Keeps house until `shutdown` is requested.
    pub async fn run(&self, shutdown: &Shutdown) {
        tokio::join!(self.forget(shutdown), self.sweep(shutdown));
    }

    async fn forget(&self, shutdown: &Shutdown) {
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

    async fn sweep(&self, shutdown: &Shutdown) {
        let Some(campaigns) = &self.campaigns else {
            return;
        };
        while !shutdown.is_requested() {
            tokio::select! {
                swept = campaigns.sweep_deleted() => if let Err(error) = swept {
                    warn("what is left of deleted campaigns could not be deleted", &error);
                },
                () = shutdown.requested() => {}
            }
            tokio::select! {
                () = sleep(Self::SWEEP_EVERY) => {}
                () = shutdown.requested() => {}
            }
        }
    }
}
