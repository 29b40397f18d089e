//! A time limit for a request, after which it is still known whether its write happened.
//!
//! A caller that stops waiting for a job that has begun cannot tell whether it was done. So no job
//! begins after the deadline, and the caller waits for a job that has begun. An error then means
//! that nothing was written, whichever store is used.
//!
//! A store asks [`Deadline::current`] when a call reaches it, carries the deadline to where the
//! work is done, and begins each job with [`Deadline::begin`].

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

thread_local! {
    static CURRENT: RefCell<Option<Deadline>> = const { RefCell::new(None) };
}

/// The deadline of one request and the jobs that run for it. Clones share both.
#[derive(Debug, Clone, Default)]
pub struct Deadline(Arc<State>);

#[derive(Debug, Default)]
struct State {
    passed: AtomicBool,
    running: AtomicUsize,
}

/// A job that has begun. It ends when this is dropped.
#[derive(Debug)]
#[must_use = "the job ends when this is dropped"]
pub struct Begun(Deadline);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The deadline has passed and no job of the request is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request took too long")]
pub struct Passed;

impl Deadline {
    /// Runs `work` until `timeout` is done, and beyond that only while one of its jobs is under
    /// way. `timeout` is the timer of the caller's runtime.
    ///
    /// # Errors
    /// [`Passed`] when the work did not end in time. None of its jobs is under way then, and none
    /// begins later.
    pub async fn run<T>(
        timeout: impl Future<Output = ()>,
        work: impl Future<Output = T>,
    ) -> Result<T, Passed> {
        let deadline = Self::default();
        let mut work = pin!(deadline.clone().scope(work));
        let mut timeout = pin!(timeout);
        let in_time = poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => timeout.as_mut().poll(context).map(|()| None),
        });
        if let Some(done) = in_time.await {
            return Ok(done);
        }
        // In this order: a job that does not see the first is counted by the second.
        deadline.0.passed.store(true, Ordering::SeqCst);
        if deadline.0.running.load(Ordering::SeqCst) == 0 {
            return Err(Passed);
        }
        Ok(work.await)
    }

    /// The deadline that the code which calls this runs under; one that never passes when there
    /// is none.
    #[must_use]
    pub fn current() -> Self {
        CURRENT.with_borrow(Clone::clone).unwrap_or_default()
    }

    /// Runs `work` under this deadline, also in another task.
    pub fn scope<F: Future>(self, work: F) -> Scoped<F> {
        Scoped {
            deadline: self,
            work: Box::pin(work),
        }
    }

    /// Begins a job.
    ///
    /// # Errors
    /// [`Passed`] when the deadline has passed.
    pub fn begin(&self) -> Result<Begun, Passed> {
        self.0.running.fetch_add(1, Ordering::SeqCst);
        let begun = Begun(self.clone());
        if self.0.passed.load(Ordering::SeqCst) {
            return Err(Passed);
        }
        Ok(begun)
    }
}

/// Work that runs under a deadline; made by [`Deadline::scope`].
#[derive(Debug)]
pub struct Scoped<F> {
    deadline: Deadline,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _outer = Entered::new(self.deadline.clone());
        self.work.as_mut().poll(context)
    }
}

/// Puts the outer deadline back when it is dropped, also by a panic.
struct Entered(Option<Deadline>);

impl Entered {
    fn new(deadline: Deadline) -> Self {
        Self(CURRENT.replace(Some(deadline)))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::task::Waker;

    use super::*;

    /// The output of a future that never waits.
    fn done<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn work_that_ends_in_time_is_not_disturbed() {
        let work = async { Deadline::current().begin().map(drop) };
        assert_eq!(done(Deadline::run(pending(), work)), Ok(Ok(())));
    }

    #[test]
    fn nothing_begins_after_the_end() {
        let mut seen = None;
        let work = async {
            seen = Some(Deadline::current());
            pending::<()>().await;
        };
        assert_eq!(done(Deadline::run(ready(()), work)), Err(Passed));
        assert!(seen.unwrap().begin().is_err());
    }

    #[test]
    fn a_job_that_has_begun_is_waited_for_and_none_follows_it() {
        let mut turns = 0;
        let mut job = None;
        let work = poll_fn(|context| {
            turns += 1;
            if turns == 1 {
                job = Some(Deadline::current().begin());
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            job = None;
            Poll::Ready(Deadline::current().begin().map(drop))
        });
        assert_eq!(done(Deadline::run(ready(()), work)), Ok(Err(Passed)));
    }

    #[test]
    fn a_job_that_has_ended_is_not_waited_for() {
        let work = async {
            drop(Deadline::current().begin());
            pending::<()>().await;
        };
        assert_eq!(done(Deadline::run(ready(()), work)), Err(Passed));
    }

    #[test]
    fn work_without_a_deadline_may_always_begin() {
        assert!(Deadline::current().begin().is_ok());
    }

    #[test]
    fn the_deadline_of_one_piece_of_work_is_not_seen_by_another() {
        let outer = Deadline::default();
        let inner = done(outer.scope(async {
            let passed = Deadline::default();
            passed.0.passed.store(true, Ordering::SeqCst);
            let inner = passed
                .scope(async { Deadline::current().begin().is_err() })
                .await;
            (inner, Deadline::current().begin().is_ok())
        }));
        assert_eq!(inner, (true, true));
        assert!(Deadline::current().begin().is_ok());
    }
}
