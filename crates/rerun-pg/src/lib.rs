#![doc = include_str!("../README.md")]

mod audit;
mod campaigns;
mod changed_groups;
mod connection;
mod cursors;
mod deliveries;
mod due;
mod generation;
mod groups;
mod history;
mod idempotency;
mod page;
mod patience;
mod places;
mod queue;
mod reach;
mod recipients;
mod reruns;
mod reviews;
mod schedules;
mod schema;
mod segments;
mod webhooks;
mod write;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use diesel::connection::{AnsiTransactionManager, CacheSize, SimpleConnection};
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::result::{ConnectionError, DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use due::Taken;
use patience::{GivenUp, Limit, watched};
use places::Places;
use rerun_core::error::StoreError;
use rerun_core::ports::{HealthCheck, PoolGauge, PoolUsage};
use rerun_diesel::lanes::Lanes;
use rerun_diesel::pool::{Begin, Database, Server};
use rerun_diesel::sql::sql;

pub use connection::BadUrl;
pub use patience::Patience;
pub use rerun_diesel::pool::{OnEntry, Options, Pooler};
pub use rerun_diesel::{MigrateError, MigrationStatus};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Names this project's lock on a database while its schema changes. (The versions before took
/// another, which a pooler may hold for ever: it belonged to a session.)
const MIGRATION_LOCK: i64 = 0x7265_7275_6e01;

/// How long a command waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The store.
#[derive(Clone)]
pub struct PgStore {
    db: Database<PgConnection>,
    health: Database<PgConnection>,
    lanes: Lanes,
    places: Arc<OnceLock<Places>>,
    /// Up to where the queues of generation were taken.
    taken: Taken,
    /// Where tables are distributed: until when a server is taken to be lost.
    lost_until: Arc<Mutex<Option<Instant>>>,
}

/// The database could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not one of a PostgreSQL database.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// No connection could be made within the acquire timeout.
    #[error("cannot connect to PostgreSQL: {0}")]
    Pool(#[from] r2d2::Error),
}

impl PgStore {
    /// Opens the database at a `postgres://` URL. It blocks until one connection is made.
    ///
    /// # Errors
    /// [`ConnectError`]. Its text does not contain the password.
    pub fn connect(url: &str, options: &Options) -> Result<Self, ConnectError> {
        let place = connection::place(url, options.acquire_timeout)?;
        let conninfo = place.conninfo;
        let places = Arc::<OnceLock<Places>>::default();
        let prepare = |settings: String, pooler: Pooler| {
            let places = Arc::clone(&places);
            move |connection: &mut PgConnection| {
                match pooler {
                    Pooler::None => connection.batch_execute(&settings)?,
                    // A statement that one session has prepared is not in another one.
                    Pooler::Transaction => {
                        connection.set_prepared_statement_cache_size(CacheSize::Disabled);
                    }
                }
                if places.get().is_none() {
                    let known = connection.transaction(Places::of)?;
                    places.get_or_init(|| known);
                }
                Ok(())
            }
        };
        let begin = |settings: String| -> Begin<PgConnection> {
            let text = format!("BEGIN; {settings}");
            Box::new(move |connection| {
                AnsiTransactionManager::begin_transaction_sql(connection, &text)
            })
        };
        let pooled = options.pooler == Pooler::Transaction;
        let settings = settings(options.statement_timeout, pooled);
        let setup = || prepare(settings.clone(), options.pooler);
        let begin = || pooled.then(|| begin(settings.clone()));
        let probe = if pooled { writable_now } else { writable };
        let server = place.has_standby.then_some::<Server<PgConnection>>(server);
        Ok(Self {
            db: Database::open_probed(&conninfo, options, setup(), probe, server, begin())?,
            health: Database::open_for_health(&conninfo, options, setup(), probe, server, begin())?,
            lanes: Lanes::new(options.pool_size),
            places,
            taken: Taken::default(),
            lost_until: Arc::default(),
        })
    }

    /// Each new connection finds it out, so that it is known once there is one.
    fn places(&self) -> Places {
        self.places.get().copied().unwrap_or_default()
    }
}

impl PoolGauge for PgStore {
    /// All connections, and those of them that import.
    fn pools(&self) -> Vec<(&'static str, PoolUsage)> {
        vec![("all", self.db.usage()), ("import", self.lanes.usage())]
    }
}

/// What each connection starts with, or each transaction when it has another session than the one before.
fn settings(statement_timeout: Option<Duration>, of_transaction: bool) -> String {
    let set = if of_transaction { "SET LOCAL" } else { "SET" };
    // Compiling a query costs more than any of these queries takes. And every list is in the order
    // of an index: a bitmap loses the order, so that all of a list is read and sorted for a page. A
    // plan that reads a whole table is made while the table is nearly empty, and kept when it has
    // grown. Imports and first counts, which need every row, allow it for themselves.
    // What a failure means is in part told by its text, see `rerun_diesel::error`; a role needs a
    // privilege to choose its language.
    let common = format!(
        "{set} jit = off; {set} enable_bitmapscan = off; {set} enable_seqscan = off; \
         {set} TIME ZONE 'UTC'; \
         DO $$ BEGIN PERFORM set_config('lc_messages', 'C', {of_transaction}); \
         EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"
    );
    let Some(timeout) = statement_timeout else {
        return common;
    };
    // Who waits for a lock does no work, and gives the connection back earlier than who works.
    // The third is for a process that stands still in the middle of a transaction: others wait
    // for its locks.
    let (statement, lock) = (timeout.as_millis(), (timeout / 2).as_millis());
    format!(
        "{common}; {set} statement_timeout = {statement}; {set} lock_timeout = {lock}; \
         {set} idle_in_transaction_session_timeout = {statement}"
    )
}

#[derive(QueryableByName)]
struct Flag {
    #[diesel(sql_type = Bool)]
    value: bool,
}

/// Fails on a connection that cannot write: the server is a standby, or the session was made
/// while the database was read-only. The table is there in every version of the schema, and where
/// tables are distributed it is not among them: the server goes on when one of their places is gone.
fn writable(connection: &mut PgConnection) -> diesel::QueryResult<()> {
    let read_only = diesel::sql_query(
        "SELECT current_setting('transaction_read_only')::boolean AS value \
         FROM (SELECT count(*) FROM (SELECT 1 FROM __diesel_schema_migrations LIMIT 1) AS one) AS schema",
    )
    .get_result::<Flag>(connection)?;
    if read_only.value {
        let what = "the database takes no writes: it is read-only, or a standby".to_owned();
        return Err(DieselError::DatabaseError(
            DatabaseErrorKind::ReadOnlyTransaction,
            Box::new(what),
        ));
    }
    Ok(())
}

/// The same in a transaction of its own: a pooler may give its two steps different sessions else.
fn writable_now(connection: &mut PgConnection) -> diesel::QueryResult<()> {
    connection.transaction(writable)
}

#[derive(QueryableByName)]
struct Started {
    #[diesel(sql_type = BigInt)]
    micros: i64,
}

/// Which server a connection is to: when it was started, in microseconds. In a transaction of its own, as
/// [`writable_now`].
fn server(connection: &mut PgConnection) -> diesel::QueryResult<i64> {
    let query =
        "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS micros";
    connection.transaction(|connection| {
        let started = diesel::sql_query(query).get_result::<Started>(connection)?;
        Ok(started.micros)
    })
}

#[async_trait]
impl HealthCheck for PgStore {
    async fn check(&self) -> Result<(), StoreError> {
        let newest = newest().map_err(|error| StoreError::Unavailable(error.into()))?;
        self.health
            .run(move |conn| {
                writable(conn)?;
                let applied = sql("SELECT count(*) AS value FROM __diesel_schema_migrations \
                                   WHERE version = ?")
                .bind::<Text, _>(newest)
                .get_result::<write::Value>(conn)?;
                if applied.value == 0 {
                    let older = "the schema is older than this version needs";
                    return Err(StoreError::Unavailable(older.into()).into());
                }
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

/// The version of the newest migration. A database that has it has those before, too: migrations
/// are applied in their order, all or none.
fn newest() -> Result<String, MigrateError> {
    let known = known()?;
    let versions = known.iter().map(|m| m.name().version().to_string());
    let none = || MigrateError::Failed("this version has no migrations".into());
    versions.max().ok_or_else(none)
}

/// Applies the migrations that the database does not have yet, all or none and one process at a
/// time, and answers their names. It blocks, with the default [`Patience`].
///
/// # Errors
/// [`MigrateError`].
pub fn migrate(url: &str) -> Result<Vec<String>, MigrateError> {
    migrate_within(url, Patience::default())
}

/// As [`migrate`], but waits as long as `patience` says.
///
/// # Errors
/// [`MigrateError`].
pub fn migrate_within(url: &str, patience: Patience) -> Result<Vec<String>, MigrateError> {
    // Most starts find nothing to do, and wait for nobody then.
    if migrations_within(url, patience)?
        .iter()
        .all(|it| it.applied)
    {
        return Ok(Vec::new());
    }
    locked(url, patience, |connection| {
        refuse_newer(&applied(connection)?)?;
        let applied = connection
            .run_pending_migrations(MIGRATIONS)
            .map_err(MigrateError::Failed)?;
        let known = known()?;
        let name_of = |version: &str| {
            let names = known.iter().map(Migration::name);
            let mut names = names.filter(|name| name.version().to_string() == version);
            names.next().map(ToString::to_string)
        };
        let versions = applied.iter().map(ToString::to_string);
        Ok(versions
            .map(|version| name_of(&version).unwrap_or(version))
            .collect())
    })
}

/// Takes back the newest migration, and its data with it; answers its name. It blocks.
///
/// # Errors
/// [`MigrateError`].
pub fn revert(url: &str) -> Result<String, MigrateError> {
    locked(url, Patience::default(), |connection| {
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

/// Every migration of this version, oldest first, and whether the database has it. It blocks, but
/// waits for nobody who changes the schema, and writes nothing.
///
/// # Errors
/// [`MigrateError`].
pub fn migrations(url: &str) -> Result<Vec<MigrationStatus>, MigrateError> {
    migrations_within(url, Patience::default())
}

/// As [`migrations`], but waits as long as `patience` says. The server limits each statement, and the
/// client limits all of them together.
///
/// # Errors
/// [`MigrateError`].
pub fn migrations_within(
    url: &str,
    patience: Patience,
) -> Result<Vec<MigrationStatus>, MigrateError> {
    let limit = Limit::Total(CONNECT_TIMEOUT + patience.answer);
    in_transaction(url, limit, |connection| {
        let limits = "SET TRANSACTION READ ONLY; SET LOCAL lock_timeout = '5s'; \
                      SET LOCAL statement_timeout = '20s'";
        connection.batch_execute(limits)?;
        let applied = applied(connection)?;
        refuse_newer(&applied)?;
        let status = |migration: Box<dyn Migration<Pg>>| MigrationStatus {
            applied: applied.contains(&migration.name().version().to_string()),
            name: migration.name().to_string(),
        };
        Ok(known()?.into_iter().map(status).collect())
    })
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// The versions that the database has. diesel's own function makes the table for them first.
fn applied(connection: &mut PgConnection) -> Result<Vec<String>, Stopped> {
    let there = "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS value".to_owned();
    if !diesel::sql_query(there)
        .get_result::<Flag>(connection)?
        .value
    {
        return Ok(Vec::new());
    }
    let rows = diesel::sql_query("SELECT version FROM __diesel_schema_migrations")
        .load::<Version>(connection)?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

/// Why a transaction on the schema ended.
enum Stopped {
    Because(MigrateError),
    Query(DieselError),
}

impl From<DieselError> for Stopped {
    fn from(error: DieselError) -> Self {
        Self::Query(error)
    }
}

impl From<MigrateError> for Stopped {
    fn from(error: MigrateError) -> Self {
        Self::Because(error)
    }
}

/// Runs a transaction on a connection of its own.
fn in_transaction<T: Send + 'static>(
    url: &str,
    limit: Limit,
    work: impl FnOnce(&mut PgConnection) -> Result<T, Stopped> + Send + 'static,
) -> Result<T, MigrateError> {
    let conninfo = connection::place(url, CONNECT_TIMEOUT)
        .map_err(|refused| ConnectionError::InvalidConnectionUrl(refused.to_string()))?
        .conninfo;
    let connect_to = conninfo.clone();
    watched(&conninfo, limit, move |given_up| {
        let mut connection = PgConnection::establish(&connect_to)?;
        transact(&mut connection, given_up, work)
    })
}

fn transact<T>(
    connection: &mut PgConnection,
    given_up: &GivenUp,
    work: impl FnOnce(&mut PgConnection) -> Result<T, Stopped>,
) -> Result<T, MigrateError> {
    // A pooler may give the next transaction another session, which does not have the statement,
    // or has another one of its name.
    connection.set_prepared_statement_cache_size(CacheSize::Disabled);
    let done = connection.transaction(|connection| {
        let done = work(connection)?;
        if given_up.is_set() {
            return Err(Stopped::Query(DieselError::RollbackTransaction));
        }
        Ok(done)
    });
    done.map_err(|stopped| match stopped {
        Stopped::Because(error) => error,
        Stopped::Query(error) => MigrateError::Failed(error.into()),
    })
}

/// Runs a transaction while no other process changes the schema. The lock is the transaction's: a
/// session's would stay with the pooler's connection, which is another's when it is given back.
fn locked<T: Send + 'static>(
    url: &str,
    patience: Patience,
    work: impl FnOnce(&mut PgConnection) -> Result<T, Stopped> + Send + 'static,
) -> Result<T, MigrateError> {
    in_transaction(url, Limit::Silence(patience.answer), move |connection| {
        // Others wait for what a process holds that stands still: the server ends its session.
        let limits = format!(
            "SET LOCAL lock_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}",
            patience.lock.as_millis(),
            patience.answer.as_millis()
        );
        connection.batch_execute(&limits)?;
        let asked = Instant::now();
        let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
        connection.batch_execute(&lock).map_err(|error| {
            if asked.elapsed() < patience.lock {
                Stopped::Query(error)
            } else {
                Stopped::Because(MigrateError::Locked(patience.lock))
            }
        })?;
        // A table with checks that wait for the commit cannot be altered: migrations are in one
        // transaction, each after what the others did.
        connection.batch_execute("SET CONSTRAINTS ALL IMMEDIATE")?;
        work(connection)
    })
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
