//! Real PostgreSQL for tests and benchmarks, thrown away afterwards.
//!
//! [`TestDatabase`] is what most tests want: a migrated database of their own, in a few
//! milliseconds. [`PgCluster`] is a separate server, for tests that stop it.
//!
//! The server comes from the environment variable [`SERVER_VARIABLE`] when that is set, else from
//! the installed PostgreSQL binaries. Without either, a test fails with an error that says what to
//! install: a test that needs PostgreSQL never passes by skipping.
//!
//! ```no_run
//! use diesel::connection::SimpleConnection as _;
//! use diesel::{Connection as _, PgConnection};
//! use rerun_testkit::TestDatabase;
//!
//! let database = TestDatabase::create("notes_v1", |url| {
//!     PgConnection::establish(url)?.batch_execute("CREATE TABLE note (text text)")?;
//!     Ok(())
//! })?;
//! let mut connection = PgConnection::establish(database.url())?;
//! connection.batch_execute("INSERT INTO note VALUES ('gone after the test')")?;
//! # Ok::<_, rerun_testkit::BoxError>(())
//! ```
//!
//! Everything blocks and nothing needs an async runtime. It works on Unix systems, with PostgreSQL
//! 13 and newer.

mod binaries;
mod cluster;
mod database;
mod error;
mod url;
mod watchdog;

pub use cluster::{ClusterOptions, PgCluster, TlsFiles};
pub use database::{POOLER_VARIABLE, SERVER_VARIABLE, TestDatabase, template_name};
pub use error::{BoxError, HarnessError};

/// 32 hexadecimal digits that no other process makes: names on a shared server, and passwords.
#[expect(
    clippy::disallowed_methods,
    reason = "a name on a server that other processes share must be random"
)]
fn random_token() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
