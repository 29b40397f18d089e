//! The one place that knows which stores there are.

use std::sync::Arc;

use rerun_calendar::IanaCalendar;
use rerun_core::ports::{
    Backoff, Calendar, Clock, DeliveryGauge, EventCursors, EveryRole, HealthCheck, IdGenerator,
    IdempotencyStore, Permissions, PoolGauge, QueueGauge, ScheduleGauge, Store, TemplateChecker,
};
use rerun_core::usecases::{Engine, Settings, WebhookPorts};
use rerun_deliver::{DerivedSecrets, HttpSender, Targets};
use rerun_generate::{ExponentialBackoff, RandomPause, SystemClock, TemplateGenerator, UuidV7};
use rerun_metrics::{Metrics, PublishedIn};
pub use rerun_pg::MigrationStatus;
use rerun_pg::{OnEntry, PgStore};
use rerun_sqlite::SqliteStore;
use tokio::sync::Notify;

use crate::config::{Database, DatabaseUrl, Webhooks};

/// Why the store could not be opened, or its schema not be read or changed. The text holds no
/// password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(String);

/// What the process has besides its store.
#[derive(Clone)]
pub struct Services {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Arc<dyn IdGenerator>,
    /// The template language.
    pub templates: Arc<dyn TemplateChecker>,
    /// Waits between attempts.
    pub backoff: Arc<dyn Backoff>,
    /// Where webhooks may point, their secrets, and who sends.
    pub webhooks: WebhookPorts,
    /// Cron patterns and time zones.
    pub calendar: Arc<dyn Calendar>,
    /// What roles may do when a schedule fires.
    pub permissions: Arc<dyn Permissions>,
    /// Who hears of new events.
    pub news: News,
}

/// Wakes those who wait for events when this process has written one. What other processes write they find
/// by themselves.
#[derive(Clone, Default)]
pub struct News {
    /// The dispatcher of webhooks.
    pub dispatcher: Arc<Notify>,
    /// The publisher.
    pub publisher: Arc<Notify>,
}

impl News {
    /// What a store is to call after it has committed an event.
    fn told(&self) -> OnEntry {
        let Self {
            dispatcher,
            publisher,
        } = self.clone();
        OnEntry::new(move || {
            dispatcher.notify_one();
            publisher.notify_one();
        })
    }
}

impl Services {
    /// Those of the machine, with what webhooks need.
    ///
    /// # Errors
    /// [`rerun_deliver::SetupError`].
    pub fn with_webhooks(webhooks: &Webhooks) -> Result<Self, rerun_deliver::SetupError> {
        let mut services = Self::default();
        let targets = Targets::new(webhooks.rules.clone());
        let secrets = Arc::new(DerivedSecrets::new(webhooks.secret.clone()));
        let clock = Arc::clone(&services.clock);
        let sender = HttpSender::new(targets.clone(), secrets.clone(), clock, webhooks.timeout)?;
        services.webhooks = WebhookPorts {
            targets: Arc::new(targets),
            secrets,
            sender: Arc::new(sender),
        };
        Ok(services)
    }
}

impl Default for Services {
    /// Those of the machine.
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(UuidV7),
            templates: Arc::new(TemplateGenerator::default()),
            backoff: Arc::new(ExponentialBackoff),
            webhooks: WebhookPorts::default(),
            calendar: Arc::new(IanaCalendar),
            permissions: Arc::new(EveryRole),
            news: News::default(),
        }
    }
}

/// An open store, as what the rest of the process asks of it.
#[derive(Clone)]
pub struct StorePorts {
    /// The use cases over it.
    pub engine: Engine,
    /// Whether it can be reached.
    pub health: Arc<dyn HealthCheck>,
    /// Its kept responses.
    pub responses: Arc<dyn IdempotencyStore>,
    /// How much waits to be generated.
    pub queue: Arc<dyn QueueGauge>,
    /// How much waits to be delivered.
    pub deliveries: Arc<dyn DeliveryGauge>,
    /// Whether schedules are fired.
    pub schedules: Arc<dyn ScheduleGauge>,
    /// How far events are published.
    pub cursors: Arc<dyn EventCursors>,
    /// How its connections are used.
    pub pools: Arc<dyn PoolGauge>,
    /// Whether it writes one thing at a time.
    pub one_writer: bool,
}

