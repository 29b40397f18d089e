//! The settings of the process, read once at its start.

mod layers;
mod nats;
mod openid;
mod table;
mod tokens;

use std::net::SocketAddr;
use std::time::Duration;

use rerun_core::generation::GenerationPolicy;
use rerun_core::page::CursorKey;
use rerun_core::usecases;
use secrecy::{ExposeSecret, SecretString};

pub use layers::{CONFIG_VARIABLE, ConfigError, Given, Layers};
pub use table::{
    ALL, Command, DatabaseUrl, Declared, GeneratorKind, JwtAlgorithm, LogFilter, LogFormat,
    Sensitivity,
};
pub use tokens::{Keys, Signing, Tokens};

use rerun_auth::{RoleRules, TrustedProxies};
use rerun_deliver::{NatsOptions, TargetRules};
use rerun_generate::OpenAiSettings;
use rerun_generate::Secrets;
use rerun_http::{Limits, RateLimit};
use rerun_pg::Pooler;

use crate::openid::OpenIdSettings;

/// The database and how it is used.
#[derive(Clone)]
pub struct Database {
    /// Where it is.
    pub url: DatabaseUrl,
    /// Connections of this process.
    pub pool_size: u32,
    /// The longest wait for one of them.
    pub acquire_timeout: Duration,
    /// How long PostgreSQL may work on one statement; `None` for as long as it takes.
    pub statement_timeout: Option<Duration>,
    /// What is between the process and the database.
    pub pooler: Pooler,
}

impl Database {
    /// With so many connections, and without a limit for statements.
    #[must_use]
    pub fn new(url: DatabaseUrl, pool_size: u32) -> Self {
        Self {
            url,
            pool_size,
            acquire_timeout: rerun_pg::Options::default().acquire_timeout,
            statement_timeout: None,
            pooler: Pooler::None,
        }
    }

    /// As [`Database::new`], behind the pooler that is set.
    pub(crate) fn of_command(layers: &Layers) -> Result<Self, ConfigError> {
        let mut database = Self::new(layers.value(&table::DATABASE_URL)?, 2);
        database.pooler = layers.value(&table::DATABASE_POOLER)?;
        Ok(database)
    }

    fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let acquire_timeout = layers.value(&table::DATABASE_ACQUIRE_TIMEOUT_SECONDS)?;
        let statement_timeout = layers.value(&table::STATEMENT_TIMEOUT_SECONDS)?;
        Ok(Self {
            url: layers.value(&table::DATABASE_URL)?,
            pool_size: layers.value(&table::DATABASE_POOL_SIZE)?,
            acquire_timeout: seconds(acquire_timeout),
            statement_timeout: Some(seconds(statement_timeout)),
            pooler: layers.value(&table::DATABASE_POOLER)?,
        })
    }
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Log {
    /// Which events; `None` when nobody said.
    pub filter: Option<LogFilter>,
    /// As what.
    pub format: LogFormat,
    /// What no line may show.
    pub secrets: Secrets,
}

impl Log {
    /// Reads it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            filter: layers.given(&table::LOG)?,
            format: layers.value(&table::LOG_FORMAT)?,
            secrets: layers.secrets(),
        })
    }

    /// The filter; `default`, which must be well-formed, when nobody gave one. At the level
    /// `info` the web framework, which tells how it starts and ends, is at `warn`, and the client of
    /// NATS, whose failures the publisher reports, at `off`, unless the filter has a rule of its own for
    /// them.
    #[must_use]
    pub fn filter_or(&self, default: &str) -> String {
        let filter = self.filter.as_ref().map_or(default, |filter| &filter.0);
        if LogFilter::is_info(filter) {
            // Of two rules for the same target the later one counts.
            format!("actix_server=warn,actix_http=warn,actix_web=warn,async_nats=off,{filter}")
        } else {
            filter.to_owned()
        }
    }

    /// The filter, with the default of most commands.
    #[must_use]
    pub fn filter(&self) -> String {
        self.filter_or(table::LOG.declared.default.unwrap_or("info"))
    }
}

