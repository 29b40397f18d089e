#![doc = include_str!("../README.md")]

mod audit;
mod campaigns;
mod counts;
mod generation;
mod groups;
mod history;
mod idempotency;
mod queue;
mod reruns;
mod reviews;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use diesel::{Connection, ConnectionError, ConnectionResult, RunQueryDsl, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use rerun_core::error::StoreError;
use rerun_core::ports::{HealthCheck, ImportFailure};
use rerun_diesel::deadline::Deadline;
use rerun_diesel::error::Failure;
use rerun_diesel::pool::Database;
use rerun_diesel::sql::sql;
use tokio::sync::Mutex;

pub use rerun_diesel::pool::{Options, PoolUsage, Waits};
pub use rerun_diesel::{MigrateError, MigrationStatus};

use crate::write::Value;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// How long a start waits for another process that changes the schema.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(10);

/// The store.
#[derive(Clone)]
pub struct SqliteStore {
    readers: Database<SqliteConnection>,
    writer: Database<SqliteConnection>,
    importers: Database<SqliteConnection>,
    turns: Arc<Mutex<()>>,
    patience: Duration,
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

impl SqliteStore {
    /// Opens the database at `sqlite://FILE`, where `FILE` is a path as it stands, relative to
    /// the working directory unless it starts with a slash. A file that is not there is made. It
    /// blocks.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(url: &str, options: &Options) -> Result<Self, ConnectError> {
        let file = file(url)?;
        let timeout = options.acquire_timeout;
        // The first connection tells at once what is wrong with a file; a pool would try again.
        drop(open(&file, timeout)?);
        let busy = busy_timeout(timeout);
        let one = Options {
            pool_size: 1,
            ..options.clone()
        };
        let write_setup = format!(
            "{busy} PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; \
             PRAGMA cache_size = -16384; PRAGMA journal_size_limit = 67108864;"
        );
        let import_setup = format!("{write_setup} {} {}", groups::STAGING, campaigns::STAGING);
        let read_setup = format!("{busy} PRAGMA query_only = ON; PRAGMA cache_size = -8192;");
        let setup =
            |text: String| move |connection: &mut SqliteConnection| connection.batch_execute(&text);
        Ok(Self {
            writer: Database::open(&file, &one, setup(write_setup))?,
            readers: Database::open(&file, options, setup(read_setup))?,
            importers: Database::open(&file, options, setup(import_setup))?,
            turns: Arc::new(Mutex::new(())),
            patience: timeout,
        })
    }

    /// How the connections are used, by what they are for.
    #[must_use]
    pub fn pools(&self) -> Vec<(&'static str, PoolUsage)> {
        vec![
            ("read", self.readers.usage()),
            ("write", self.writer.usage()),
            ("import", self.importers.usage()),
        ]
    }

    /// Runs a reading job. All of its statements see the database at one moment.
    async fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    {
        self.readers.run(|conn| conn.transaction(job)).await
    }

    /// Runs a writing job. Nobody else writes meanwhile; a failure takes back all of it.
    async fn write<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    {
        let (turns, patience) = (Arc::clone(&self.turns), self.patience);
        // In a task of its own, as the pool's permits are, and for the same reason. Who comes
        // first is first: SQLite's own lock is asked for again and again by those who wait, and
        // may miss one of them for seconds.
        let writer = self.writer.clone();
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
        match done.await {
            Ok(result) => result,
            Err(panicked) => Err(StoreError::Backend(panicked.into())),
        }
    }

    /// Runs an import. `stage` takes in the rows, on a connection of its own and outside of any
    /// transaction, so that a slow file stops nobody; `merge` then writes, as in
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
        self.importers
            .run_import(move |conn| {
                let staged = stage(conn)?;
                // It has come this far: it may wait for all who came before.
                let _turn = turns.blocking_lock_owned();
                conn.immediate_transaction(|conn| merge(conn, staged))
            })
            .await
    }
}

