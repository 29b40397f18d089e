use rerun_core::delivery::Outcome;
use rerun_core::usecases::Settling;

/// Is told what a dispatcher or a publisher does, for example to count it. A method that is left out does nothing.
pub trait Observer: Send + Sync {
    /// Deliveries of new events were queued.
    fn queued(&self, _deliveries: u64) {}

    /// An attempt is over.
    fn attempted(&self, _outcome: &Outcome) {}

    /// What came of an attempt was written.
    fn settled(&self, _settling: &Settling) {}

    /// Events of an account were published in a stream.
    fn published(&self, _events: u64) {}

    /// Events could not be published.
    fn publication_failed(&self) {}
}

/// Nobody is told.
pub(crate) struct Unobserved;

impl Observer for Unobserved {}
