//! The one place that knows which stores there are.

use std::sync::Arc;

use rerun_core::ports::{
    Backoff, Clock, HealthCheck, IdGenerator, IdempotencyStore, QueueGauge, Store, TemplateChecker,
};
use rerun_core::usecases::{Engine, Settings};
use rerun_pg::PgStore;
pub use rerun_pg::{Deadline, Passed};
use rerun_sqlite::SqliteStore;

use crate::config::{Database, DatabaseUrl};
use crate::generator::TemplateGenerator;
use crate::system::{ExponentialBackoff, SystemClock, UuidV7};

pub use rerun_pg::{PoolUsage, Waits};

/// Why the store could not be opened, or its schema not be read or changed. The text holds no
/// password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(String);

/// What the process has besides its store.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Arc<dyn IdGenerator>,
    /// The template language.
    pub templates: Arc<dyn TemplateChecker>,
    /// Waits between attempts.
    pub backoff: Arc<dyn Backoff>,
}

impl Default for Surroundings {
    /// Those of the machine.
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(UuidV7),
            templates: Arc::new(TemplateGenerator::default()),
            backoff: Arc::new(ExponentialBackoff),
        }
    }
}

/// A store that tells how its connections are used.
pub trait Pools: Send + Sync {
    /// The usage of each of its pools, by what they are for.
    fn pools(&self) -> Vec<(&'static str, PoolUsage)>;
}

impl Pools for PgStore {
    fn pools(&self) -> Vec<(&'static str, PoolUsage)> {
        Self::pools(self)
    }
}

impl Pools for SqliteStore {
    fn pools(&self) -> Vec<(&'static str, PoolUsage)> {
        Self::pools(self)
    }
}

/// An open store, as what the rest of the process asks of it.
#[derive(Clone)]
pub struct OpenStore {
    /// The use cases over it.
    pub engine: Engine,
    /// Whether it can be reached.
    pub health: Arc<dyn HealthCheck>,
    /// Its kept responses.
    pub responses: Arc<dyn IdempotencyStore>,
    /// How much waits to be generated.
    pub queue: Arc<dyn QueueGauge>,
    /// How its connections are used.
    pub pools: Arc<dyn Pools>,
}

impl OpenStore {
    fn over<S: Store + Pools + 'static>(
        store: S,
        around: &Surroundings,
        settings: Settings,
    ) -> Self {
        let store = Arc::new(store);
        let Surroundings {
            clock,
            ids,
            templates,
            backoff,
        } = around;
        Self {
            engine: Engine::new(&store, clock, ids, templates, backoff, settings),
            health: store.clone(),
            responses: store.clone(),
            queue: store.clone(),
            pools: store,
        }
    }

    /// Connects to the database that the URL names. It blocks until that has succeeded.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        database: &Database,
        around: &Surroundings,
        settings: Settings,
    ) -> Result<Self, OpenError> {
        match &database.url {
            DatabaseUrl::Postgres(url) => {
                let options = rerun_pg::Options {
                    pool_size: database.pool_size,
                    acquire_timeout: database.acquire_timeout,
                    statement_timeout: database.statement_timeout,
                };
                let store = PgStore::connect(url, &options).map_err(|e| failed(&e, url))?;
                Ok(Self::over(store, around, settings))
            }
            DatabaseUrl::Sqlite(url) => {
                let options = rerun_sqlite::Options {
                    pool_size: database.pool_size,
                    acquire_timeout: database.acquire_timeout,
                    statement_timeout: database.statement_timeout,
                };
                let store = SqliteStore::connect(url, &options).map_err(|e| failed(&e, url))?;
                Ok(Self::over(store, around, settings))
            }
        }
    }
}

/// A schema migration and whether the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its version and what it does.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

/// Applies pending migrations, one process at a time; answers their names. It blocks.
///
/// # Errors
/// [`OpenError`].
pub fn migrate(url: &DatabaseUrl) -> Result<Vec<String>, OpenError> {
    match url {
        DatabaseUrl::Postgres(url) => rerun_pg::migrate(url).map_err(|e| failed(&e, url)),
        DatabaseUrl::Sqlite(url) => rerun_sqlite::migrate(url).map_err(|e| failed(&e, url)),
    }
}

/// Every migration that this version knows, oldest first. It blocks.
///
/// # Errors
/// [`OpenError`].
pub fn migrations(url: &DatabaseUrl) -> Result<Vec<Migration>, OpenError> {
    match url {
        DatabaseUrl::Postgres(url) => {
            let known = rerun_pg::migrations(url).map_err(|e| failed(&e, url))?;
            Ok(known
                .into_iter()
                .map(|m| Migration {
                    name: m.name,
                    applied: m.applied,
                })
                .collect())
        }
        DatabaseUrl::Sqlite(url) => {
            let known = rerun_sqlite::migrations(url).map_err(|e| failed(&e, url))?;
            Ok(known
                .into_iter()
                .map(|m| Migration {
                    name: m.name,
                    applied: m.applied,
                })
                .collect())
        }
    }
}

/// A database's own message may repeat the URL that it was given, and the password in it.
fn failed(error: &dyn std::error::Error, url: &str) -> OpenError {
    let password = url
        .split_once("://")
        .and_then(|(_, rest)| rest.rsplit_once('@'))
        .and_then(|(user, _)| user.split_once(':'))
        .map(|(_, password)| password)
        .filter(|password| !password.is_empty());
    let mut text = crate::worker::error_chain(error);
    if let Some(password) = password {
        text = text.replace(password, "***");
    }
    OpenError(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_repeated() {
        let said = |url: &str, text: &str| failed(&std::io::Error::other(text), url).to_string();
        let url = "postgres://user:p@ss:word@host/db";
        assert_eq!(
            said(url, &format!("no way to {url}")),
            "no way to postgres://user:***@host/db"
        );
        assert_eq!(said("postgres://user@host/db", "no route"), "no route");
        assert_eq!(said("sqlite://a:b", "is a directory"), "is a directory");
    }
}
