use std::sync::Arc;
use std::time::Duration;

use rerun_core::usecases::RerunSuggestions;
use tokio::time::sleep;

use super::warn;
use crate::observer::{Observer, Unobserved};
use crate::system::Shutdown;

/// Previews reruns after imports, so that the event `campaign.rerun_suggested` says which are
/// worthwhile.
pub struct Previews {
    suggestions: RerunSuggestions,
    observer: Arc<dyn Observer>,
    idle: Duration,
}

impl Previews {
    const IDLE: Duration = Duration::from_secs(2);

    /// Over this use case.
    #[must_use]
    pub fn new(suggestions: RerunSuggestions) -> Self {
        Self {
            suggestions,
            observer: Arc::new(Unobserved),
            idle: Self::IDLE,
        }
    }

    /// Reports what it does to `observer`.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// Previews until `shutdown` is requested. Then a group that is being previewed is given back. No
    /// failure of the store ends it.
    pub async fn run(&self, shutdown: &Shutdown) {
        while !shutdown.is_requested() {
            let previewed = tokio::select! {
                previewed = self.suggestions.preview_next() => previewed,
                () = shutdown.requested() => break,
            };
            match previewed {
                Ok(Some(previewed)) => {
                    if let Some(error) = &previewed.error {
                        warn("reruns could not be previewed after an import", error);
                    }
                    self.observer.group_previewed(&previewed);
                    tokio::task::yield_now().await;
                    continue;
                }
                Ok(None) => {}
                Err(error) => warn("no group could be taken for a preview", &error),
            }
            tokio::select! {
                () = sleep(self.idle) => {}
                () = shutdown.requested() => {}
            }
        }
        if let Err(error) = self.suggestions.release().await {
            warn(
                "the preview of a group could not be given back; its lease will end by itself",
                &error,
            );
        }
    }
}
