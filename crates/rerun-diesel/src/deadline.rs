//! An end for what a request may take, that never ends a write half known.
//!
//! Whoever stops waiting for a job that has begun cannot tell what became of it. So past a
//! deadline no job begins any more, and a job that has begun is waited for: its statements have
//! limits of their own.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

tokio::task_local! {
    static CURRENT: Deadline;
}

/// The deadline of a piece of work, with the jobs that it has under way. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Deadline(Arc<State>);

#[derive(Debug, Default)]
struct State {
    passed: AtomicBool,
    running: AtomicUsize,
}

/// A job that has begun; dropping it says that it has ended.
#[derive(Debug)]
pub(crate) struct Begun(Deadline);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The deadline has passed and nothing has been left under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request took too long")]
pub struct Passed;

impl Deadline {
    /// Runs `work` until `limit` has passed, and beyond that only while a job of its on a
    /// database is under way.
    ///
    /// # Errors
    /// [`Passed`] when the work did not end. No job of its is under way then or begins later.
    pub async fn run<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Passed> {
        let deadline = Self::default();
        let mut work = pin!(deadline.clone().scope(work));
        if let Ok(done) = tokio::time::timeout(limit, work.as_mut()).await {
            return Ok(done);
        }
        // In this order: a job that does not see the first has been counted by the second.
        deadline.0.passed.store(true, Ordering::SeqCst);
        if deadline.0.running.load(Ordering::SeqCst) == 0 {
            return Err(Passed);
        }
        Ok(work.await)
    }

    /// The one that the current task runs under; one that never passes if there is none.
    #[must_use]
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Runs `work`, in another task perhaps, under this deadline.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// Begins a job, unless the deadline has passed.
    pub(crate) fn begin(&self) -> Result<Begun, Passed> {
        self.0.running.fetch_add(1, Ordering::SeqCst);
        let begun = Begun(self.clone());
        if self.0.passed.load(Ordering::SeqCst) {
            return Err(Passed);
        }
        Ok(begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_in_time_is_not_disturbed() {
        let work = async {
            tokio::time::sleep(LIMIT / 2).await;
            Deadline::current().begin().map(drop)
        };
        assert_eq!(Deadline::run(LIMIT, work).await, Ok(Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_begins_after_the_end() {
        let (tell, told) = tokio::sync::oneshot::channel();
        let work = async move {
            tell.send(Deadline::current()).unwrap();
            std::future::pending::<()>().await;
        };
        assert_eq!(Deadline::run(LIMIT, work).await, Err(Passed));
        assert!(told.await.unwrap().begin().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_has_begun_is_waited_for_and_none_follows_it() {
        let work = async {
            let job = Deadline::current().begin();
            tokio::time::sleep(LIMIT * 5).await;
            drop(job);
            Deadline::current().begin().map(drop)
        };
        assert_eq!(Deadline::run(LIMIT, work).await, Ok(Err(Passed)));
    }

    #[tokio::test]
    async fn work_without_a_deadline_may_always_begin() {
        assert!(Deadline::current().begin().is_ok());
    }
}