impl StorePorts {
    fn over<S: Store + PoolGauge + 'static>(
        store: S,
        services: &Services,
        settings: Settings,
        one_writer: bool,
    ) -> Self {
        let store = Arc::new(store);
        let Services {
            clock,
            ids,
            templates,
            backoff,
            webhooks,
            calendar,
            permissions,
            news: _,
        } = services;
        Self {
            engine: Engine::builder_over(store.clone())
                .clock(clock.clone())
                .ids(ids.clone())
                .templates(templates.clone())
                .backoff(backoff.clone())
                .calendar(calendar.clone())
                .permissions(permissions.clone())
                .pause(RandomPause)
                .webhooks(webhooks.clone())
                .settings(settings)
                .build(),
            health: store.clone(),
            responses: store.clone(),
            queue: store.clone(),
            deliveries: store.clone(),
            schedules: store.clone(),
            cursors: store.clone(),
            pools: store,
            one_writer,
        }
    }

    /// Has the metrics tell what waits in the store, for this stream too, and how its connections are
    /// used.
    pub fn watched_by(&self, metrics: &Metrics, clock: &Arc<dyn Clock>, stream: Option<&str>) {
        let (pools, queue) = (Arc::clone(&self.pools), Arc::clone(&self.queue));
        let deliveries = Arc::clone(&self.deliveries);
        let schedules = Arc::clone(&self.schedules);
        let published = stream.map(|stream| PublishedIn {
            stream: stream.to_owned(),
            cursors: Arc::clone(&self.cursors),
        });
        metrics.watch(
            pools,
            queue,
            deliveries,
            schedules,
            published,
            Arc::clone(clock),
        );
    }

    /// Connects to the database that the URL names. It blocks until that has succeeded.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        database: &Database,
        services: &Services,
        settings: Settings,
    ) -> Result<Self, OpenError> {
        match &database.url {
            DatabaseUrl::Postgres(url) => {
                let options = rerun_pg::Options {
                    pool_size: database.pool_size,
                    acquire_timeout: database.acquire_timeout,
                    statement_timeout: database.statement_timeout,
                    on_entry: services.news.told(),
                    pooler: database.pooler,
                };
                let store = PgStore::connect(url, &options).map_err(|e| failed(&e))?;
                Ok(Self::over(store, services, settings, false))
            }
            DatabaseUrl::Sqlite(url) => {
                let options = rerun_sqlite::Options {
                    pool_size: database.pool_size,
                    acquire_timeout: database.acquire_timeout,
                    statement_timeout: database.statement_timeout,
                    on_entry: services.news.told(),
                    pooler: database.pooler,
                };
                let store = SqliteStore::connect(url, &options).map_err(|e| failed(&e))?;
                Ok(Self::over(store, services, settings, true))
            }
        }
    }
}

/// Applies pending migrations, one process at a time; answers their names. It blocks.
///
/// # Errors
/// [`OpenError`].
pub fn migrate(url: &DatabaseUrl) -> Result<Vec<String>, OpenError> {
    match url {
        DatabaseUrl::Postgres(url) => rerun_pg::migrate(url).map_err(|e| failed(&e)),
        DatabaseUrl::Sqlite(url) => rerun_sqlite::migrate(url).map_err(|e| failed(&e)),
    }
}

/// Every migration that this version knows, oldest first. It blocks.
///
/// # Errors
/// [`OpenError`].
pub fn migrations(url: &DatabaseUrl) -> Result<Vec<MigrationStatus>, OpenError> {
    match url {
        DatabaseUrl::Postgres(url) => rerun_pg::migrations(url).map_err(|e| failed(&e)),
        DatabaseUrl::Sqlite(url) => rerun_sqlite::migrations(url).map_err(|e| failed(&e)),
    }
}

/// The text of an error, with its causes. The stores keep the password out of it.
fn failed(error: &dyn std::error::Error) -> OpenError {
    OpenError(rerun_core::error::chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_repeated_and_nothing_else_is_left_out() {
        // `x` is in every text that libpq says about a host or a path.
        for url in [
            "postgres://user:x@%2Fdoes%2Fnot%2Fexist:1/db",
            "postgres://user:secret@%2Fdoes%2Fnot%2Fexist:1/db",
            "postgres://user:secret@[::1/db",
            "postgres://user:sec@ret@host/db",
            "postgres://user:secret@%2Fdoes%2Fnot%2Fexist:1/db?sslmode=exotic",
        ] {
            let url = DatabaseUrl::Postgres(url.to_owned());
            for said in [migrate(&url).map(drop), migrations(&url).map(drop)] {
                let said = said.unwrap_err().to_string();
                assert!(!said.contains("secret") && !said.contains("ret@"), "{said}");
                assert!(!said.contains("***"), "{said}");
            }
        }
        let url = "postgres://user:x@%2Fdoes%2Fnot%2Fexist:1/db".to_owned();
        let said = migrations(&DatabaseUrl::Postgres(url))
            .unwrap_err()
            .to_string();
        assert!(said.contains("/does/not/exist"), "{said}");
    }
}