/// Where traces go, and which.
#[derive(Debug, Clone)]
pub struct Otlp {
    /// Base URL of the collector.
    pub endpoint: reqwest::Url,
    /// What this process is called there.
    pub service_name: String,
    /// The share of traces to send, 0 to 1.
    pub sample_ratio: f64,
}

impl Otlp {
    /// Reads it; `None` when no traces are to be sent.
    ///
    /// # Errors
    /// [`ConfigError`]; also where this program was built without it.
    pub fn read(layers: &Layers) -> Result<Option<Self>, ConfigError> {
        let Some(endpoint) = layers.given(&table::OTLP_ENDPOINT)? else {
            return Ok(None);
        };
        if !cfg!(feature = "otlp") {
            return Err(ConfigError::new(
                "RERUN_OTLP_ENDPOINT is set, but this program was built without the feature `otlp`",
            ));
        }
        Ok(Some(Self {
            endpoint,
            service_name: layers.value(&table::OTLP_SERVICE_NAME)?,
            sample_ratio: layers.value(&table::OTLP_SAMPLE_RATIO)?,
        }))
    }
}

/// What makes messages, with what it needs.
#[derive(Debug, Clone)]
pub enum Generator {
    /// [`rerun_generate::TemplateGenerator`].
    Template,
    /// [`rerun_generate::OpenAiGenerator`].
    OpenAi(Box<OpenAiSettings>),
}

impl Generator {
    /// The settings without a default that the chosen generator needs.
    fn required(layers: &Layers) -> Result<&'static [&'static Declared], ConfigError> {
        Ok(match layers.value(&table::GENERATOR)? {
            GeneratorKind::Template => &[],
            GeneratorKind::OpenAi => &[
                &table::OPENAI_BASE_URL.declared,
                &table::OPENAI_MODEL.declared,
            ],
        })
    }

    fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(match layers.value(&table::GENERATOR)? {
            GeneratorKind::Template => Self::Template,
            GeneratorKind::OpenAi => Self::OpenAi(Box::new(OpenAiSettings {
                base_url: layers.value(&table::OPENAI_BASE_URL)?,
                api_key: layers.given(&table::OPENAI_API_KEY)?,
                model: layers.value(&table::OPENAI_MODEL)?,
                timeout: seconds(layers.value(&table::OPENAI_TIMEOUT_SECONDS)?),
                temperature: layers.given(&table::OPENAI_TEMPERATURE)?,
                max_tokens: layers.given(&table::OPENAI_MAX_TOKENS)?,
                headers: layers.given(&table::OPENAI_HEADERS)?.unwrap_or_default(),
            })),
        })
    }
}

/// How messages are made.
#[derive(Debug, Clone)]
pub struct Generating {
    /// By what.
    pub generator: Generator,
    /// Generator calls at once.
    pub workers: usize,
    /// Attempts and leases.
    pub policy: GenerationPolicy,
}

impl Generating {
    fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            generator: Generator::read(layers)?,
            workers: usize::try_from(layers.value(&table::WORKERS)?).unwrap_or(usize::MAX),
            policy: GenerationPolicy {
                max_attempts: layers.value(&table::GENERATION_MAX_ATTEMPTS)?,
                lease: seconds(layers.value(&table::GENERATION_LEASE_SECONDS)?),
                patience: seconds(layers.value(&table::GENERATION_PATIENCE_SECONDS)?),
            },
        })
    }
}

/// What a server does about schedules.
#[derive(Debug, Clone, Copy)]
pub struct Scheduling {
    /// Whether it fires them.
    pub fires: bool,
    /// The most that an account may have.
    pub most: u32,
}

/// How events are delivered to webhooks.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// What the secrets of webhooks are derived from. Without it nothing is delivered.
    pub secret: Option<SecretString>,
    /// Where webhooks may point.
    pub rules: TargetRules,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// Attempts at once.
    pub concurrency: usize,
}

