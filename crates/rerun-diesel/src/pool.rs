//! Connections and the threads that use them.
//!
//! Diesel blocks, so jobs run on threads that may block. There are never more of them than
//! connections: a thread that waited for a connection would only take CPU time from those that have
//! one. In measurements, tail latency was then forty times as long.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::{InstrumentationEvent, TransactionManager};
use diesel::r2d2::{ConnectionManager, R2D2Connection};
use r2d2::ManageConnection;
use rerun_core::deadline::Deadline;
use rerun_core::error::StoreError;
use rerun_core::ports::{ImportFailure, PoolUsage};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument;

use crate::error::{self, Failure, Suspicion};
use crate::successor::{self, Successor};
use crate::waits::Meter;
use crate::watch::{self, Job, Silence};

pub use crate::waits::Wait;

/// Called after a transaction with an entry of the audit log was committed, on the thread that did
/// that: it must not block. By default nothing is called.
#[derive(Clone, Default)]
pub struct OnEntry(Option<Arc<dyn Fn() + Send + Sync>>);

impl OnEntry {
    /// Calls `told`.
    #[must_use]
    pub fn new(told: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }

    fn call(&self) {
        if let Some(told) = &self.0 {
            told();
        }
    }
}

impl fmt::Debug for OnEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = if self.0.is_some() {
            "somebody"
        } else {
            "nobody"
        };
        f.debug_tuple("OnEntry").field(&told).finish()
    }
}

/// What is between a store and its database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pooler {
    /// Nothing, or a pooler that gives a session of the database to one connection.
    #[default]
    None,
    /// A pooler that gives a session of the database to one transaction after the other, such as `PgBouncer`
    /// with `pool_mode = transaction`. Each job is a transaction then, and nothing belongs to a session. What a job
    /// locks is locked until it ends.
    Transaction,
}

/// How a store uses its database.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections, and threads that use them; at least 1, and 8 by default.
    pub pool_size: u32,
    /// The longest wait for a connection before the store answers that it is unavailable; 5 s by
    /// default.
    pub acquire_timeout: Duration,
    /// How long the server may work on one statement, imports apart; `None` for as long as it
    /// takes, as by default. SQLite has no server and no such limit.
    pub statement_timeout: Option<Duration>,
    /// Who is told of new entries of the audit log.
    pub on_entry: OnEntry,
    /// What is between the store and the database. SQLite has no poolers.
    pub pooler: Pooler,
}

/// How much longer than a statement may take its answer is waited for.
const MARGIN: Duration = Duration::from_secs(5);

/// An import's statements have no limit; for their answers this many times as long is waited.
const IMPORT_PATIENCE: u32 = 30;

impl Options {
    /// How long the answer to one statement is waited for; the server itself ends the statement
    /// before, unless it stands still.
    #[must_use]
    pub fn answer_timeout(&self) -> Option<Duration> {
        self.statement_timeout.map(|timeout| timeout + MARGIN)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pool_size: 8,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: None,
            on_entry: OnEntry::default(),
            pooler: Pooler::None,
        }
    }
}

/// A connection that remembers whether it is known to be dead, and since when it is known to be
/// alive.
pub struct Checked<C> {
    connection: C,
    broken: bool,
    used: bool,
    outage: u64,
    /// Which server it is to, where there may be several; else 0.
    server: i64,
    /// When it was made, of a connection that could not write then.
    read_only: Option<Instant>,
}

/// How long a connection that cannot write is kept. A session that began while its database was
/// read-only stays so, and who only reads would never notice that the database is not any more.
const READ_ONLY_LIFE: Duration = Duration::from_secs(1);

impl<C> Checked<C> {
    fn is_stale(&self) -> bool {
        self.read_only
            .is_some_and(|since| since.elapsed() >= READ_ONLY_LIFE)
    }
}

type Setup<C> = dyn Fn(&mut C) -> diesel::QueryResult<()> + Send + Sync;

/// Makes connections for the pool.
pub struct Manager<C> {
    inner: ConnectionManager<C>,
    setup: Arc<Setup<C>>,
    probe: Probe<C>,
    server: Option<Server<C>>,
    outages: Arc<AtomicU64>,
    observed: bool,
}

