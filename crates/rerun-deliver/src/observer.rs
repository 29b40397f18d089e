use rerun_core::delivery::Outcome;

/// Is told what a dispatcher or a publisher does, for example to count it. A method that is left out does nothing.
pub trait Observer: Send + Sync {
    /// An attempt is over.
    fn attempted(&self, _outcome: &Outcome) {}

    /// Events of an account were published in a stream.
    fn published(&self, _events: u64) {}

    /// Events could not be published.
    fn publication_failed(&self) {}
}

/// Nobody is told.
pub(crate) struct Unobserved;

impl Observer for Unobserved {}
