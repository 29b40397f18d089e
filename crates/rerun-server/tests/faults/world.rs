//! What processes share: a database and a language model.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use diesel::{Connection, PgConnection, RunQueryDsl, SqliteConnection};
use rerun_contract::Fixture;
use rerun_contract::fixture::ACCOUNT;
use rerun_core::ids::AccountId;
use rerun_core::ports;
use rerun_pg::PgStore;
use rerun_sqlite::SqliteStore;
use rerun_testkit::TestDatabase;
use tempfile::TempDir;

use crate::process::{Process, rerun};
use crate::stub::Stub;

pub(crate) const API_CODE: &str = "an API code";
const SECRET: &str = "a secret of more than thirty-two bytes";

/// Generator calls that a process makes at once.
pub(crate) const CONCURRENCY: usize = 8;

/// Where the rows are.
pub(crate) enum Store {
    /// A file in the world's folder.
    Sqlite,
    /// A database of this test.
    Postgres(TestDatabase),
    /// A database of a server that the test itself starts and stops.
    Elsewhere(String),
}

impl Store {
    /// An empty database: the server of the test brings the schema.
    pub(crate) fn postgres() -> Self {
        Self::Postgres(TestDatabase::create("empty", |_| Ok(())).unwrap())
    }
}

pub(crate) struct World {
    pub(crate) stub: Stub,
    store: Store,
    lease_seconds: u32,
    settings: Vec<(&'static str, &'static str)>,
    folder: TempDir,
}

/// A server that listens.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: String,
}

impl Server {
    /// Waits until it listens.
    pub(crate) async fn of(mut process: Process) -> Self {
        process.says(LISTENING).await;
        let address = address(&process).unwrap();
        Self { process, address }
    }
}

const LISTENING: &str = "listening on http://";

/// Where a server listens, if it does by now.
pub(crate) fn address(server: &Process) -> Option<String> {
    let said = server.said(LISTENING)?;
    Some(said.split(' ').next()?.to_owned())
}

impl World {
    pub(crate) fn new(store: Store, latency: Duration, lease_seconds: u32) -> Self {
        Self {
            stub: Stub::start(latency),
            store,
            lease_seconds,
            settings: vec![("RERUN_SHUTDOWN_DRAIN_SECONDS", "0")],
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A world without generation whose servers have these settings.
    pub(crate) fn with(store: Store, settings: &[(&'static str, &'static str)]) -> Self {
        let mut world = Self::new(store, Duration::ZERO, 60);
        world.settings.extend(settings);
        world
    }

    /// The file of [`Store::Sqlite`].
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("rerun.db")
    }

    pub(crate) fn url(&self) -> String {
        match &self.store {
            Store::Sqlite => format!("sqlite://{}", self.file().display()),
            Store::Postgres(database) => database.url().to_owned(),
            Store::Elsewhere(url) => url.clone(),
        }
    }

    fn command(&self, name: &str, arguments: &[&str], workers: usize) -> Command {
        let mut command = rerun(self.folder.path(), arguments);
        command
            .env("RERUN_DATABASE_URL", self.url())
            .env("RERUN_WORKERS", workers.to_string())
            .env("RERUN_GENERATOR", "openai")
            .env("RERUN_OPENAI_BASE_URL", self.stub.base_url(name))
            .env("RERUN_OPENAI_MODEL", "stub")
            .env(
                "RERUN_GENERATION_LEASE_SECONDS",
                self.lease_seconds.to_string(),
            );
        command
    }

    /// What starts a server.
    pub(crate) fn server_command(&self, workers: usize) -> Command {
        let mut command = self.command("server", &["serve", "--bind", "127.0.0.1:0"], workers);
        command
            .env("RERUN_JWT_SECRET", SECRET)
            .env("RERUN_API_CODE", API_CODE)
            // Tests wait for what the web framework says of its end.
            .env("RERUN_LOG", "info,actix_server=info")
            .envs(self.settings.iter().copied());
        command
    }

    /// A server on its way.
    pub(crate) fn start_server(&self, workers: usize) -> Process {
        Process::start("server", self.server_command(workers))
    }

    pub(crate) async fn serve(&self, workers: usize) -> Server {
        Server::of(self.start_server(workers)).await
    }

    /// A worker on its way.
    pub(crate) fn start_worker(&self, name: &str) -> Process {
        Process::start(name, self.command(name, &["worker"], CONCURRENCY))
    }

    pub(crate) async fn worker(&self, name: &str) -> Process {
        let mut process = self.start_worker(name);
        process.says("generating").await;
        process
    }

    /// A token of any account.
    pub(crate) fn token_of(&self, account: &str) -> String {
        let mut command = rerun(self.folder.path(), &["token", "--account", account]);
        let output = command.env("RERUN_JWT_SECRET", SECRET).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs a statement beside the processes; returns how many rows it wrote.
    pub(crate) fn execute(&self, statement: &str) -> usize {
        match &self.store {
            Store::Sqlite => {
                let file = self.file().display().to_string();
                let mut connection = SqliteConnection::establish(&file).unwrap();
                diesel::sql_query("PRAGMA busy_timeout = 5000")
                    .execute(&mut connection)
                    .unwrap();
                diesel::sql_query(statement)
                    .execute(&mut connection)
                    .unwrap()
            }
            Store::Postgres(_) | Store::Elsewhere(_) => {
                let mut connection = PgConnection::establish(&self.url()).unwrap();
                diesel::sql_query(statement)
                    .execute(&mut connection)
                    .unwrap()
            }
        }
    }

    /// Panics when an invariant does not hold in the database or the audit log is not whole.
    pub(crate) async fn check(&self) {
        self.check_accounts(&[ACCOUNT]).await;
    }

    /// The same of these accounts.
    pub(crate) async fn check_accounts(&self, accounts: &[AccountId]) {
        let url = self.url();
        match &self.store {
            Store::Sqlite => {
                let options = rerun_sqlite::Options::default();
                check(SqliteStore::connect(&url, &options).unwrap(), accounts).await;
            }
            Store::Postgres(_) | Store::Elsewhere(_) => {
                let options = rerun_pg::Options::default();
                check(PgStore::connect(&url, &options).unwrap(), accounts).await;
            }
        }
    }
}

async fn check(store: impl ports::Store + 'static, accounts: &[AccountId]) {
    let fixture = Fixture::new(store);
    fixture.check().await;
    for account in accounts {
        fixture.check_account(*account).await;
        let entries = fixture.engine.audit.verify(*account).await;
        assert!(entries.unwrap().unwrap() > 0, "the audit log is empty");
    }
}