/// Tells whether a connection is as good as a new one, and can write.
pub type Probe<C> = fn(&mut C) -> diesel::QueryResult<()>;

/// Tells which server a connection is to, by a number that no other server has.
pub type Server<C> = fn(&mut C) -> diesel::QueryResult<i64>;

/// Begins the transaction that a job is.
pub type Begin<C> = Box<dyn Fn(&mut C) -> diesel::QueryResult<()> + Send + Sync>;

impl<C: R2D2Connection + 'static> ManageConnection for Manager<C> {
    type Connection = Checked<C>;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Checked<C>, Self::Error> {
        let outage = self.outages.load(Ordering::Acquire);
        let mut connection = self.inner.connect()?;
        if self.observed {
            connection.set_instrumentation(|event: InstrumentationEvent<'_>| {
                watch::observe(&event);
            });
        }
        (self.setup)(&mut connection).map_err(diesel::r2d2::Error::QueryError)?;
        let refused = (self.probe)(&mut connection).err();
        let read_only = refused.filter(error::is_read_only).map(|_| Instant::now());
        let server = self.server.map(|server| server(&mut connection));
        let server = server.transpose();
        Ok(Checked {
            server: server
                .map_err(diesel::r2d2::Error::QueryError)?
                .unwrap_or(0),
            connection,
            broken: false,
            used: false,
            outage,
            read_only,
        })
    }

    fn is_valid(&self, checked: &mut Checked<C>) -> Result<(), Self::Error> {
        self.inner.is_valid(&mut checked.connection)
    }

    fn has_broken(&self, checked: &mut Checked<C>) -> bool {
        checked.broken || self.inner.has_broken(&mut checked.connection)
    }
}

type Pool<C> = r2d2::Pool<Manager<C>>;

/// The pool in use, and how many there were before it.
struct Current<C: R2D2Connection + 'static> {
    generation: u64,
    pool: Pool<C>,
}

/// A database, as a number of connections with a thread each.
pub struct Database<C: R2D2Connection + 'static>(Arc<Shared<C>>);

struct Shared<C: R2D2Connection + 'static> {
    current: Mutex<Current<C>>,
    /// Of [`Current`], to be read without its lock.
    generation: AtomicU64,
    make: Box<dyn Fn() -> Pool<C> + Send + Sync>,
    probe: Probe<C>,
    probed_always: bool,
    successor: Option<Arc<Successor>>,
    begin: Option<Begin<C>>,
    permits: Arc<Semaphore>,
    size: u32,
    acquire_timeout: Duration,
    answer_timeout: Option<Duration>,
    abandoned: AtomicUsize,
    outages: Arc<AtomicU64>,
    meter: Arc<Meter>,
    on_entry: OnEntry,
}

impl<C: R2D2Connection + 'static> Clone for Database<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: R2D2Connection + 'static> Database<C> {
    /// Opens a database; `setup` prepares each new connection. The first connection is made at
    /// once, the others when they are needed.
    ///
    /// # Errors
    /// When no connection could be made within the acquire timeout.
    pub fn open(
        url: &str,
        options: &Options,
        setup: impl Fn(&mut C) -> diesel::QueryResult<()> + Send + Sync + 'static,
    ) -> Result<Self, r2d2::Error> {
        let probe: Probe<C> = R2D2Connection::ping;
        Self::build(url, options, setup, (probe, false), None, None)
    }

    /// The same; `probe` tells after an outage whether a connection is as good as a new one. With
    /// `server`, the URL leads to the one of several servers that takes writes: a job that waits for another one
    /// is given up. With `begin`, each job is a transaction.
    ///
    /// # Errors
    /// When no connection could be made within the acquire timeout.
    pub fn open_probed(
        url: &str,
        options: &Options,
        setup: impl Fn(&mut C) -> diesel::QueryResult<()> + Send + Sync + 'static,
        probe: Probe<C>,
        server: Option<Server<C>>,
        begin: Option<Begin<C>>,
    ) -> Result<Self, r2d2::Error> {
        Self::build(url, options, setup, (probe, false), server, begin)
    }

