//! Connections and the threads that use them.
//!
//! Diesel blocks, so jobs run on threads that may block. There are never more of them than
//! connections: a thread that waited for a connection would only take processor time from those
//! that have one, which showed in measurements as a tail latency forty times as long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diesel::r2d2::{ConnectionManager, R2D2Connection};
use r2d2::ManageConnection;
use rerun_core::error::StoreError;
use rerun_core::ports::ImportFailure;
use tokio::sync::Semaphore;
use tracing::{Instrument, Span};

use crate::deadline::Deadline;
use crate::error::Failure;

/// How a store uses its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Connections, and threads that use them; at least 1.
    pub pool_size: u32,
    /// The longest wait for a connection before the store answers that it is unavailable.
    pub acquire_timeout: Duration,
    /// How long the server may work on one statement, imports apart; `None` for as long as it
    /// takes. SQLite has no server and no such limit.
    pub statement_timeout: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pool_size: 8,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: None,
        }
    }
}

/// How a pool is used, for whoever watches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// The most connections that it may have.
    pub size: u32,
    /// Connections that a job uses now.
    pub in_use: u32,
    /// Connections that are open and wait for a job.
    pub idle: u32,
    /// Jobs that wait for a connection now.
    pub waiting: u64,
    /// Jobs that waited too long and were given up.
    pub timeouts: u64,
    /// How long jobs waited, from the beginning.
    pub waits: Waits,
}

/// How many jobs waited how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waits {
    /// For each of [`Waits::BOUNDS`] the jobs that waited no longer, but longer than the bound
    /// before; then those that waited longer than every bound.
    pub jobs: [u64; Waits::BOUNDS.len() + 1],
    /// The sum of all waits, in microseconds.
    pub total_micros: u64,
}

impl Waits {
    /// Upper bounds of the groups that waits are counted in. Most jobs find a free connection.
    pub const BOUNDS: [Duration; 6] = [
        Duration::from_micros(100),
        Duration::from_millis(1),
        Duration::from_millis(10),
        Duration::from_millis(100),
        Duration::from_secs(1),
        Duration::from_secs(5),
    ];
}

/// Counts waits, shared by the clones of a database.
#[derive(Debug, Default)]
struct Meter {
    waiting: AtomicU64,
    timeouts: AtomicU64,
    jobs: [AtomicU64; Waits::BOUNDS.len() + 1],
    total_micros: AtomicU64,
}

/// A job's wait for its connection, which ends when this is dropped.
#[derive(Debug)]
pub struct Wait {
    meter: Arc<Meter>,
    since: Instant,
    /// The job's span, wait included.
    span: Span,
}