impl Webhooks {
    fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let concurrency = layers.value(&table::WEBHOOK_CONCURRENCY)?;
        Ok(Self {
            secret: layers.given(&table::WEBHOOK_SECRET)?,
            rules: TargetRules {
                allow_http: layers.value(&table::WEBHOOK_ALLOW_HTTP)?,
                allow_networks: layers
                    .given(&table::WEBHOOK_ALLOW_NETS)?
                    .unwrap_or_default(),
            },
            timeout: seconds(layers.value(&table::WEBHOOK_TIMEOUT_SECONDS)?),
            concurrency: usize::try_from(concurrency).unwrap_or(usize::MAX),
        })
    }

    /// Whether this process delivers anything.
    #[must_use]
    pub const fn delivers(&self) -> bool {
        self.secret.is_some() && self.concurrency > 0
    }
}

impl Default for Webhooks {
    /// Nothing is delivered.
    fn default() -> Self {
        Self {
            secret: None,
            rules: TargetRules::default(),
            timeout: Duration::from_secs(20),
            concurrency: 0,
        }
    }
}

/// How connections of clients are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// How many there may be at once.
    pub most: u32,
    /// How long the headers of a request may take to arrive.
    pub header_timeout: Duration,
    /// How long one is kept open between two requests.
    pub keep_alive: Duration,
    /// How long one may take no byte of its answer.
    pub write_timeout: Duration,
}

impl Connections {
    fn read(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            most: layers.value(&table::MAX_CONNECTIONS)?,
            header_timeout: seconds(layers.value(&table::HEADER_TIMEOUT_SECONDS)?),
            keep_alive: seconds(layers.value(&table::KEEP_ALIVE_SECONDS)?),
            write_timeout: seconds(layers.value(&table::WRITE_TIMEOUT_SECONDS)?),
        })
    }
}

impl Default for Connections {
    /// 10,000; 10 s, 75 s and 20 s.
    fn default() -> Self {
        Self {
            most: 10_000,
            header_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            write_timeout: Duration::from_secs(20),
        }
    }
}

/// What `serve` needs.
#[derive(Clone)]
pub struct Serve {
    /// Address and port to listen on.
    pub bind: SocketAddr,
    /// The database.
    pub database: Database,
    /// Whether to apply pending migrations.
    pub auto_migrate: bool,
    /// Which tokens to trust.
    pub tokens: Tokens,
    /// Code that callers show.
    pub api_code: SecretString,
    /// Another code that they may show.
    pub api_code_previous: Option<SecretString>,
    /// Which roles may do what.
    pub roles: RoleRules,
    /// What it does about schedules.
    pub scheduling: Scheduling,
    /// Whether to serve the console.
    pub console: bool,
    /// The proxies that the console believes.
    pub trusted_proxies: TrustedProxies,
    /// Where people may sign in to the console.
    pub openid: Option<OpenIdSettings>,
    /// Bounds of requests.
    pub limits: Limits,
    /// Bytes of all bodies in flight.
    pub max_inflight_body_bytes: u64,
    /// Requests a second of each account.
    pub rate_limit: RateLimit,
    /// Connections of clients.
    pub connections: Connections,
    /// The most segments that a run may have.
    pub max_segments: u32,
    /// The most webhooks that an account may have.
    pub webhooks_per_account: u32,
    /// Whether the user who edited a message is kept from approving it.
    pub four_eyes: bool,
    /// The worker inside.
    pub generating: Generating,
    /// The dispatcher inside.
    pub webhooks: Webhooks,
    /// Where events are published, if anywhere.
    pub nats: Option<NatsOptions>,
    /// How long the server goes on, reported as not ready, after a shutdown was requested.
    pub drain: Duration,
    /// How long requests in flight may take at the end.
    pub grace: Duration,
}