#[async_trait]
impl HealthCheck for SqliteStore {
    async fn check(&self) -> Result<(), StoreError> {
        let newest = newest().map_err(StoreError::Unavailable)?;
        let applied = self
            .readers
            .run(move |conn| {
                let found = sql("SELECT count(*) AS value FROM __diesel_schema_migrations \
                                 WHERE version = ?")
                .bind::<Text, _>(newest)
                .get_result::<Value>(conn)?;
                Ok(found.value)
            })
            .await;
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

fn bad_url(url: &str, why: &str) -> ConnectionError {
    ConnectionError::InvalidConnectionUrl(format!("`{url}` {why}"))
}

/// The path of the file that a URL names. It is absolute, so that SQLite cannot take it for one
/// of its own URIs, or for a database in memory, which each connection would have for itself.
fn file(url: &str) -> ConnectionResult<String> {
    let path = url
        .strip_prefix("sqlite://")
        .filter(|path| !path.is_empty() && *path != ":memory:")
        .ok_or_else(|| bad_url(url, "is not of the form `sqlite://FILE`"))?;
    let path: PathBuf = std::path::absolute(Path::new(path))
        .map_err(|error| bad_url(url, &format!("has no absolute path: {error}")))?;
    path.into_os_string()
        .into_string()
        .map_err(|_not_utf8| bad_url(url, "is in a folder whose name is not UTF-8"))
}

fn busy_timeout(timeout: Duration) -> String {
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    format!("PRAGMA busy_timeout = {millis};")
}

/// A connection to a database that is in WAL mode from now on, which is a property of the file.
fn open(file: &str, timeout: Duration) -> ConnectionResult<SqliteConnection> {
    let started = Instant::now();
    let mut connection = SqliteConnection::establish(file)?;
    let text = format!("{} PRAGMA journal_mode = WAL;", busy_timeout(timeout));
    // SQLite does not wait for the lock that changing the mode takes, so that the second of two
    // processes that make a database together is refused at first.
    while let Err(error) = connection.batch_execute(&text) {
        if started.elapsed() >= timeout || !error.to_string().contains("locked") {
            return Err(ConnectionError::CouldntSetupConfiguration(error));
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
/// time, and answers their names. It blocks.
///
/// # Errors
/// [`MigrateError`].
pub fn migrate(url: &str) -> Result<Vec<String>, MigrateError> {
    locked(url, |connection| {
        refuse_newer(connection)?;
        let pending = pending(connection)?;
        connection
            .run_pending_migrations(MIGRATIONS)
            .map_err(MigrateError::Failed)?;
        // SQLite grants the lock for writing on what cannot be written, and only then refuses.
        connection
            .batch_execute("DELETE FROM __diesel_schema_migrations WHERE false")
            .map_err(|error| MigrateError::Failed(error.into()))?;
        Ok(pending)
    })
    .map_err(|error| read_only(url, error))
}

/// SQLite's own message does not say which database.
fn read_only(url: &str, error: MigrateError) -> MigrateError {
    let text = error.to_string();
    match file(url) {
        Ok(file) if text.contains("readonly database") => MigrateError::ReadOnly(file),
        _ => error,
    }
}

/// Takes back the newest migration, and its data with it; answers its name. It blocks.
///
/// # Errors
/// [`MigrateError`].
pub fn revert(url: &str) -> Result<String, MigrateError> {
    locked(url, |connection| {
        refuse_newer(connection)?;
        let version = connection
            .revert_last_migration(MIGRATIONS)
            .map_err(MigrateError::Failed)?;
        let reverted = known()?.into_iter().find(|m| m.name().version() == version);
        Ok(reverted.map_or_else(|| version.to_string(), |m| m.name().to_string()))
    })
}

/// Every migration of this version, oldest first, and whether the database has it. It blocks.
///
/// # Errors
/// [`MigrateError`].
pub fn migrations(url: &str) -> Result<Vec<MigrationStatus>, MigrateError> {
    // Nothing is written to a database that has been migrated: it may be read-only.
    let mut connection = open(&file(url)?, MIGRATION_TIMEOUT)?;
    let listed = connection.transaction(|connection| {
        refuse_newer(connection).map_err(Stopped::Because)?;
        let pending = pending(connection).map_err(Stopped::Because)?;
        let status = |name: String| MigrationStatus {
            applied: !pending.contains(&name),
            name,
        };
        let known = known().map_err(Stopped::Because)?;
        let names = known.into_iter().map(|m| m.name().to_string());
        Ok(names.map(status).collect())
    });
    listed.map_err(Stopped::reason)
}

/// The names of the migrations that the database does not have yet.
fn pending(connection: &mut SqliteConnection) -> Result<Vec<String>, MigrateError> {
    let pending = connection
        .pending_migrations(MIGRATIONS)
        .map_err(MigrateError::Failed)?;
    Ok(pending.iter().map(|m| m.name().to_string()).collect())
}

/// Why a transaction on the schema ended.
enum Stopped {
    Because(MigrateError),
    Query(diesel::result::Error),
}

impl Stopped {
    fn reason(self) -> MigrateError {
        match self {
            Self::Because(error) => error,
            Self::Query(error) => MigrateError::Failed(error.into()),
        }
    }
}

impl From<diesel::result::Error> for Stopped {
    fn from(error: diesel::result::Error) -> Self {
        Self::Query(error)
    }
}

fn locked<T>(
    url: &str,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, MigrateError>,
) -> Result<T, MigrateError> {
    let mut connection = open(&file(url)?, MIGRATION_TIMEOUT)?;
    connection
        .immediate_transaction(|connection| work(connection).map_err(Stopped::Because))
        .map_err(Stopped::reason)
}

fn refuse_newer(connection: &mut SqliteConnection) -> Result<(), MigrateError> {
    let applied = connection
        .applied_migrations()
        .map_err(MigrateError::Failed)?;
    let known: Vec<String> = known()?
        .iter()
        .map(|m| m.name().version().to_string())
        .collect();
    let unknown = applied
        .iter()
        .map(ToString::to_string)
        .find(|version| !known.contains(version));
    match unknown {
        Some(version) => Err(MigrateError::Newer(version)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_slash_is_relative_to_the_working_directory() {
        let here = std::env::current_dir().unwrap();
        let path = |url| PathBuf::from(file(url).unwrap());
        assert_eq!(path("sqlite://rerun.db"), here.join("rerun.db"));
        assert_eq!(path("sqlite://./data/a b.db"), here.join("data/a b.db"));
        assert_eq!(path("sqlite:///var/rerun.db"), Path::new("/var/rerun.db"));
        assert_eq!(
            path("sqlite://file:x?mode=memory"),
            here.join("file:x?mode=memory")
        );
    }
}
