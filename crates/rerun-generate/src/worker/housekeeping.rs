use std::sync::Arc;
use std::time::Duration;

use rerun_core::ports::{Clock, IDEMPOTENCY_WINDOW, IdempotencyStore};
use tokio::time::sleep;

use super::warn;
use crate::system::Shutdown;

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