impl Serve {
    /// Reads it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let tokens = Tokens::read(layers);
        let code: &[&Declared] = &[&table::API_CODE.declared];
        let required = layers.require(&[code, Generator::required(layers)?].concat());
        ConfigError::all(tokens.clone().err().into_iter().chain(required.err()))?;
        let max_body_bytes = layers.value(&table::MAX_BODY_BYTES)?;
        let max_inflight_body_bytes = layers.value(&table::MAX_INFLIGHT_BODY_BYTES)?;
        // A body that is alone can have half of the room.
        if max_inflight_body_bytes / 2 < max_body_bytes {
            return Err(ConfigError::new(format!(
                "RERUN_MAX_INFLIGHT_BODY_BYTES is {max_inflight_body_bytes}; it must be at least \
                 twice RERUN_MAX_BODY_BYTES, which is {max_body_bytes}"
            )));
        }
        Ok(Self {
            bind: layers.value(&table::BIND)?,
            database: Database::read(layers)?,
            auto_migrate: layers.value(&table::AUTO_MIGRATE)?,
            tokens: tokens?,
            api_code: layers.value(&table::API_CODE)?,
            api_code_previous: layers.given(&table::API_CODE_PREVIOUS)?,
            roles: roles(layers)?,
            scheduling: Scheduling {
                fires: layers.value(&table::SCHEDULER)?,
                most: layers.value(&table::SCHEDULES_PER_ACCOUNT)?,
            },
            console: layers.value(&table::CONSOLE)?,
            trusted_proxies: layers.given(&table::TRUSTED_PROXIES)?.unwrap_or_default(),
            openid: openid::read(layers)?,
            limits: Limits {
                max_body_bytes,
                max_import_bytes: layers.value(&table::MAX_IMPORT_BYTES)?,
                request_timeout: seconds(layers.value(&table::REQUEST_TIMEOUT_SECONDS)?),
                import_timeout: seconds(layers.value(&table::IMPORT_TIMEOUT_SECONDS)?),
                body_timeout: seconds(layers.value(&table::BODY_TIMEOUT_SECONDS)?),
            },
            max_inflight_body_bytes,
            rate_limit: layers
                .given(&table::RATE_LIMIT_PER_SECOND)?
                .map_or(RateLimit::OFF, RateLimit::per_second),
            connections: Connections::read(layers)?,
            max_segments: layers.value(&table::MAX_SEGMENTS)?,
            webhooks_per_account: layers.value(&table::WEBHOOKS_PER_ACCOUNT)?,
            four_eyes: layers.value(&table::REVIEW_FOUR_EYES)?,
            generating: Generating::read(layers)?,
            webhooks: Webhooks::read(layers)?,
            nats: nats::read(layers)?,
            drain: seconds(layers.value(&table::SHUTDOWN_DRAIN_SECONDS)?),
            grace: seconds(layers.value(&table::SHUTDOWN_GRACE_SECONDS)?),
        })
    }

    /// The limits and rules of the use cases.
    #[must_use]
    pub fn engine(&self) -> usecases::Settings {
        usecases::Settings {
            max_segments: self.max_segments,
            webhooks: self.webhooks_per_account,
            four_eyes: self.four_eyes,
            generation: self.generating.policy,
            // What all servers of one installation share.
            cursors: CursorKey::derived(self.api_code.expose_secret().as_bytes()),
            schedules_per_account: self.scheduling.most,
        }
    }
}

/// What `worker` needs.
#[derive(Clone)]
pub struct Worker {
    /// The database.
    pub database: Database,
    /// How messages are made.
    pub generating: Generating,
    /// How long results may take to be stored at the end.
    pub grace: Duration,
    /// Where it tells its health and metrics, if anywhere.
    pub bind: Option<SocketAddr>,
}

impl Worker {
    /// Reads it.
    ///
    /// # Errors
    /// [`ConfigError`]; also for a worker that would make nothing.
    pub fn read(layers: &Layers) -> Result<Self, ConfigError> {
        layers.require(Generator::required(layers)?)?;
        let generating = Generating::read(layers)?;
        if generating.workers == 0 {
            return Err(ConfigError::new(
                "RERUN_WORKERS is 0, with which `worker` would do nothing: it must be at least 1",
            ));
        }
        Ok(Self {
            database: Database::read(layers)?,
            generating,
            grace: seconds(layers.value(&table::SHUTDOWN_GRACE_SECONDS)?),
            bind: layers.given(&table::BIND)?,
        })
    }
}

