#![doc = include_str!("../README.md")]

mod audit;
mod campaigns;
mod connection;
mod generation;
mod groups;
mod history;
mod idempotency;
mod queue;
mod reruns;
mod reviews;
mod segments;
mod write;

use std::time::Duration;

use async_trait::async_trait;
use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::{Connection, PgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use rerun_core::error::StoreError;
use rerun_core::ports::HealthCheck;
use rerun_diesel::pool::Database;

pub use rerun_diesel::deadline::{Deadline, Passed};
pub use rerun_diesel::pool::{Options, PoolUsage, Waits};
pub use rerun_diesel::{MigrateError, MigrationStatus};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Names this project's lock on a database while its schema changes.
const MIGRATION_LOCK: i64 = 0x7265_7275_6e00;

/// The store.
#[derive(Clone)]
pub struct PgStore {
    db: Database<PgConnection>,
}

/// The database could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to PostgreSQL: {0}")]
pub struct ConnectError(#[from] r2d2::Error);

impl PgStore {
    /// Opens the database at a `postgres://` URL. It blocks until one connection is made.
    ///
    /// # Errors
    /// [`ConnectError`] when none could be made within the acquire timeout.
    pub fn connect(url: &str, options: &Options) -> Result<Self, ConnectError> {
        let setup = setup(options.statement_timeout);
        let url = connection::patient(url, options.acquire_timeout);
        let db = Database::open(&url, options, move |connection: &mut PgConnection| {
            connection.batch_execute(&setup)
        })?;
        Ok(Self { db })
    }

    /// How the connections are used, by what they are for.
    #[must_use]
    pub fn pools(&self) -> Vec<(&'static str, PoolUsage)> {
        vec![("all", self.db.usage())]
    }
}

/// What each connection starts with.
fn setup(statement_timeout: Option<Duration>) -> String {
    // Compiling a query costs more than any of these queries takes. And every list is in the order
    // of an index: a bitmap loses the order, so that all of a list is read and sorted for a page.
    let common = "SET jit = off; SET enable_bitmapscan = off; SET TIME ZONE 'UTC'";
    let Some(timeout) = statement_timeout else {
        return common.to_owned();
    };
    // Who waits for a lock does no work, and gives the connection back earlier than who works.
    // The third is for a process that stands still in the middle of a transaction: others wait
    // for its locks.
    let (statement, lock) = (timeout.as_millis(), (timeout / 2).as_millis());
    format!(
        "{common}; SET statement_timeout = {statement}; SET lock_timeout = {lock}; \
         SET idle_in_transaction_session_timeout = {statement}"
    )
}

#[async_trait]
impl HealthCheck for PgStore {
    async fn check(&self) -> Result<(), StoreError> {
        self.db
            .run(|conn| {
                diesel::sql_query("SELECT 1 FROM audit_heads LIMIT 1").execute(conn)?;
                Ok(())
            })
            .await
            .map_err(|error| match error {
                StoreError::Unavailable(cause) | StoreError::Backend(cause) => {
                    StoreError::Unavailable(cause)
                }
                other @ (StoreError::Conflict | StoreError::Corrupt(_)) => {
                    StoreError::Unavailable(other.into())
                }
            })
    }
}

fn known() -> Result<Vec<Box<dyn Migration<Pg>>>, MigrateError> {
    MIGRATIONS.migrations().map_err(MigrateError::Failed)
}

/// Applies the migrations that the database does not have yet, one process at a time, and
/// answers their names. It blocks.
///
/// # Errors
/// [`MigrateError`]; what was applied before a migration that failed stays applied.
pub fn migrate(url: &str) -> Result<Vec<String>, MigrateError> {
    let mut connection = PgConnection::establish(url)?;
    locked(&mut connection, |connection| {
        refuse_newer(connection)?;
        let pending = pending(connection)?;
        connection
            .run_pending_migrations(MIGRATIONS)
            .map_err(MigrateError::Failed)?;
        Ok(pending)
    })
}

/// Takes back the newest migration, and its data with it; answers its name. It blocks.
///
/// # Errors
/// [`MigrateError`].
pub fn revert(url: &str) -> Result<String, MigrateError> {
    let mut connection = PgConnection::establish(url)?;
    locked(&mut connection, |connection| {
        let version = connection
            .revert_last_migration(MIGRATIONS)
            .map_err(MigrateError::Failed)?;
        let known = known()?;
        let name = known
            .iter()
            .map(Migration::name)
            .find(|name| name.version().to_string() == version.to_string());
        Ok(name.map_or_else(|| version.to_string(), ToString::to_string))
    })
}

/// Every migration of this version, oldest first, and whether the database has it. It blocks.
///
/// # Errors
/// [`MigrateError`].
pub fn migrations(url: &str) -> Result<Vec<MigrationStatus>, MigrateError> {
    let mut connection = PgConnection::establish(url)?;
    // Looking makes diesel's table where it is not there yet, which two must not do at once.
    locked(&mut connection, |connection| {
        refuse_newer(connection)?;
        let pending = pending(connection)?;
        let status = |name: String| MigrationStatus {
            applied: !pending.contains(&name),
            name,
        };
        Ok(known()?
            .iter()
            .map(|m| status(m.name().to_string()))
            .collect())
    })
}

/// The names of the migrations that the database does not have yet.
fn pending(connection: &mut PgConnection) -> Result<Vec<String>, MigrateError> {
    let pending = connection
        .pending_migrations(MIGRATIONS)
        .map_err(MigrateError::Failed)?;
    Ok(pending.iter().map(|m| m.name().to_string()).collect())
}

fn locked<T>(
    connection: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> Result<T, MigrateError>,
) -> Result<T, MigrateError> {
    let call = |connection: &mut PgConnection, function: &str| {
        connection
            .batch_execute(&format!("SELECT {function}({MIGRATION_LOCK})"))
            .map_err(|error| MigrateError::Failed(error.into()))
    };
    call(connection, "pg_advisory_lock")?;
    let result = work(connection);
    call(connection, "pg_advisory_unlock")?;
    result
}

fn refuse_newer(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let applied = connection
        .applied_migrations()
        .map_err(MigrateError::Failed)?;
    let known: Vec<String> = known()?
        .iter()
        .map(|m| m.name().version().to_string())
        .collect();
    match applied
        .iter()
        .map(ToString::to_string)
        .find(|version| !known.contains(version))
    {
        Some(version) => Err(MigrateError::Newer(version)),
        None => Ok(()),
    }
}
