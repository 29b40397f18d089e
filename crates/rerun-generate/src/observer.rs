use std::time::Duration;

use rerun_core::generation::{FailureKind, Settled, Usage};
use rerun_core::usecases::{Fired, PreviewedGroup};

/// Is told what a worker, a scheduler or [`Previews`](crate::Previews) does, for example to count it. A
/// method that is left out does nothing.
pub trait Observer: Send + Sync {
    /// A generator call begins.
    fn call_began(&self) {}

    /// A generator call is over. It returned, or it was dropped because the worker ends.
    fn call_ended(&self) {}

    /// A generator call returned after this time, with a message or with a failure of this kind.
    fn call_returned(&self, _result: Result<(), FailureKind>, _took: Duration) {}

    /// A language model reported what a call used.
    fn tokens_used(&self, _usage: &Usage) {}

    /// The worker offered the results of one lease to the store. `settled` counts those that were
    /// stored; the others came too late.
    fn settled(&self, _results: usize, _settled: Settled) {}

    /// The scheduler decided a time of a schedule.
    fn fired(&self, _fired: &Fired) {}

    /// The campaigns of a group were previewed after an import.
    fn group_previewed(&self, _previewed: &PreviewedGroup) {}
}

/// Nobody is told.
pub(crate) struct Unobserved;

impl Observer for Unobserved {}