/// What `dispatch` needs.
#[derive(Clone)]
pub struct Dispatch {
    /// The database.
    pub database: Database,
    /// How events are delivered.
    pub webhooks: Webhooks,
    /// Where events are published, if anywhere.
    pub nats: Option<NatsOptions>,
    /// How long deliveries may take to end.
    pub grace: Duration,
    /// Where it tells its health and metrics, if anywhere.
    pub bind: Option<SocketAddr>,
}

impl Dispatch {
    /// Reads it.
    ///
    /// # Errors
    /// [`ConfigError`]; also for a dispatcher that would deliver nothing.
    pub fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let (webhooks, nats) = (Webhooks::read(layers)?, nats::read(layers)?);
        if nats.is_none() && !webhooks.delivers() {
            return Err(ConfigError::new(
                "`dispatch` would do nothing: it needs RERUN_WEBHOOK_SECRET, with a \
                 RERUN_WEBHOOK_CONCURRENCY of at least 1, or RERUN_NATS_URL",
            ));
        }
        Ok(Self {
            database: Database::read(layers)?,
            webhooks,
            nats,
            grace: seconds(layers.value(&table::SHUTDOWN_GRACE_SECONDS)?),
            bind: layers.given(&table::BIND)?,
        })
    }
}

/// What `migrate` needs, and other commands that come and go.
///
/// # Errors
/// [`ConfigError`].
pub fn database_url(layers: &Layers) -> Result<DatabaseUrl, ConfigError> {
    layers.value(&table::DATABASE_URL)
}

/// Which roles may do what, for what starts a rerun beside the server.
///
/// # Errors
/// [`ConfigError`].
pub fn roles(layers: &Layers) -> Result<RoleRules, ConfigError> {
    Ok(layers.given(&table::ROLES)?.unwrap_or_default())
}

/// Where the server listens, for who asks it.
///
/// # Errors
/// [`ConfigError`].
pub fn server_address(layers: &Layers) -> Result<SocketAddr, ConfigError> {
    layers.value(&table::BIND)
}

