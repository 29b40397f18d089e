#![doc = include_str!("../README.md")]

mod audit;
mod campaigns;
mod changed_groups;
mod counts;
mod cursors;
mod deliveries;
mod editions;
mod file;
mod generation;
mod groups;
mod history;
mod idempotency;
mod queue;
mod recipients;
mod reruns;
mod reviews;
mod schedules;
mod schema;
mod webhooks;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::r2d2::R2D2Connection;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use diesel::{
    Connection, ConnectionError, ConnectionResult, QueryableByName, RunQueryDsl, SqliteConnection,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use rerun_core::deadline::Deadline;
use rerun_core::error::StoreError;
use rerun_core::ports::{HealthCheck, ImportFailure, PoolGauge, PoolUsage};
use rerun_diesel::error::Failure;
use rerun_diesel::lanes::Lanes;
use rerun_diesel::pool::Database;
use rerun_diesel::sql::sql;
use tokio::sync::Mutex;

pub use rerun_diesel::pool::{OnEntry, Options};
pub use rerun_diesel::{MigrateError, MigrationStatus};

use crate::file::File;
use crate::write::Value;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// How long a start waits for another process that changes the schema.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(10);

/// The store. Clones share its connections. Its async methods panic outside of a Tokio runtime with
/// timers.
#[derive(Clone)]
pub struct SqliteStore {
    readers: Database<SqliteConnection>,
    writer: Database<SqliteConnection>,
    /// Writes without a check of references. SQLite looks through all messages of an account for
    /// those that refer to one that is deleted.
    sweeper: Database<SqliteConnection>,
    /// Commits without waiting for the disk.
    unsynced_writer: Database<SqliteConnection>,
    importers: Database<SqliteConnection>,
    health: Database<SqliteConnection>,
    lanes: Lanes,
    turns: Arc<Mutex<()>>,
    patience: Duration,
    /// Whether the disk took the last write. Nobody knows before the first.
    disk_writes: Arc<AtomicBool>,
    /// Whether the disk refused a write, and the check has not found since that it takes one.
    disk_refused: Arc<AtomicBool>,
}

/// The database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL names no file, or the file cannot be used.
    #[error("cannot open the SQLite database: {0}")]
    Open(#[from] ConnectionError),
    /// No connection could be made within the acquire timeout.
    #[error("cannot connect to the SQLite database: {0}")]
    Pool(#[from] r2d2::Error),
}

impl PoolGauge for SqliteStore {
    fn pools(&self) -> Vec<(&'static str, PoolUsage)> {
        vec![
            ("read", self.readers.usage()),
            ("write", self.writer.usage()),
            ("import", self.imports()),
        ]
    }
}

impl SqliteStore {
    /// Opens the database at `sqlite://FILE`, where `FILE` is a path as it stands, relative to
    /// the working directory unless it starts with a slash. The file must be there: [`migrate`]
    /// makes it. It blocks, and does not look at the schema.
    ///
    /// # Errors
    /// [`ConnectError`], which names the file.
    pub fn connect(url: &str, options: &Options) -> Result<Self, ConnectError> {
        let file = File::of(url)?;
        file.must_exist()?;
        let timeout = options.acquire_timeout;
        // There is no server that could stand still: a job that has begun is waited for.
        let options = &Options {
            statement_timeout: None,
            ..options.clone()
        };
        // The first connection tells at once what is wrong with a file; a pool would try again.
        drop(open(&file, timeout)?);
        let file = file.uri();
        let busy = busy_timeout(timeout);
        let one = Options {
            pool_size: 1,
            ..options.clone()
        };
        let write_setup = format!(
            "{busy} PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; \
             PRAGMA cache_size = -16384; PRAGMA journal_size_limit = 67108864;"
        );
        let sweep_setup = write_setup.replace("foreign_keys = ON", "foreign_keys = OFF");
        let unsynced_setup = write_setup.replace("synchronous = FULL", "synchronous = NORMAL");
        let lanes = Lanes::new(options.pool_size);
        let imports = Options {
            pool_size: lanes.size(),
            ..options.clone()
        };
        let import_setup = format!("{write_setup} {} {}", editions::STAGING, campaigns::STAGING);
        let read_setup = format!("{busy} PRAGMA query_only = ON; PRAGMA cache_size = -8192;");
        let setup =
            |text: String| move |connection: &mut SqliteConnection| connection.batch_execute(&text);
        Ok(Self {
            writer: Database::open(&file, &one, setup(write_setup))?,
            unsynced_writer: Database::open(&file, &one, setup(unsynced_setup))?,
            sweeper: Database::open(&file, &one, setup(sweep_setup))?,
            health: Database::open_for_health(
                &file,
                options,
                setup(read_setup.clone()),
                R2D2Connection::ping,
                None,
                None,
            )?,
            readers: Database::open(&file, options, setup(read_setup))?,
            importers: Database::open(&file, &imports, setup(import_setup))?,
            lanes,
            turns: Arc::new(Mutex::new(())),
            patience: timeout,
            disk_writes: Arc::default(),
            disk_refused: Arc::default(),
        })
    }

    /// How the connections of imports are used. Imports wait for a lane, of which there is one for
    /// each connection.
    fn imports(&self) -> PoolUsage {
        let lanes = self.lanes.usage();
        PoolUsage {
            waiting: lanes.waiting,
            waits: lanes.waits,
            ..self.importers.usage()
        }
    }

    /// Runs a reading job. All of its statements see the database at one moment.
    async fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    {
        self.readers.run(|conn| conn.transaction(job)).await
    }

    /// Runs a reading job of one statement after those of this process who write now, or who wait for it. If they
    /// take longer than a connection is waited for, it does not wait for them.
    async fn read_after_writers<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    {
        let (turns, readers, patience) =
            (Arc::clone(&self.turns), self.readers.clone(), self.patience);
        // In a task of its own, as writing jobs are.
        let done = tokio::spawn(Deadline::current().scope(async move {
            let turn = tokio::time::timeout(patience, turns.lock_owned()).await;
            let read = move |conn: &mut SqliteConnection| {
                let _turn = turn;
                job(conn)
            };
            readers.run(read).await
        }));
        done.await
            .unwrap_or_else(|panicked| Err(StoreError::Backend(panicked.into())))
    }

    /// Runs a writing job. Nobody else writes meanwhile; a failure takes back all of it.
    async fn write<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    {
        self.write_on(self.writer.clone(), job).await
    }

    /// The same without waiting for the disk, for leases and results that nobody has been told about. If the
    /// machine loses power, the job's changes may be lost, together with everything that was written after
    /// them. The worker is gone then, too, and its messages are generated again.
    async fn write_unsynced<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    {
        self.write_on(self.unsynced_writer.clone(), job).await
    }

    /// The same for a job that deletes a campaign, whose parts go one after the other.
    async fn write_unchecked<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    {
        self.write_on(self.sweeper.clone(), job).await
    }

    async fn write_on<T, F>(
        &self,
        writer: Database<SqliteConnection>,
        job: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    {
        let (turns, patience) = (Arc::clone(&self.turns), self.patience);
        // In a task of its own, as the pool's permits are, and for the same reason. Who comes
        // first is first: SQLite's own lock is asked for again and again by those who wait, and
        // may miss one of them for seconds.
        let waiting = writer.wait();
        let done = tokio::spawn(Deadline::current().scope(async move {
            let Ok(turn) = tokio::time::timeout(patience, turns.lock_owned()).await else {
                waiting.timed_out();
                return Err(StoreError::Unavailable("too many are writing".into()));
            };
            writer
                .run_after(waiting, move |conn| {
                    let _turn = turn;
                    conn.immediate_transaction(job)
                })
                .await
        }));
        let written = match done.await {
            Ok(result) => result,
            Err(panicked) => Err(StoreError::Backend(panicked.into())),
        };
        if let Err(StoreError::Unavailable(cause)) = &written {
            self.note_refused(cause);
        }
        written
    }

    /// Notes that the disk does not take writes now, when that is why one failed.
    fn note_refused(&self, cause: &rerun_core::error::Cause) {
        const CAUSES: [&str; 4] = [
            "database or disk is full",
            "readonly database",
            "disk I/O error",
            "unable to open database file",
        ];
        let said = cause.to_string();
        if CAUSES.iter().any(|cause| said.contains(cause)) {
            self.disk_refused.store(true, Ordering::Relaxed);
            self.disk_writes.store(false, Ordering::Relaxed);
        }
    }

    /// Writes a page of the file, as it is. Once is enough until a write fails.
    async fn check_disk(&self) -> Result<(), StoreError> {
        if self.disk_writes.load(Ordering::Relaxed) {
            return Ok(());
        }
        // A server that others keep from writing is ready: nothing speaks against the disk.
        let in_doubt = self.disk_refused.load(Ordering::Relaxed);
        if !in_doubt && self.turns.try_lock().is_err() {
            return Ok(());
        }
        let written = self
            .write(|conn| {
                // A number that nothing here uses, in the file's first page.
                let kept = sql("SELECT user_version AS value FROM pragma_user_version")
                    .get_result::<Value>(conn)?;
                conn.batch_execute(&format!("PRAGMA user_version = {}", kept.value))?;
                Ok(())
            })
            .await;
        if let Err(error) = written {
            return if self.disk_refused.load(Ordering::Relaxed) {
                Err(error)
            } else {
                Ok(())
            };
        }
        self.disk_refused.store(false, Ordering::Relaxed);
        self.disk_writes.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Brings a campaign in. `stage` takes in the rows, on a connection of its own and outside of
    /// any transaction, so that a slow file stops nobody; `merge` then writes, as in
    /// [`SqliteStore::write`].
    async fn import<S, T>(
        &self,
        stage: impl FnOnce(&mut SqliteConnection) -> Result<S, Failure> + Send + 'static,
        merge: impl FnOnce(&mut SqliteConnection, S) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ImportFailure>
    where
        T: Send + 'static,
    {
        let turns = Arc::clone(&self.turns);
        self.run_import(move |conn| {
            let staged = stage(conn)?;
            // It has come this far: it may wait for all who came before.
            let _turn = turns.blocking_lock_owned();
            conn.immediate_transaction(|conn| merge(conn, staged))
        })
        .await
    }

    /// Runs a job on one of the connections of imports.
    async fn run_import<T, F>(&self, job: F) -> Result<T, ImportFailure>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    {
        let lane = self.lanes.lane().await?;
        let imported = self
            .importers
            .run_import(move |conn| {
                let _until_it_ends = lane;
                job(conn)
            })
            .await;
        if let Err(ImportFailure::Store(StoreError::Unavailable(cause))) = &imported {
            self.note_refused(cause);
        }
        imported
    }
}

#[async_trait]
impl HealthCheck for SqliteStore {
    async fn check(&self) -> Result<(), StoreError> {
        let newest = newest().map_err(StoreError::Unavailable)?;
        let applied = self
            .health
            .run(move |conn| {
                let found = sql("SELECT count(*) AS value FROM __diesel_schema_migrations \
                                 WHERE version = ?")
                .bind::<Text, _>(newest)
                .get_result::<Value>(conn)?;
                Ok(found.value)
            })
            .await;
        let applied = match applied {
            Ok(0) | Err(_) => applied,
            Ok(found) => self.check_disk().await.map(|()| found),
        };
        match applied {
            Ok(0) => Err(StoreError::Unavailable(
                "the schema is older than this version needs".into(),
            )),
            Ok(_) => Ok(()),
            Err(StoreError::Unavailable(cause) | StoreError::Backend(cause)) => {
                Err(StoreError::Unavailable(cause))
            }
            Err(other @ (StoreError::Conflict | StoreError::Corrupt(_))) => {
                Err(StoreError::Unavailable(other.into()))
            }
        }
    }
}

fn busy_timeout(timeout: Duration) -> String {
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    format!("PRAGMA busy_timeout = {millis};")
}

/// A connection to a file that must be there.
fn establish(file: &File, timeout: Duration) -> ConnectionResult<SqliteConnection> {
    let refused = |said: &dyn std::fmt::Display| file.refused(&said.to_string());
    let mut connection =
        SqliteConnection::establish(&file.uri()).map_err(|error| refused(&error))?;
    let set = connection.batch_execute(&busy_timeout(timeout));
    set.map_err(|error| refused(&error))?;
    Ok(connection)
}

/// A connection to a database that is in WAL mode from now on, which is a property of the file.
fn open(file: &File, timeout: Duration) -> ConnectionResult<SqliteConnection> {
    let started = Instant::now();
    let mut connection = establish(file, timeout)?;
    // SQLite does not wait for the lock that changing the mode takes, so that the second of two
    // processes that make a database together is refused at first.
    while let Err(error) = connection.batch_execute("PRAGMA journal_mode = WAL;") {
        let said = error.to_string();
        if started.elapsed() >= timeout || !said.contains("locked") {
            return Err(file.refused(&said));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(connection)
}

fn known() -> Result<Vec<Box<dyn Migration<Sqlite>>>, MigrateError> {
    MIGRATIONS.migrations().map_err(MigrateError::Failed)
}

/// The version of the newest migration, as the database names it.
fn newest() -> Result<String, rerun_core::error::Cause> {
    let migrations: Vec<Box<dyn Migration<Sqlite>>> = MIGRATIONS.migrations()?;
    let versions = migrations.iter().map(|m| m.name().version().to_string());
    versions
        .max()
        .ok_or_else(|| "this version has no migrations".into())
}

/// Applies the migrations that the database does not have yet, all or none and one process at a
/// time, and answers their names. A file that is not there is made, for this user alone. It blocks.
///
/// # Errors
/// [`MigrateError`], which names the file.
pub fn migrate(url: &str) -> Result<Vec<String>, MigrateError> {
    let file = File::of(url)?;
    file.make()?;
    locked(&file, |connection| {
        refuse_newer(&applied(connection)?)?;
        let pending = connection.pending_migrations(MIGRATIONS);
        let pending = pending.map_err(MigrateError::Failed)?;
        let names = pending.iter().map(|m| m.name().to_string()).collect();
        connection
            .run_pending_migrations(MIGRATIONS)
            .map_err(MigrateError::Failed)?;
        // SQLite grants the lock for writing on what cannot be written, and only then refuses.
        connection.batch_execute("DELETE FROM __diesel_schema_migrations WHERE false")?;
        Ok(names)
    })
}

/// Takes back the newest migration, and its data with it; answers its name. It blocks.
///
/// # Errors
/// [`MigrateError`], which names the file.
pub fn revert(url: &str) -> Result<String, MigrateError> {
    let file = File::of(url)?;
    file.must_exist()?;
    locked(&file, |connection| {
        refuse_newer(&applied(connection)?)?;
        let version = connection
            .revert_last_migration(MIGRATIONS)
            .map_err(MigrateError::Failed)?;
        let reverted = known()?.into_iter().find(|m| m.name().version() == version);
        Ok(reverted.map_or_else(|| version.to_string(), |m| m.name().to_string()))
    })
}

/// Every migration of this version, oldest first, and whether the database has it. It blocks, and
/// writes nothing.
///
/// # Errors
/// [`MigrateError`], which names the file; also when it is not there.
pub fn migrations(url: &str) -> Result<Vec<MigrationStatus>, MigrateError> {
    let file = File::of(url)?;
    file.must_exist()?;
    let mut connection = establish(&file, MIGRATION_TIMEOUT)?;
    let listed = connection.transaction(|connection| {
        let applied = applied(connection)?;
        refuse_newer(&applied)?;
        let status = |migration: Box<dyn Migration<Sqlite>>| MigrationStatus {
            applied: applied.contains(&migration.name().version().to_string()),
            name: migration.name().to_string(),
        };
        Ok(known()?.into_iter().map(status).collect())
    });
    listed.map_err(|stopped: Stopped| stopped.reason(&file))
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// The versions that the database has. diesel's own function makes the table for them first.
fn applied(connection: &mut SqliteConnection) -> Result<Vec<String>, Stopped> {
    let there = sql("SELECT count(*) AS value FROM sqlite_master \
                     WHERE type = 'table' AND name = '__diesel_schema_migrations'")
    .get_result::<Value>(connection)?;
    if there.value == 0 {
        return Ok(Vec::new());
    }
    let rows = sql("SELECT version FROM __diesel_schema_migrations").load::<Version>(connection)?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

/// Why a transaction on the schema ended.
enum Stopped {
    Because(MigrateError),
    Query(diesel::result::Error),
}

/// Names a file that SQLite cannot read. This is not the failure of a migration.
const UNREADABLE: [&str; 3] = [
    "unable to open database file",
    "file is not a database",
    "database disk image is malformed",
];

impl Stopped {
    /// SQLite's own messages do not say which file.
    fn reason(self, file: &File) -> MigrateError {
        let error = match self {
            Self::Because(MigrateError::Failed(cause)) => cause,
            Self::Because(error) => return error,
            Self::Query(error) => error.into(),
        };
        let (said, name) = (error.to_string(), file.path().display());
        if said.contains("readonly database") {
            MigrateError::ReadOnly(name.to_string())
        } else if UNREADABLE
            .iter()
            .any(|unreadable| said.contains(unreadable))
        {
            MigrateError::Connect(file.refused(&said))
        } else {
            MigrateError::Failed(format!("{name}: {said}").into())
        }
    }
}

impl From<diesel::result::Error> for Stopped {
    fn from(error: diesel::result::Error) -> Self {
        Self::Query(error)
    }
}

impl From<MigrateError> for Stopped {
    fn from(error: MigrateError) -> Self {
        Self::Because(error)
    }
}

fn locked<T>(
    file: &File,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, Stopped>,
) -> Result<T, MigrateError> {
    let mut connection = open(file, MIGRATION_TIMEOUT).map_err(|error| {
        if error.to_string().contains("readonly database") {
            MigrateError::ReadOnly(file.path().display().to_string())
        } else {
            error.into()
        }
    })?;
    connection
        .immediate_transaction(work)
        .map_err(|stopped| stopped.reason(file))
}

fn refuse_newer(applied: &[String]) -> Result<(), MigrateError> {
    let known: Vec<String> = known()?
        .iter()
        .map(|m| m.name().version().to_string())
        .collect();
    match applied.iter().find(|version| !known.contains(version)) {
        Some(version) => Err(MigrateError::Newer(version.clone())),
        None => Ok(()),
    }
}
