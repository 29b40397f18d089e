use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the server takes requests: false once it has begun to shut down, so that a load
/// balancer sends no more.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Whether it does.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Says that it does, or not any more. Every clone shares the answer.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }
}

impl Default for Readiness {
    /// Ready.
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}