/// The most segments that a run may have, for what brings in a run.
///
/// # Errors
/// [`ConfigError`].
pub fn max_segments(layers: &Layers) -> Result<u32, ConfigError> {
    layers.value(&table::MAX_SEGMENTS)
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn layers(command: Command, environment: &[(&str, &str)]) -> Layers {
        let environment = environment
            .iter()
            .map(|(n, t)| ((*n).into(), (*t).into()))
            .collect();
        Layers::read(
            command,
            Given {
                environment,
                ..Given::default()
            },
        )
        .unwrap()
    }

    #[test]
    fn dispatch_needs_something_to_do() {
        let secret = "x".repeat(32);
        let secret = ("RERUN_WEBHOOK_SECRET", secret.as_str());
        let read = |environment: &[_]| Dispatch::read(&layers(Command::Dispatch, environment));
        let refused = |environment: &[_]| read(environment).map(drop).unwrap_err().to_string();
        for idle in [&[][..], &[secret, ("RERUN_WEBHOOK_CONCURRENCY", "0")]] {
            let idle = refused(idle);
            for name in ["RERUN_WEBHOOK_SECRET", "at least 1", "RERUN_NATS_URL"] {
                assert!(idle.contains(name), "{idle}");
            }
        }
        let publishes = read(&[("RERUN_NATS_URL", "nats://localhost")]).unwrap();
        assert!(publishes.nats.is_some() && !publishes.webhooks.delivers());
        let dispatch = read(&[
            secret,
            ("RERUN_WEBHOOK_ALLOW_HTTP", "true"),
            ("RERUN_WEBHOOK_ALLOW_NETS", "127.0.0.1"),
            ("RERUN_WEBHOOK_TIMEOUT_SECONDS", "7"),
        ]);
        let webhooks = dispatch.unwrap().webhooks;
        assert!(webhooks.delivers() && webhooks.rules.allow_http);
        assert_ne!(webhooks.rules, TargetRules::default());
        assert_eq!((webhooks.timeout.as_secs(), webhooks.concurrency), (7, 32));
        assert!(!format!("{webhooks:?}").contains("xxx"));
    }

    #[test]
    fn serve_delivers_with_a_secret_alone() {
        let secret = "x".repeat(32);
        let serve = |more: &[(&str, &str)]| {
            let needed = [
                ("RERUN_JWT_SECRET", secret.as_str()),
                ("RERUN_API_CODE", "code"),
            ];
            let all = [&needed, more].concat();
            Serve::read(&layers(Command::Serve, &all)).unwrap().webhooks
        };
        assert!(!serve(&[]).delivers());
        assert!(serve(&[("RERUN_WEBHOOK_SECRET", &secret)]).delivers());
        let none = ("RERUN_WEBHOOK_CONCURRENCY", "0");
        assert!(!serve(&[("RERUN_WEBHOOK_SECRET", &secret), none]).delivers());
    }

    #[test]
    fn serve_needs_its_secrets_and_nothing_else() {
        let said = Serve::read(&layers(Command::Serve, &[]))
            .map(drop)
            .unwrap_err()
            .to_string();
        assert!(said.contains("RERUN_JWT_SECRET is not set"), "{said}");
        assert!(said.contains("RERUN_API_CODE is not set"), "{said}");
        let secret = "x".repeat(32);
        let secrets = [
            ("RERUN_JWT_SECRET", secret.as_str()),
            ("RERUN_API_CODE", "code"),
        ];
        let serve = Serve::read(&layers(Command::Serve, &secrets)).unwrap();
        let cursors = serve.engine().cursors;
        assert_eq!(cursors, CursorKey::derived(b"code"));
        assert_ne!(cursors, CursorKey::default());
        let default = usecases::Settings {
            cursors,
            ..usecases::Settings::default()
        };
        assert_eq!(serve.engine(), default);
        assert_eq!(serve.roles, RoleRules::default());
        assert!(serve.console);
        assert_eq!(serve.trusted_proxies, TrustedProxies::default());
        assert!(serve.api_code_previous.is_none());
        assert_eq!(serve.limits, Limits::default());
        assert_eq!(serve.connections, Connections::default());
        assert_eq!(format!("{:?}", serve.rate_limit), "RateLimit(None)");
        assert!(
            matches!(serve.database.url, DatabaseUrl::Sqlite(url) if url == "sqlite://rerun.db")
        );
    }

    #[test]
    fn the_room_for_bodies_fits_the_largest_body_twice() {
        let secret = "x".repeat(32);
        let read = |room| {
            let variables = [
                ("RERUN_JWT_SECRET", secret.as_str()),
                ("RERUN_API_CODE", "code"),
                ("RERUN_MAX_BODY_BYTES", "2000"),
                ("RERUN_MAX_INFLIGHT_BODY_BYTES", room),
            ];
            Serve::read(&layers(Command::Serve, &variables))
                .map(drop)
                .map_err(|e| e.to_string())
        };
        assert!(read("4000").is_ok());
        let said = read("3999").unwrap_err();
        assert!(
            said.contains("RERUN_MAX_INFLIGHT_BODY_BYTES is 3999"),
            "{said}"
        );
        assert!(
            said.contains("RERUN_MAX_BODY_BYTES, which is 2000"),
            "{said}"
        );
    }

    #[test]
    fn settings_reach_what_they_are_for() {
        let secret = "x".repeat(32);
        let layers = layers(
            Command::Serve,
            &[
                ("RERUN_JWT_SECRET", secret.as_str()),
                ("RERUN_API_CODE", "code"),
                ("RERUN_API_CODE_PREVIOUS", "the code before"),
                ("RERUN_ROLES", "initiate=ADMIN"),
                ("RERUN_CONSOLE", "false"),
                ("RERUN_TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
                ("RERUN_JWT_AUDIENCE", "audience"),
                ("RERUN_MAX_SEGMENTS", "7"),
                ("RERUN_WEBHOOKS_PER_ACCOUNT", "22"),
                ("RERUN_GENERATION_MAX_ATTEMPTS", "3"),
                ("RERUN_GENERATION_LEASE_SECONDS", "9"),
                ("RERUN_JWT_ISSUER", "issuer"),
                ("RERUN_JWT_LEEWAY_SECONDS", "5"),
                ("RERUN_WORKERS", "0"),
                ("RERUN_REVIEW_FOUR_EYES", "true"),
                ("RERUN_SHUTDOWN_GRACE_SECONDS", "1"),
                ("RERUN_SHUTDOWN_DRAIN_SECONDS", "2"),
                ("RERUN_DATABASE_ACQUIRE_TIMEOUT_SECONDS", "11"),
                ("RERUN_STATEMENT_TIMEOUT_SECONDS", "12"),
                ("RERUN_RATE_LIMIT_PER_SECOND", "13"),
                ("RERUN_REQUEST_TIMEOUT_SECONDS", "14"),
                ("RERUN_IMPORT_TIMEOUT_SECONDS", "15"),
                ("RERUN_BODY_TIMEOUT_SECONDS", "16"),
                ("RERUN_HEADER_TIMEOUT_SECONDS", "17"),
                ("RERUN_KEEP_ALIVE_SECONDS", "18"),
                ("RERUN_MAX_CONNECTIONS", "19"),
                ("RERUN_WRITE_TIMEOUT_SECONDS", "21"),
                ("RERUN_MAX_INFLIGHT_BODY_BYTES", "4194304"),
            ],
        );
        let serve = Serve::read(&layers).unwrap();
        let engine = serve.engine();
        assert_eq!(engine.max_segments, 7);
        assert_eq!(engine.webhooks, 22);
        assert!(engine.four_eyes);
        assert_eq!(engine.generation.max_attempts, 3);
        assert_eq!(engine.generation.lease, Duration::from_secs(9));
        assert_eq!(serve.tokens.rules.issuer.as_deref(), Some("issuer"));
        assert_eq!(serve.tokens.rules.audience.as_deref(), Some("audience"));
        assert_eq!(serve.roles, RoleRules::parse("initiate=ADMIN").unwrap());
        assert!(!serve.console);
        let proxies = TrustedProxies::parse("10.0.0.0/8,::1").unwrap();
        assert_eq!(serve.trusted_proxies, proxies);
        assert_eq!(
            serve.api_code_previous.unwrap().expose_secret(),
            "the code before"
        );
        assert_eq!(serve.tokens.rules.leeway, Duration::from_secs(5));
        assert_eq!(
            (serve.generating.workers, serve.grace),
            (0, Duration::from_secs(1))
        );
        assert_eq!(serve.drain, Duration::from_secs(2));
        assert_eq!(serve.max_inflight_body_bytes, 4_194_304);
        assert_eq!(serve.database.acquire_timeout, Duration::from_secs(11));
        let statements = serve.database.statement_timeout;
        assert_eq!(statements, Some(Duration::from_secs(12)));
        assert_eq!(format!("{:?}", serve.rate_limit), "RateLimit(Some(13))");
        assert_eq!(
            serve.limits,
            Limits {
                request_timeout: Duration::from_secs(14),
                import_timeout: Duration::from_secs(15),
                body_timeout: Duration::from_secs(16),
                ..Limits::default()
            }
        );
        assert_eq!(
            serve.connections,
            Connections {
                header_timeout: Duration::from_secs(17),
                keep_alive: Duration::from_secs(18),
                write_timeout: Duration::from_secs(21),
                most: 19,
            }
        );
    }

    #[test]
    fn a_language_model_needs_its_settings() {
        let wanted = [("RERUN_GENERATOR", "openai")];
        let missing = [
            "RERUN_OPENAI_BASE_URL is not set",
            "RERUN_OPENAI_MODEL is not set",
            "--openai-model",
            "required by the generator `openai`",
        ];
        let worker = Worker::read(&layers(Command::Worker, &wanted)).map(drop);
        let serve = Serve::read(&layers(Command::Serve, &wanted)).map(drop);
        for said in [worker.unwrap_err(), serve.clone().unwrap_err()] {
            let said = said.to_string();
            for part in missing {
                assert!(said.contains(part), "{said}");
            }
            assert!(!said.contains("API_KEY"), "{said}");
        }
        let said = serve.unwrap_err().to_string();
        assert!(
            said.contains("RERUN_API_CODE is not set"),
            "all at once: {said}"
        );
    }

    #[test]
    fn a_language_model_is_configured() {
        let mut environment = vec![
            ("RERUN_GENERATOR", "openai"),
            ("RERUN_OPENAI_BASE_URL", "https://host/v1"),
            ("RERUN_OPENAI_MODEL", "small"),
        ];
        let read = |environment: &[(&str, &str)]| {
            let worker = Worker::read(&layers(Command::Worker, environment)).unwrap();
            match worker.generating.generator {
                Generator::OpenAi(settings) => settings,
                Generator::Template => panic!("another generator"),
            }
        };
        let settings = read(&environment);
        assert_eq!(settings.base_url.as_str(), "https://host/v1");
        assert_eq!(settings.model, "small");
        assert_eq!(settings.timeout, Duration::from_mins(1));
        assert!(settings.api_key.is_none());
        assert_eq!((settings.temperature, settings.max_tokens), (None, None));
        environment.push(("RERUN_OPENAI_API_KEY", "sk-hunter2"));
        environment.push(("RERUN_OPENAI_TIMEOUT_SECONDS", "5"));
        environment.push(("RERUN_OPENAI_TEMPERATURE", "0.2"));
        environment.push(("RERUN_OPENAI_MAX_TOKENS", "900"));
        environment.push(("RERUN_OPENAI_HEADERS", "x-gateway-key: hunter2"));
        let settings = read(&environment);
        assert_eq!(settings.api_key.unwrap().expose_secret(), "sk-hunter2");
        assert_eq!(settings.timeout, Duration::from_secs(5));
        assert_eq!(settings.temperature, Some(0.2));
        assert_eq!(settings.max_tokens, Some(900));
        let shown = format!("{:?}", settings.headers);
        assert!(shown.contains("x-gateway-key") && !shown.contains("hunter2"));
    }

    #[test]
    #[cfg(feature = "otlp")]
    fn traces_are_sent_where_a_collector_is_named() {
        let mut environment = vec![("RERUN_OTLP_SERVICE_NAME", "campaigns")];
        let read = |environment: &[(&str, &str)]| {
            Otlp::read(&layers(Command::Worker, environment)).unwrap()
        };
        assert!(read(&environment).is_none());
        environment.push(("RERUN_OTLP_ENDPOINT", "http://localhost:4318"));
        let otlp = read(&environment).unwrap();
        assert_eq!(otlp.endpoint.as_str(), "http://localhost:4318/");
        assert_eq!(otlp.service_name, "campaigns");
        assert!((otlp.sample_ratio - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    #[cfg(not(feature = "otlp"))]
    fn traces_that_cannot_be_sent_are_refused() {
        let environment = [("RERUN_OTLP_ENDPOINT", "http://localhost:4318")];
        let said = Otlp::read(&layers(Command::Worker, &environment)).unwrap_err();
        assert!(said.to_string().contains("RERUN_OTLP_ENDPOINT"), "{said}");
    }

    #[test]
    fn a_worker_that_would_do_nothing_is_refused() {
        let layers = layers(Command::Worker, &[("RERUN_WORKERS", "0")]);
        let said = Worker::read(&layers).map(drop).unwrap_err().to_string();
        assert!(said.contains("at least 1"), "{said}");
    }

    #[test]
    fn the_log_filter_has_a_default_of_the_command() {
        let quiet = Log::read(&layers(Command::Demo, &[])).unwrap();
        let quieter = "actix_server=warn,actix_http=warn,actix_web=warn,async_nats=off,info";
        assert_eq!(quiet.filter(), quieter);
        assert_eq!(quiet.filter_or("warn"), "warn");
        let said = Log::read(&layers(Command::Demo, &[("RERUN_LOG", "debug")])).unwrap();
        assert_eq!(
            (said.filter(), said.filter_or("warn")),
            ("debug".into(), "debug".into())
        );
    }
}
