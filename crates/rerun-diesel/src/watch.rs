//! Tracks a job while its thread is blocked in the database's client library.
//!
//! A database server that hangs keeps its sockets open, and the client library waits for it for
//! ever. Nothing here can interrupt that wait; what can be done is to stop waiting for the thread,
//! see [`crate::pool::Database::run`].

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::InstrumentationEvent;
use tokio::sync::OwnedSemaphorePermit;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Job>>> = const { RefCell::new(None) };
}

/// The job's statements may still be taken back.
const WORKING: u8 = 0;
/// The job has sent its commit, or is about to.
const COMMITTING: u8 = 1;
/// Nobody waits for the job any more.
const ABANDONED: u8 = 2;
/// The job has ended.
const ENDED: u8 = 3;

/// A job was given up while it waited for the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// Before its commit: nothing is written, and nothing will be.
    #[error("the database did not answer in time; nothing was written")]
    BeforeCommit,
    /// During its commit: whether the database did it shows when it answers again.
    #[error("the database did not answer in time; whether the change was written is unknown")]
    DuringCommit,
}

/// A job on a thread of its own.
#[derive(Debug)]
pub(crate) struct Job {
    begun: Instant,
    /// Microseconds from the beginning to the statement under way, and 1 more; 0 without one.
    sent: AtomicU64,
    state: AtomicU8,
    /// Which pool the job's connection is from.
    generation: AtomicU64,
    /// Which server the job's connection is to, where there may be several; else 0.
    server: AtomicI64,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    /// Whether an entry of the audit log was written.
    entry: AtomicBool,
}

impl Job {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            sent: AtomicU64::new(0),
            state: AtomicU8::new(WORKING),
            generation: AtomicU64::new(0),
            server: AtomicI64::new(0),
            permit: Mutex::new(Some(permit)),
            entry: AtomicBool::new(false),
        })
    }

    /// Makes this the job of the current thread until the result is dropped. `abandoned` counts
    /// the jobs that were given up and have not ended.
    pub(crate) fn enter<'a>(self: &Arc<Self>, abandoned: &'a AtomicUsize) -> Entered<'a> {
        CURRENT.with_borrow_mut(|current| *current = Some(Arc::clone(self)));
        Entered {
            job: Arc::clone(self),
            abandoned,
        }
    }

    pub(crate) fn uses(&self, generation: u64) {
        self.generation.store(generation, Ordering::Relaxed);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(crate) fn is_on(&self, server: i64) {
        self.server.store(server, Ordering::Relaxed);
    }

    pub(crate) fn server(&self) -> i64 {
        self.server.load(Ordering::Relaxed)
    }

    pub(crate) fn wrote_entry(&self) -> bool {
        self.entry.load(Ordering::Relaxed)
    }

    /// How long the database has not answered; `None` while nothing is asked of it.
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        let sent = self.sent.load(Ordering::Relaxed).checked_sub(1)?;
        Some(
            self.begun
                .elapsed()
                .saturating_sub(Duration::from_micros(sent)),
        )
    }

    /// Gives the job up. Its thread will not commit after this. `None` when it has ended.
    pub(crate) fn abandon(&self) -> Option<Silence> {
        let abandoned = |from| {
            let to = ABANDONED;
            let changed = self
                .state
                .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
            changed.is_ok()
        };
        let silence = if abandoned(WORKING) {
            Silence::BeforeCommit
        } else if abandoned(COMMITTING) {
            Silence::DuringCommit
        } else {
            return None;
        };
        self.give_permit_back();
        Some(silence)
    }

    pub(crate) fn was_abandoned(&self) -> bool {
        self.state.load(Ordering::SeqCst) == ABANDONED
    }

    fn give_permit_back(&self) {
        let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        drop(permit.take());
    }

    fn note_sent(&self) {
        let micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX - 1);
        self.sent.store(micros + 1, Ordering::Relaxed);
    }
}

/// A job on the current thread, which ends when this is dropped.
pub(crate) struct Entered<'a> {
    job: Arc<Job>,
    abandoned: &'a AtomicUsize,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.job.state.swap(ENDED, Ordering::SeqCst) == ABANDONED {
            self.abandoned.fetch_sub(1, Ordering::SeqCst);
        }
        self.job.give_permit_back();
        CURRENT.with_borrow_mut(|current| *current = None);
    }
}

fn with_current<T>(look: impl FnOnce(&Job) -> T) -> Option<T> {
    CURRENT.with_borrow(|current| current.as_deref().map(look))
}

/// Notes when a connection asks the database and when it has the answer.
pub(crate) fn observe(event: &InstrumentationEvent<'_>) {
    if matches!(event, InstrumentationEvent::StartQuery { .. }) {
        with_current(Job::note_sent);
    } else if matches!(event, InstrumentationEvent::FinishQuery { .. }) {
        with_current(|job| job.sent.store(0, Ordering::Relaxed));
    }
}

/// Notes that the database takes what it is sent, within a statement that takes in many rows.
pub fn progress() {
    with_current(Job::note_sent);
}

/// Notes that an entry of the audit log was written, of which somebody may want to hear after the commit.
pub fn wrote_entry() {
    with_current(|job| job.entry.store(true, Ordering::Relaxed));
}

/// To be called right before a commit, by a job of [`crate::pool::Database`].
///
/// # Errors
/// [`Silence::BeforeCommit`] when the job was given up: it must not commit.
pub fn before_commit() -> Result<(), Silence> {
    let begun = with_current(|job| {
        let (from, to) = (WORKING, COMMITTING);
        job.state
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
    });
    match begun {
        // Two transactions in one job: the second may commit, too.
        None | Some(Ok(_) | Err(COMMITTING)) => Ok(()),
        Some(Err(_)) => Err(Silence::BeforeCommit),
    }
}