    /// Opens a database with one connection, for asking whether the database is there. It waits
    /// for no other job, and is probed before each use: an outage that is over is not reported.
    ///
    /// # Errors
    /// When no connection could be made within the acquire timeout.
    pub fn open_for_health(
        url: &str,
        options: &Options,
        setup: impl Fn(&mut C) -> diesel::QueryResult<()> + Send + Sync + 'static,
        probe: Probe<C>,
        server: Option<Server<C>>,
        begin: Option<Begin<C>>,
    ) -> Result<Self, r2d2::Error> {
        let one = Options {
            pool_size: 1,
            ..options.clone()
        };
        Self::build(url, &one, setup, (probe, true), server, begin)
    }

    fn build(
        url: &str,
        options: &Options,
        setup: impl Fn(&mut C) -> diesel::QueryResult<()> + Send + Sync + 'static,
        (probe, probed_always): (Probe<C>, bool),
        server: Option<Server<C>>,
        begin: Option<Begin<C>>,
    ) -> Result<Self, r2d2::Error> {
        let outages = Arc::new(AtomicU64::new(0));
        let setup: Arc<Setup<C>> = Arc::new(setup);
        let size = options.pool_size.max(1);
        let answer_timeout = options.answer_timeout();
        let manager = {
            let (url, outages) = (url.to_owned(), Arc::clone(&outages));
            move || Manager {
                inner: ConnectionManager::new(url.as_str()),
                setup: Arc::clone(&setup),
                probe,
                server,
                outages: Arc::clone(&outages),
                observed: answer_timeout.is_some(),
            }
        };
        let successor = server.map(|_| {
            let manager = manager();
            Arc::new(Successor::new(move || {
                let checked = manager.connect().ok()?;
                checked.read_only.is_none().then_some(checked.server)
            }))
        });
        let make = {
            let acquire_timeout = options.acquire_timeout;
            move || {
                r2d2::Pool::builder()
                    .max_size(size)
                    .min_idle(Some(0))
                    // A round trip per job; see `checkout` for what is done instead.
                    .test_on_check_out(false)
                    .connection_timeout(acquire_timeout)
                    .error_handler(Box::new(LogErrors))
                    .build_unchecked(manager())
            }
        };
        let pool = make();
        drop(pool.get()?);
        Ok(Self(Arc::new(Shared {
            current: Mutex::new(Current {
                generation: 0,
                pool,
            }),
            generation: AtomicU64::new(0),
            make: Box::new(make),
            probe,
            probed_always,
            successor,
            begin,
            permits: Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(1))),
            size,
            acquire_timeout: options.acquire_timeout,
            answer_timeout,
            abandoned: AtomicUsize::new(0),
            outages,
            meter: Arc::default(),
            on_entry: options.on_entry.clone(),
        })))
    }

    /// How the connections are used at this moment, and how long jobs have waited for them.
    #[must_use]
    pub fn usage(&self) -> PoolUsage {
        let state = self.0.current().1.state();
        let in_use = state.connections.saturating_sub(state.idle_connections);
        self.0
            .meter
            .usage(self.0.size, in_use, state.idle_connections)
    }

    /// Begins the wait of a job, for a job that waits for something else before its connection.
    #[must_use = "the wait ends when it is dropped"]
    pub fn wait(&self) -> Wait {
        self.0.meter.wait()
    }

    /// Runs `job` with a connection, on a thread that may block.
    ///
    /// Where statements have a limit, the wait for the answer to one has a limit, too. A job whose
    /// database is silent for longer is given up: its thread stays behind until the client library
    /// returns, its place is another's, and [`watch::before_commit`] keeps it from committing.
    ///
    /// # Errors
    /// What the job's failure means; [`StoreError::Unavailable`] when there is no connection, or
    /// no answer.
    pub async fn run<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> Result<T, Failure> + Send + 'static,
    {
        let patience = self.0.answer_timeout;
        self.run_as(self.wait(), patience, job, Failure::into_store)
            .await
    }

    /// Runs a job that has been waiting already.
    ///
    /// # Errors
    /// As [`Database::run`].
    pub async fn run_after<T, F>(&self, wait: Wait, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> Result<T, Failure> + Send + 'static,
    {
        let patience = self.0.answer_timeout;
        self.run_as(wait, patience, job, Failure::into_store).await
    }

    /// The same for an import.
    ///
    /// # Errors
    /// What the job's failure means.
    pub async fn run_import<T, F>(&self, job: F) -> Result<T, ImportFailure>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> Result<T, Failure> + Send + 'static,
    {
        let patience = self
            .0
            .answer_timeout
            .map(|timeout| timeout * IMPORT_PATIENCE);
        self.run_as(self.wait(), patience, job, Failure::into_import)
            .await
    }

    async fn run_as<T, E, F>(
        &self,
        wait: Wait,
        patience: Option<Duration>,
        job: F,
        meaning: fn(Failure, bool) -> E,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut C) -> Result<T, Failure> + Send + 'static,
    {
        let shared = Arc::clone(&self.0);
        let deadline = Deadline::current();
        let span = wait.span.clone();
        // A task of its own: a permit that was given to a future which its caller has stopped
        // polling would be kept from everybody else.
        let work = async move {
            let permits = Arc::clone(&shared.permits).acquire_owned();
            let permit = match tokio::time::timeout(shared.acquire_timeout, permits).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(closed)) => return Err(StoreError::Backend(closed.into()).into()),
                Err(_elapsed) => {
                    wait.timed_out();
                    let busy = StoreError::Unavailable("every connection is in use".into());
                    return Err(busy.into());
                }
            };
            let watched = Job::new(permit);
            let blocking = tokio::task::spawn_blocking({
                let (shared, watched) = (Arc::clone(&shared), Arc::clone(&watched));
                move || {
                    let _entered = watched.enter(&shared.abandoned);
                    shared.work(&watched, |checked| {
                        let _begun = deadline
                            .begin()
                            .map_err(|passed| StoreError::Unavailable(passed.into()))?;
                        drop(wait);
                        shared
                            .perform(&mut checked.connection, job)
                            .map_err(|failure| {
                                let lost = shared.lost(checked, &failure);
                                meaning(failure, lost)
                            })
                    })
                }
            });
            let joined = match patience {
                Some(patience) => shared.answered(blocking, &watched, patience).await,
                None => Ok(blocking.await),
            };
            match joined {
                Ok(joined) => joined
                    .unwrap_or_else(|panicked| Err(StoreError::Backend(panicked.into()).into())),
                Err(silence) => Err(StoreError::Unavailable(silence.into()).into()),
            }
        };
        match tokio::spawn(work.instrument(span)).await {
            Ok(result) => result,
            Err(panicked) => Err(StoreError::Backend(panicked.into()).into()),
        }
    }
}