impl Wait {
    /// Notes that the job was given up.
    pub fn timed_out(self) {
        self.meter.timeouts.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let waited = self.since.elapsed();
        let group = Waits::BOUNDS.partition_point(|bound| *bound < waited);
        if let Some(jobs) = self.meter.jobs.get(group) {
            jobs.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.meter.total_micros.fetch_add(micros, Ordering::Relaxed);
        self.meter.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that remembers whether it is known to be dead, and since when it is known to be
/// alive.
pub struct Checked<C> {
    connection: C,
    broken: bool,
    outage: u64,
}

type Setup<C> = dyn Fn(&mut C) -> diesel::QueryResult<()> + Send + Sync;

/// Makes connections for the pool.
pub struct Manager<C> {
    inner: ConnectionManager<C>,
    setup: Box<Setup<C>>,
    outages: Arc<AtomicU64>,
}

impl<C: R2D2Connection + 'static> ManageConnection for Manager<C> {
    type Connection = Checked<C>;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Checked<C>, Self::Error> {
        let outage = self.outages.load(Ordering::Acquire);
        let mut connection = self.inner.connect()?;
        (self.setup)(&mut connection).map_err(diesel::r2d2::Error::QueryError)?;
        Ok(Checked {
            connection,
            broken: false,
            outage,
        })
    }

    fn is_valid(&self, checked: &mut Checked<C>) -> Result<(), Self::Error> {
        self.inner.is_valid(&mut checked.connection)
    }

    fn has_broken(&self, checked: &mut Checked<C>) -> bool {
        checked.broken || self.inner.has_broken(&mut checked.connection)
    }
}

/// A database, as a number of connections with a thread each.
pub struct Database<C: R2D2Connection + 'static> {
    pool: r2d2::Pool<Manager<C>>,
    permits: Arc<Semaphore>,
    acquire_timeout: Duration,
    outages: Arc<AtomicU64>,
    meter: Arc<Meter>,
}

impl<C: R2D2Connection + 'static> Clone for Database<C> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            permits: Arc::clone(&self.permits),
            acquire_timeout: self.acquire_timeout,
            outages: Arc::clone(&self.outages),
            meter: Arc::clone(&self.meter),
        }
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
        let outages = Arc::new(AtomicU64::new(0));
        let manager = Manager {
            inner: ConnectionManager::new(url),
            setup: Box::new(setup),
            outages: Arc::clone(&outages),
        };
        let size = options.pool_size.max(1);
        let pool = r2d2::Pool::builder()
            .max_size(size)
            .min_idle(Some(0))
            // A round trip per job; see `checkout` for what is done instead.
            .test_on_check_out(false)
            .connection_timeout(options.acquire_timeout)
            .error_handler(Box::new(LogErrors))
            .build(manager)?;
        drop(pool.get()?);
        Ok(Self {
            pool,
            permits: Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(1))),
            acquire_timeout: options.acquire_timeout,
            outages,
            meter: Arc::default(),
        })
    }

    /// How the connections are used at this moment, and how long jobs have waited for them.
    #[must_use]
    pub fn usage(&self) -> PoolUsage {
        let state = self.pool.state();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PoolUsage {
            size: self.pool.max_size(),
            in_use: state.connections.saturating_sub(state.idle_connections),
            idle: state.idle_connections,
            waiting: count(&self.meter.waiting),
            timeouts: count(&self.meter.timeouts),
            waits: Waits {
                jobs: std::array::from_fn(|group| self.meter.jobs.get(group).map_or(0, count)),
                total_micros: count(&self.meter.total_micros),
            },
        }
    }

    /// Begins the wait of a job, for a job that waits for something else before its connection.
    #[must_use = "the wait ends when it is dropped"]
    pub fn wait(&self) -> Wait {
        self.meter.waiting.fetch_add(1, Ordering::Relaxed);
        Wait {
            meter: Arc::clone(&self.meter),
            since: Instant::now(),
            // At the default filter nobody asks for it, and it costs as little as the question.
            span: tracing::debug_span!("database"),
        }
    }

    /// Runs `job` with a connection, on a thread that may block.
    ///
    /// # Errors
    /// What the job's failure means; [`StoreError::Unavailable`] when there is no connection.
    pub async fn run<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> Result<T, Failure> + Send + 'static,
    {
        self.run_as(self.wait(), job, Failure::into_store).await
    }

    /// Runs a job that has been waiting already.
    ///
    /// # Errors
    /// What the job's failure means; [`StoreError::Unavailable`] when there is no connection.
    pub async fn run_after<T, F>(&self, wait: Wait, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> Result<T, Failure> + Send + 'static,
    {
        self.run_as(wait, job, Failure::into_store).await
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
        self.run_as(self.wait(), job, Failure::into_import).await
    }

    async fn run_as<T, E, F>(
        &self,
        wait: Wait,
        job: F,
        meaning: fn(Failure, bool) -> E,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut C) -> Result<T, Failure> + Send + 'static,
    {
        let this = self.clone();
        let deadline = Deadline::current();
        let span = wait.span.clone();
        // A task of its own: a permit that was given to a future which its caller has stopped
        // polling would be kept from everybody else.
        let work = async move {
            let permits = Arc::clone(&this.permits).acquire_owned();
            let permit = match tokio::time::timeout(this.acquire_timeout, permits).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(closed)) => return Err(StoreError::Backend(closed.into()).into()),
                Err(_elapsed) => {
                    wait.timed_out();
                    let busy = StoreError::Unavailable("every connection is in use".into());
                    return Err(busy.into());
                }
            };
            let blocking = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let mut checked = this.checkout()?;
                let _begun = deadline
                    .begin()
                    .map_err(|passed| StoreError::Unavailable(passed.into()))?;
                drop(wait);
                job(&mut checked.connection).map_err(|failure| {
                    let lost = this.lost(&mut checked, &failure);
                    meaning(failure, lost)
                })
            });
            blocking
                .await
                .unwrap_or_else(|panicked| Err(StoreError::Backend(panicked.into()).into()))
        };
        match tokio::spawn(work.instrument(span)).await {
            Ok(result) => result,
            Err(panicked) => Err(StoreError::Backend(panicked.into()).into()),
        }
    }

    /// A connection. After one was found dead, the others that are as old are asked whether they
    /// live before they are given out, so that an outage costs as few requests as possible.
    fn checkout(&self) -> Result<r2d2::PooledConnection<Manager<C>>, StoreError> {
        loop {
            let mut checked = self
                .pool
                .get()
                .map_err(|error| StoreError::Unavailable(error.into()))?;
            let outage = self.outages.load(Ordering::Acquire);
            if checked.outage == outage {
                return Ok(checked);
            }
            if checked.connection.ping().is_ok() {
                checked.outage = outage;
                return Ok(checked);
            }
            checked.broken = true;
        }
    }

    /// Whether a failure comes from a dead connection; the pool then lets it go.
    fn lost(&self, checked: &mut Checked<C>, failure: &Failure) -> bool {
        let Failure::Query(_) = failure else {
            return false;
        };
        if checked.connection.ping().is_ok() {
            return false;
        }
        checked.broken = true;
        self.outages.fetch_add(1, Ordering::AcqRel);
        true
    }
}

#[derive(Debug)]
struct LogErrors;

impl r2d2::HandleError<diesel::r2d2::Error> for LogErrors {
    fn handle_error(&self, error: diesel::r2d2::Error) {
        tracing::warn!(%error, "no database connection");
    }
}