impl<C: R2D2Connection + 'static> Shared<C> {
    /// The pool to take connections from, and its generation.
    fn current(&self) -> (u64, Pool<C>) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (current.generation, current.pool.clone())
    }

    /// Runs a job, in a transaction if each job is one.
    fn perform<T>(
        &self,
        connection: &mut C,
        job: impl FnOnce(&mut C) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(begin) = &self.begin else {
            return job(connection);
        };
        begin(connection)?;
        match job(connection) {
            Ok(done) => {
                C::TransactionManager::commit_transaction(connection)?;
                Ok(done)
            }
            Err(failure) => {
                // The pool lets a connection go whose transaction cannot be rolled back.
                let _ = C::TransactionManager::rollback_transaction(connection);
                Err(failure)
            }
        }
    }

    /// Runs a job's part on its thread with a connection.
    fn work<T, E: From<StoreError>>(
        &self,
        watched: &Job,
        part: impl FnOnce(&mut Checked<C>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut checked = self.checkout(watched)?;
        let done = part(&mut checked);
        // Of a pool that was given up nothing is kept.
        let old = watched.generation() != self.generation.load(Ordering::Acquire);
        if old || watched.was_abandoned() {
            checked.broken = true;
        }
        if done.is_ok() && watched.wrote_entry() {
            self.on_entry.call();
        }
        done
    }

    /// Waits for a job's thread, unless its database is silent for longer than `patience`, or for so long that
    /// another server has taken over.
    async fn answered<T>(
        &self,
        mut blocking: JoinHandle<T>,
        watched: &Job,
        patience: Duration,
    ) -> Result<Result<T, JoinError>, Silence> {
        let looks = |left: Duration, silent| match &self.successor {
            Some(_) => left.min(successor::next_look(silent)),
            None => left,
        };
        let mut next_look = looks(patience, Duration::ZERO);
        loop {
            if let Ok(joined) = tokio::time::timeout(next_look, &mut blocking).await {
                return Ok(joined);
            }
            let silent = watched.silent_for().unwrap_or_default();
            let moved = self
                .successor
                .as_ref()
                .is_some_and(|successor| successor.took_over(watched.server(), silent));
            if moved {
                tracing::warn!("the database does not answer, and another server takes writes now");
            }
            let left = patience.saturating_sub(silent);
            next_look = looks(left, silent);
            if left.is_zero() || moved {
                if let Some(silence) = self.give_up(watched) {
                    return Err(silence);
                }
                next_look = patience;
            }
        }
    }

    /// Gives a job up, and with it the pool that its connection is from. `None` when it has ended
    /// now, or when as many threads as the pool has connections have stayed behind already.
    fn give_up(&self, watched: &Job) -> Option<Silence> {
        let most = usize::try_from(self.size).unwrap_or(usize::MAX);
        let before = self.abandoned.fetch_add(1, Ordering::SeqCst);
        let silence = if before < most {
            watched.abandon()
        } else {
            None
        };
        let Some(silence) = silence else {
            self.abandoned.fetch_sub(1, Ordering::SeqCst);
            return None;
        };
        tracing::warn!(abandoned = before + 1, "{silence}");
        self.replace(watched.generation());
        Some(silence)
    }

    /// Takes a new pool in the place of this one, of which a connection does not come back.
    fn replace(&self, generation: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.generation != generation {
            return;
        }
        current.generation += 1;
        self.generation.store(current.generation, Ordering::Release);
        let old = std::mem::replace(&mut current.pool, (self.make)());
        drop(current);
        while let Some(mut idle) = old.try_get() {
            idle.broken = true;
        }
    }

    /// A connection. After one was found dead, the others that are as old are probed before they
    /// are given out, so that an outage costs as few requests as possible.
    fn checkout(&self, watched: &Job) -> Result<r2d2::PooledConnection<Manager<C>>, StoreError> {
        let (generation, pool) = self.current();
        watched.uses(generation);
        loop {
            let mut checked = pool
                .get()
                .map_err(|error| StoreError::Unavailable(error.into()))?;
            let outage = self.outages.load(Ordering::Acquire);
            if checked.is_stale() {
                checked.broken = true;
                continue;
            }
            let is_new = !std::mem::replace(&mut checked.used, true);
            watched.is_on(checked.server);
            if checked.outage == outage && (is_new || !self.probed_always) {
                return Ok(checked);
            }
            if (self.probe)(&mut checked.connection).is_ok() {
                checked.outage = outage;
                return Ok(checked);
            }
            checked.broken = true;
        }
    }

    /// Whether a failure comes from a dead connection, or one that cannot write. The pool lets
    /// every connection go of which a failure leaves in doubt whether it is as good as a new one:
    /// making one costs milliseconds, and which failures are cured by it cannot be told from all
    /// of them.
    fn lost(&self, checked: &mut Checked<C>, failure: &Failure) -> bool {
        let lost = match failure.suspicion() {
            Suspicion::None => return false,
            Suspicion::Possible => (self.probe)(&mut checked.connection).is_err(),
            Suspicion::Certain => true,
        };
        checked.broken = true;
        if lost {
            // Connections that were made since are not as old.
            self.outages.fetch_max(checked.outage + 1, Ordering::AcqRel);
        }
        lost
    }
}

#[derive(Debug)]
struct LogErrors;

impl r2d2::HandleError<diesel::r2d2::Error> for LogErrors {
    fn handle_error(&self, error: diesel::r2d2::Error) {
        tracing::warn!(%error, "no database connection");
    }
}
