//! Every setting there is, each declared once.

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;

use crate::openid::Issuer;
use rerun_auth::{Asymmetric, RoleRules, StaticKey, TrustedProxies};
use rerun_deliver::{AllowedNetworks, DerivedSecrets, NatsServers, stream_name, subject_prefix};
use rerun_generate::ExtraHeaders;
use rerun_pg::Pooler;

/// A command that takes settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// The server.
    Serve,
    /// The generation worker alone.
    Worker,
    /// The dispatcher of events alone.
    Dispatch,
    /// The story on a throw-away database.
    Demo,
    /// Schema changes.
    Migrate,
    /// A token for development.
    Token,
    /// A link that signs in to the console.
    Console,
    /// The check of the audit logs.
    AuditVerify,
    /// A published campaign from elsewhere.
    CampaignImport,
    /// The campaigns of an account: to list, show, export or delete.
    Campaigns,
    /// The events of an account.
    EventsTail,
    /// The webhooks of an account.
    Webhooks,
    /// The schedules of an account.
    Schedules,
    /// Whether the server is ready.
    Health,
}

/// How carefully a setting's value is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sensitivity {
    /// It may be shown.
    Shown,
    /// It is a flag like any other, but may hold a password, so that no message repeats it.
    Unrepeated,
    /// It is a secret: never a flag, since every process of the machine can read those; it can
    /// be given as a file instead.
    Secret,
}

/// What is known of a setting apart from its type.
#[derive(Debug)]
pub struct Declared {
    /// Its name in TOML. The flag has hyphens, the environment variable capitals and `RERUN_`.
    pub name: &'static str,
    /// What the help calls its value.
    pub value: &'static str,
    /// What holds when it is not given; `None` when that is no single text.
    pub default: Option<&'static str>,
    help: &'static str,
    /// Who takes it.
    pub used_by: &'static [Command],
    /// How its value is treated.
    pub sensitivity: Sensitivity,
    check: fn(&str) -> Result<(), String>,
}

impl Declared {
    /// The environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("RERUN_{}", self.name.to_uppercase())
    }

    /// The flag, without its two hyphens.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// What it is, for people, without a full stop.
    #[must_use]
    pub fn sentence(&self) -> &'static str {
        self.help.trim().trim_end_matches('.')
    }

    /// Whether it is a flag of the command.
    #[must_use]
    pub fn is_flag_of(&self, command: Command) -> bool {
        self.sensitivity != Sensitivity::Secret && self.used_by.contains(&command)
    }

    /// Whether the text is one that the setting takes.
    ///
    /// # Errors
    /// What it takes, to follow the word "must".
    pub fn check(&self, text: &str) -> Result<(), String> {
        (self.check)(text)
    }
}

/// A setting whose value is a `T`.
#[derive(Debug)]
pub(super) struct Setting<T> {
    /// All but its type.
    pub(super) declared: Declared,
    pub(super) parse: fn(&str) -> Result<T, String>,
}

macro_rules! settings {
    ($(
        $(#[doc = $help:literal])+
        $id:ident: $type:ty {
            name: $name:literal, value: $value:literal, default: $default:expr,
            used_by: $used_by:expr, sensitivity: $sensitivity:ident, parse: $parse:expr $(,)?
        }
    )+) => {
        $(
            $(#[doc = $help])+
            pub(super) const $id: Setting<$type> = Setting {
                declared: Declared {
                    name: $name,
                    value: $value,
                    default: $default,
                    help: concat!($($help),+),
                    used_by: $used_by,
                    sensitivity: Sensitivity::$sensitivity,
                    check: |text| {
                        let parse: fn(&str) -> Result<$type, String> = $parse;
                        parse(text).map(drop)
                    },
                },
                parse: $parse,
            };
        )+

        /// Every setting, in the order of the help.
        pub const ALL: &[&Declared] = &[$(&$id.declared),+];
    };
}

use Command::{
    AuditVerify, CampaignImport, Campaigns, Console, Demo, Dispatch, EventsTail, Health, Migrate,
    Schedules, Serve, Token, Webhooks, Worker,
};

settings! {
    /// Address and port to listen on; port 0 takes a free one. `worker` and `dispatch` listen only
    /// if it is given, and serve `/health/*` and `/metrics` there.
    BIND: SocketAddr {
        name: "bind", value: "ADDRESS", default: Some("127.0.0.1:8080"),
        used_by: &[Serve, Worker, Dispatch, Health, Console], sensitivity: Shown,
        parse: |text| parsed(text, "be an IP address and a port, such as 127.0.0.1:8080"),
    }
    /// Database: `sqlite://PATH`, a file that is created if it is missing, or `postgres://…`.
    DATABASE_URL: DatabaseUrl {
        name: "database_url", value: "URL", default: Some("sqlite://rerun.db"),
        used_by: &[Serve, Worker, Dispatch, Migrate, AuditVerify, CampaignImport, Campaigns, EventsTail, Webhooks, Schedules], sensitivity: Unrepeated,
        parse: DatabaseUrl::parse,
    }
    /// Number of database connections of this process.
    DATABASE_POOL_SIZE: u32 {
        name: "database_pool_size", value: "NUMBER", default: Some("8"),
        used_by: &[Serve, Worker, Dispatch], sensitivity: Shown, parse: |text| whole(text, 1, 1_000),
    }
    /// How long a request waits for a database connection before the response is 503.
    DATABASE_ACQUIRE_TIMEOUT_SECONDS: u32 {
        name: "database_acquire_timeout_seconds", value: "SECONDS", default: Some("5"),
        used_by: &[Serve, Worker, Dispatch], sensitivity: Shown, parse: |text| whole(text, 1, 600),
    }
    /// `transaction` if a pooler in that mode, such as `pgbouncer`, is between this process and
    /// PostgreSQL.
    DATABASE_POOLER: Pooler {
        name: "database_pooler", value: "MODE", default: Some("none"),
        used_by: &[Serve, Worker, Dispatch, AuditVerify, CampaignImport, Campaigns, EventsTail, Webhooks, Schedules], sensitivity: Shown,
        parse: pooler,
    }
    /// How long PostgreSQL may take for one statement; imports may take longer.
    STATEMENT_TIMEOUT_SECONDS: u32 {
        name: "statement_timeout_seconds", value: "SECONDS", default: Some("20"),
        used_by: &[Serve, Worker, Dispatch], sensitivity: Shown, parse: |text| whole(text, 1, 3_600),
    }
    /// Whether the server applies pending schema migrations when it starts.
    AUTO_MIGRATE: bool {
        name: "auto_migrate", value: "BOOL", default: Some("true"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| parsed(text, "be true or false"),
    }
    /// Algorithm that tokens are signed with: HS256, RS256, ES256 or EdDSA.
    JWT_ALGORITHM: JwtAlgorithm {
        name: "jwt_algorithm", value: "NAME", default: Some("HS256"),
        used_by: &[Serve, Token, Console], sensitivity: Shown, parse: JwtAlgorithm::parse,
    }
    /// Secret that tokens are signed with, at least 32 bytes; required by HS256.
    JWT_SECRET: SecretString {
        name: "jwt_secret", value: "SECRET", default: None,
        used_by: &[Serve, Token, Console], sensitivity: Secret, parse: jwt_secret,
    }
    /// A second secret that tokens may be signed with, during a rotation.
    JWT_SECRET_PREVIOUS: SecretString {
        name: "jwt_secret_previous", value: "SECRET", default: None,
        used_by: &[Serve], sensitivity: Secret, parse: jwt_secret,
    }
    /// PEM file with one or more public keys of RS256, ES256 or EdDSA; read again when it changes.
    JWT_PUBLIC_KEY_FILE: PathBuf {
        name: "jwt_public_key_file", value: "FILE", default: None,
        used_by: &[Serve], sensitivity: Shown, parse: |path| text(path).map(PathBuf::from),
    }
    /// JWKS file with public keys of RS256, ES256 or EdDSA, selected by `kid`; read again when it
    /// changes.
    JWT_JWKS_FILE: PathBuf {
        name: "jwt_jwks_file", value: "FILE", default: None,
        used_by: &[Serve], sensitivity: Shown, parse: |path| text(path).map(PathBuf::from),
    }
    /// The `iss` that a token must have; by default any.
    JWT_ISSUER: String {
        name: "jwt_issuer", value: "TEXT", default: None,
        used_by: &[Serve, Token, Console], sensitivity: Shown, parse: text,
    }
    /// The `aud` that a token must have; by default any.
    JWT_AUDIENCE: String {
        name: "jwt_audience", value: "TEXT", default: None,
        used_by: &[Serve, Token, Console], sensitivity: Shown, parse: text,
    }
    /// How far the clocks of the token issuer and the server may differ.
    JWT_LEEWAY_SECONDS: u32 {
        name: "jwt_leeway_seconds", value: "SECONDS", default: Some("0"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 0, 3_600),
    }
    /// Code that callers send in `x-auth-context`; required.
    API_CODE: SecretString {
        name: "api_code", value: "SECRET", default: None,
        used_by: &[Serve], sensitivity: Secret,
        parse: |code| text(code).map(SecretString::from),
    }
    /// A second code that callers may send, during a rotation.
    API_CODE_PREVIOUS: SecretString {
        name: "api_code_previous", value: "SECRET", default: None,
        used_by: &[Serve], sensitivity: Secret,
        parse: |code| text(code).map(SecretString::from),
    }
    /// Actions that only some roles may do, such as `initiate=ADMIN,EDITOR; publish=ADMIN`. In the
    /// TOML file this is the table `[roles]`. Every role may do the actions that no rule names.
    ROLES: RoleRules {
        name: "roles", value: "RULES", default: None,
        used_by: &[Serve, Schedules], sensitivity: Shown, parse: RoleRules::parse,
    }
    /// Whether this server fires schedules. If several servers do, a schedule still fires only once
    /// at each of its times.
    SCHEDULER: bool {
        name: "scheduler", value: "BOOL", default: Some("true"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| parsed(text, "be true or false"),
    }
    /// Maximum number of schedules of an account.
    SCHEDULES_PER_ACCOUNT: u32 {
        name: "schedules_per_account", value: "NUMBER", default: Some("100"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 0, 1_000_000),
    }
    /// Whether to serve the console, the page at `/console/` where people review and publish.
    CONSOLE: bool {
        name: "console", value: "BOOL", default: Some("true"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| parsed(text, "be true or false"),
    }
    /// Addresses or networks of proxies whose `x-forwarded-for` and `x-forwarded-proto` the console
    /// trusts, such as `10.0.0.0/8, ::1`; by default none.
    TRUSTED_PROXIES: TrustedProxies {
        name: "trusted_proxies", value: "NETWORKS", default: None,
        used_by: &[Serve], sensitivity: Shown, parse: TrustedProxies::parse,
    }
    /// Address of the OpenID provider through which people may sign in to the console, as in the
    /// `iss` of its tokens; requires `RERUN_CONSOLE_OIDC_CLIENT_ID`.
    CONSOLE_OIDC_ISSUER: Issuer {
        name: "console_oidc_issuer", value: "URL", default: None,
        used_by: &[Serve], sensitivity: Shown, parse: Issuer::parse,
    }
    /// Client id of this installation at the OpenID provider. The client needs the redirect address
    /// `https://HOST/console/openid/callback`.
    CONSOLE_OIDC_CLIENT_ID: String {
        name: "console_oidc_client_id", value: "TEXT", default: None,
        used_by: &[Serve], sensitivity: Shown, parse: text,
    }
    /// Client secret at the OpenID provider, if it requires one.
    CONSOLE_OIDC_CLIENT_SECRET: SecretString {
        name: "console_oidc_client_secret", value: "SECRET", default: None,
        used_by: &[Serve], sensitivity: Secret, parse: bearer_key,
    }
    /// Scopes to request from the OpenID provider, separated by spaces; `openid` must be one of
    /// them.
    CONSOLE_OIDC_SCOPES: String {
        name: "console_oidc_scopes", value: "TEXT", default: Some("openid"),
        used_by: &[Serve], sensitivity: Shown, parse: scopes,
    }
    /// Maximum number of generator calls at the same time in this process; with 0 it generates
    /// nothing.
    WORKERS: u32 {
        name: "workers", value: "NUMBER", default: Some("4"),
        used_by: &[Serve, Worker], sensitivity: Shown, parse: |text| whole(text, 0, 10_000),
    }
    /// What generates messages: `template` fills the campaign's template, `openai` lets a language
    /// model write them.
    GENERATOR: GeneratorKind {
        name: "generator", value: "NAME", default: Some("template"),
        used_by: &[Serve, Worker], sensitivity: Shown, parse: GeneratorKind::parse,
    }
    /// Base URL of the language model's chat endpoint, such as `https://api.openai.com/v1`;
    /// required by the generator `openai`.
    OPENAI_BASE_URL: Url {
        name: "openai_base_url", value: "URL", default: None,
        used_by: &[Serve, Worker], sensitivity: Unrepeated, parse: base_url,
    }
    /// Key of the language model's endpoint, if it requires one.
    OPENAI_API_KEY: SecretString {
        name: "openai_api_key", value: "SECRET", default: None,
        used_by: &[Serve, Worker], sensitivity: Secret, parse: bearer_key,
    }
    /// Name of the language model; required by the generator `openai`.
    OPENAI_MODEL: String {
        name: "openai_model", value: "NAME", default: None,
        used_by: &[Serve, Worker], sensitivity: Shown, parse: text,
    }
    /// How long to wait for a response of the language model.
    OPENAI_TIMEOUT_SECONDS: u32 {
        name: "openai_timeout_seconds", value: "SECONDS", default: Some("60"),
        used_by: &[Serve, Worker], sensitivity: Shown, parse: |text| whole(text, 1, 3_600),
    }
    /// Sampling temperature to request from the language model; by default the model's own.
    OPENAI_TEMPERATURE: f64 {
        name: "openai_temperature", value: "NUMBER", default: None,
        used_by: &[Serve, Worker], sensitivity: Shown, parse: temperature,
    }
    /// Maximum number of tokens of a response to request from the language model; by default the
    /// model's own limit.
    OPENAI_MAX_TOKENS: u32 {
        name: "openai_max_tokens", value: "NUMBER", default: None,
        used_by: &[Serve, Worker], sensitivity: Shown, parse: |text| whole(text, 1, 10_000_000),
    }
    /// Additional headers for the language model, such as `x-title: Campaigns, x-team: growth`. If
    /// a value contains a comma, write one header on each line, or a JSON object. Each name may
    /// occur once; `authorization` replaces the API key.
    OPENAI_HEADERS: ExtraHeaders {
        name: "openai_headers", value: "HEADERS", default: None,
        used_by: &[Serve, Worker], sensitivity: Secret, parse: ExtraHeaders::parse,
    }
    /// Number of attempts to generate a message before it fails.
    GENERATION_MAX_ATTEMPTS: u32 {
        name: "generation_max_attempts", value: "NUMBER", default: Some("5"),
        used_by: &[Serve, Worker], sensitivity: Shown, parse: |text| whole(text, 1, 100),
    }
    /// How long a worker may hold messages without renewing its lease.
    GENERATION_LEASE_SECONDS: u32 {
        name: "generation_lease_seconds", value: "SECONDS", default: Some("30"),
        used_by: &[Serve, Worker], sensitivity: Shown, parse: |text| whole(text, 1, 86_400),
    }
    /// How long a message may be put off in total, while the language model accepts no calls,
    /// before it fails.
    GENERATION_PATIENCE_SECONDS: u32 {
        name: "generation_patience_seconds", value: "SECONDS", default: Some("3600"),
        used_by: &[Serve, Worker], sensitivity: Shown, parse: |text| whole(text, 0, 604_800),
    }
    /// Secret that the secrets of webhooks are derived from, at least 32 bytes. Without it no
    /// webhook can be created and nothing is delivered. If it changes, the secrets of all webhooks
    /// change.
    WEBHOOK_SECRET: SecretString {
        name: "webhook_secret", value: "SECRET", default: None,
        used_by: &[Serve, Dispatch], sensitivity: Secret, parse: webhook_secret,
    }
    /// Whether webhooks may have URLs with `http://`, not only `https://`.
    WEBHOOK_ALLOW_HTTP: bool {
        name: "webhook_allow_http", value: "BOOL", default: Some("false"),
        used_by: &[Serve, Dispatch], sensitivity: Shown, parse: |text| parsed(text, "be true or false"),
    }
    /// Addresses or networks that webhooks may point to although they are not global, such as
    /// `10.0.0.0/8, 192.168.1.7`. Loopback addresses, link-local addresses and the metadata
    /// services of clouds are allowed only by an entry within their own network, such as
    /// `127.0.0.0/8`.
    WEBHOOK_ALLOW_NETS: AllowedNetworks {
        name: "webhook_allow_nets", value: "NETWORKS", default: None,
        used_by: &[Serve, Dispatch], sensitivity: Shown, parse: AllowedNetworks::parse,
    }
    /// How long an attempt to deliver an event to a webhook may take.
    WEBHOOK_TIMEOUT_SECONDS: u32 {
        name: "webhook_timeout_seconds", value: "SECONDS", default: Some("20"),
        used_by: &[Serve, Dispatch], sensitivity: Shown, parse: |text| whole(text, 1, 300),
    }
    /// Maximum number of deliveries at the same time in this process, not counting slow ones; with
    /// 0 it delivers nothing.
    WEBHOOK_CONCURRENCY: u32 {
        name: "webhook_concurrency", value: "NUMBER", default: Some("32"),
        used_by: &[Serve, Dispatch], sensitivity: Shown, parse: |text| whole(text, 0, 1_000),
    }
    /// NATS servers to publish all events to with JetStream: `nats://HOST` or `tls://HOST`,
    /// separated by commas. By default no events are published.
    NATS_URL: NatsServers {
        name: "nats_url", value: "URLS", default: None,
        used_by: &[Serve, Dispatch], sensitivity: Unrepeated, parse: NatsServers::parse,
    }
    /// File with the credentials of a NATS user: a JWT and its key.
    NATS_CREDENTIALS_FILE: PathBuf {
        name: "nats_credentials_file", value: "PATH", default: None,
        used_by: &[Serve, Dispatch], sensitivity: Shown, parse: |path| text(path).map(PathBuf::from),
    }
    /// Name of the stream that events are published in. If the name changes, the new stream gets
    /// all events, from the first one on.
    NATS_STREAM: String {
        name: "nats_stream", value: "NAME", default: Some("rerun"),
        used_by: &[Serve, Dispatch], sensitivity: Shown, parse: stream_name,
    }
    /// Prefix of the subjects of events; the account and the type of the event follow it.
    NATS_SUBJECT_PREFIX: String {
        name: "nats_subject_prefix", value: "SUBJECT", default: Some("rerun.events"),
        used_by: &[Serve, Dispatch], sensitivity: Shown, parse: subject_prefix,
    }
    /// Whether to create the stream if it does not exist, with file storage and without limits.
    NATS_CREATE_STREAM: bool {
        name: "nats_create_stream", value: "BOOL", default: Some("false"),
        used_by: &[Serve, Dispatch], sensitivity: Shown, parse: |text| parsed(text, "be true or false"),
    }
    /// Maximum size of a JSON body.
    MAX_BODY_BYTES: u64 {
        name: "max_body_bytes", value: "BYTES", default: Some("2097152"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 1, 1 << 30),
    }
    /// Maximum size of the body of an import.
    MAX_IMPORT_BYTES: u64 {
        name: "max_import_bytes", value: "BYTES", default: Some("1073741824"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 1, 1 << 40),
    }
    /// Maximum size of all request bodies that this process holds in memory at the same time, at
    /// least twice `RERUN_MAX_BODY_BYTES`. An account may hold at most as much as is still free, so
    /// an account alone can take half.
    MAX_INFLIGHT_BODY_BYTES: u64 {
        name: "max_inflight_body_bytes", value: "BYTES", default: Some("268435456"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 1, 1 << 40),
    }
    /// Maximum number of requests per second that each account may send to this process; unlimited
    /// by default.
    RATE_LIMIT_PER_SECOND: NonZeroU32 {
        name: "rate_limit_per_second", value: "NUMBER", default: None,
        used_by: &[Serve], sensitivity: Shown,
        parse: |text| whole(text, NonZeroU32::MIN, NonZeroU32::MIN.saturating_add(999_999)),
    }
    /// How long a request other than an import may take, up to the first byte of its response.
    REQUEST_TIMEOUT_SECONDS: u32 {
        name: "request_timeout_seconds", value: "SECONDS", default: Some("30"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 1, 3_600),
    }
    /// How long an import may take.
    IMPORT_TIMEOUT_SECONDS: u32 {
        name: "import_timeout_seconds", value: "SECONDS", default: Some("3600"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 1, 86_400),
    }
    /// How long a client may pause while it sends a body.
    BODY_TIMEOUT_SECONDS: u32 {
        name: "body_timeout_seconds", value: "SECONDS", default: Some("20"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 1, 3_600),
    }
    /// How long a client may take to send the headers of a request.
    HEADER_TIMEOUT_SECONDS: u32 {
        name: "header_timeout_seconds", value: "SECONDS", default: Some("10"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 1, 3_600),
    }
    /// How long a connection is kept open between two requests.
    KEEP_ALIVE_SECONDS: u32 {
        name: "keep_alive_seconds", value: "SECONDS", default: Some("75"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 1, 3_600),
    }
    /// How long a client may read nothing of a response before its connection is closed (on Linux
    /// only).
    WRITE_TIMEOUT_SECONDS: u32 {
        name: "write_timeout_seconds", value: "SECONDS", default: Some("20"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 1, 3_600),
    }
    /// Maximum number of client connections; further connections wait until one is closed.
    MAX_CONNECTIONS: u32 {
        name: "max_connections", value: "NUMBER", default: Some("10000"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 1, 1_000_000),
    }
    /// Maximum number of segments of a run.
    MAX_SEGMENTS: u32 {
        name: "max_segments", value: "NUMBER", default: Some("100000"),
        used_by: &[Serve, CampaignImport], sensitivity: Shown, parse: |text| whole(text, 1, 2_000_000),
    }
    /// Maximum number of webhooks of an account.
    WEBHOOKS_PER_ACCOUNT: u32 {
        name: "webhooks_per_account", value: "NUMBER", default: Some("20"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 1, 1_000),
    }
    /// If true, users cannot approve messages that they edited.
    REVIEW_FOUR_EYES: bool {
        name: "review_four_eyes", value: "BOOL", default: Some("false"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| parsed(text, "be true or false"),
    }
    /// How long the server still handles requests after SIGTERM, while `/health/ready` returns 503
    /// so that load balancers notice. After Ctrl-C it does not wait.
    SHUTDOWN_DRAIN_SECONDS: u32 {
        name: "shutdown_drain_seconds", value: "SECONDS", default: Some("3"),
        used_by: &[Serve], sensitivity: Shown, parse: |text| whole(text, 0, 3_600),
    }
    /// How long requests in flight may still take after the process got the signal to shut down.
    SHUTDOWN_GRACE_SECONDS: u32 {
        name: "shutdown_grace_seconds", value: "SECONDS", default: Some("25"),
        used_by: &[Serve, Worker, Dispatch], sensitivity: Shown, parse: |text| whole(text, 0, 3_600),
    }
    /// What is logged: a level, or a filter such as `info,rerun_http=debug`.
    LOG: LogFilter {
        name: "log", value: "FILTER", default: Some("info"),
        used_by: &[Serve, Worker, Dispatch, Demo, Migrate, AuditVerify, CampaignImport, Campaigns, EventsTail, Webhooks, Schedules], sensitivity: Shown,
        parse: LogFilter::parse,
    }
    /// Base URL of an OpenTelemetry collector that accepts OTLP over HTTP, such as
    /// `http://localhost:4318`; by default no traces are sent.
    OTLP_ENDPOINT: Url {
        name: "otlp_endpoint", value: "URL", default: None,
        used_by: &[Serve, Worker, Dispatch], sensitivity: Unrepeated, parse: base_url,
    }
    /// Name of this process in its traces.
    OTLP_SERVICE_NAME: String {
        name: "otlp_service_name", value: "NAME", default: Some("rerun"),
        used_by: &[Serve, Worker, Dispatch], sensitivity: Shown, parse: text,
    }
    /// Share of the traces to send, from 0 to 1. If a caller sends a trace of its own, the caller
    /// decides whether it is sent.
    OTLP_SAMPLE_RATIO: f64 {
        name: "otlp_sample_ratio", value: "NUMBER", default: Some("1"),
        used_by: &[Serve, Worker, Dispatch], sensitivity: Shown, parse: share,
    }
    /// Format of the log: `text`, or `json` for one JSON object in each line.
    LOG_FORMAT: LogFormat {
        name: "log_format", value: "FORMAT", default: Some("text"),
        used_by: &[Serve, Worker, Dispatch, Demo, Migrate, AuditVerify, CampaignImport, Campaigns, EventsTail, Webhooks, Schedules], sensitivity: Shown,
        parse: LogFormat::parse,
    }
}

fn parsed<T: FromStr>(text: &str, allowed: &str) -> Result<T, String> {
    text.parse().ok().ok_or_else(|| allowed.to_owned())
}

fn pooler(text: &str) -> Result<Pooler, String> {
    match text {
        "none" => Ok(Pooler::None),
        "transaction" => Ok(Pooler::Transaction),
        _ => Err("be none or transaction".to_owned()),
    }
}

fn whole<T: FromStr + PartialOrd + Display + Copy>(
    text: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    let number = text.parse().ok();
    let number = number.filter(|number| *number >= least && *number <= most);
    number.ok_or_else(|| format!("be a whole number from {least} to {most}"))
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok();
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "be a number from 0 to 1".to_owned())
}

fn text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        Err("not be blank".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn scopes(scopes: &str) -> Result<String, String> {
    if scopes.split_whitespace().any(|scope| scope == "openid") {
        Ok(scopes.to_owned())
    } else {
        Err("hold `openid`, with spaces between the scopes".to_owned())
    }
}

fn jwt_secret(text: &str) -> Result<SecretString, String> {
    let secret = SecretString::from(text);
    if StaticKey::secret(&secret).is_ok() {
        return Ok(secret);
    }
    let (least, bytes) = (StaticKey::MIN_SECRET_BYTES, text.len());
    Err(format!("have at least {least} bytes; this one has {bytes}"))
}

fn webhook_secret(text: &str) -> Result<SecretString, String> {
    let (least, bytes) = (DerivedSecrets::MIN_BYTES, text.len());
    if bytes >= least {
        return Ok(SecretString::from(text));
    }
    Err(format!("have at least {least} bytes; this one has {bytes}"))
}

fn base_url(text: &str) -> Result<Url, String> {
    let allowed = "start with https:// or http://, name a host, and hold no password: keys have a \
                   setting of their own";
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    });
    url.ok_or_else(|| allowed.to_owned())
}

fn temperature(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    let number = number.filter(|number| (0.0..=10.0).contains(number));
    number.ok_or_else(|| "be a number from 0 to 10".to_owned())
}

fn bearer_key(key: &str) -> Result<SecretString, String> {
    let is_one_word = !key.is_empty() && !key.contains(char::is_whitespace);
    if is_one_word && HeaderValue::from_str(key).is_ok() {
        return Ok(SecretString::from(key));
    }
    Err("be one word that can be sent as a header".to_owned())
}

/// Where the database is.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite(String),
    /// A server.
    Postgres(String),
}

impl DatabaseUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let allowed = "start with sqlite:// and name a file, or start with postgres://";
        let (scheme, rest) = text.split_once("://").ok_or(allowed)?;
        match scheme {
            "sqlite" if !rest.is_empty() => Ok(Self::Sqlite(text.to_owned())),
            "postgres" | "postgresql" => Ok(Self::Postgres(text.to_owned())),
            _ => Err(allowed.to_owned()),
        }
    }

    /// The password in the text of a URL.
    pub(super) fn password(text: &str) -> Option<String> {
        let (_, rest) = text.split_once("://")?;
        let (user, _) = rest.rsplit_once('@')?;
        let (_, password) = user.split_once(':')?;
        (!password.is_empty()).then(|| password.to_owned())
    }

    /// Where it is, for people, without what may be secret: a file by its whole path, a server
    /// by its name, port and database.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Sqlite(url) => {
                let path = url.trim_start_matches("sqlite://");
                let whole = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
                format!("sqlite://{}", whole.display())
            }
            Self::Postgres(url) => {
                // A password that is not written as it should be may stand anywhere.
                let parts = Url::parse(url).ok().filter(|parts| {
                    !parts.path().contains('@') && !parts.query().unwrap_or_default().contains('@')
                });
                let Some(parts) = parts else {
                    return "postgres".to_owned();
                };
                let port = parts.port().map(|port| format!(":{port}"));
                format!(
                    "postgres://{}{}{}",
                    parts.host_str().unwrap_or_default(),
                    port.unwrap_or_default(),
                    parts.path()
                )
            }
        }
    }
}

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// With a shared secret.
    Hs256,
    /// With a private key, and checked with the public one.
    Asymmetric(Asymmetric),
}

impl JwtAlgorithm {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "HS256" => Ok(Self::Hs256),
            "RS256" => Ok(Self::Asymmetric(Asymmetric::Rs256)),
            "ES256" => Ok(Self::Asymmetric(Asymmetric::Es256)),
            "EdDSA" => Ok(Self::Asymmetric(Asymmetric::EdDsa)),
            _ => Err("be HS256, RS256, ES256 or EdDSA".to_owned()),
        }
    }
}

/// What makes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeneratorKind {
    /// [`rerun_generate::TemplateGenerator`].
    Template,
    /// [`rerun_generate::OpenAiGenerator`].
    OpenAi,
}

impl GeneratorKind {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "template" => Ok(Self::Template),
            "openai" => Ok(Self::OpenAi),
            _ => Err("be template or openai".to_owned()),
        }
    }
}

/// A filter of log events that is known to be well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(pub(super) String);

impl LogFilter {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

    fn parse(text: &str) -> Result<Self, String> {
        let allowed = "be a level (error, warn, info, debug, trace, off) or a list of target=level";
        if text.trim().is_empty() {
            return Err(allowed.to_owned());
        }
        if let Some(word) = text.split(',').find(|part| Self::is_misspelt(part)) {
            let word = word.trim().to_lowercase();
            let near = Self::LEVELS
                .into_iter()
                .find(|level| word.starts_with(level) || level.starts_with(&word))
                .or_else(|| {
                    let distance = |level: &&str| strsim::damerau_levenshtein(level, &word);
                    let nearest = Self::LEVELS.into_iter().min_by_key(distance);
                    nearest.filter(|level| distance(level) <= 2)
                });
            return Err(match near {
                Some(level) => format!("{allowed}; did you mean `{level}`?"),
                None => allowed.to_owned(),
            });
        }
        if EnvFilter::builder().parse(text).is_ok() {
            return Ok(Self(text.to_owned()));
        }
        Err(allowed.to_owned())
    }

    /// Whether a part of a filter names a target that cannot exist, such as a misspelt level or a
    /// name with a character that no module has. Nothing would be logged by it.
    fn is_misspelt(part: &str) -> bool {
        let word = part.trim();
        // Rules for spans have a syntax of their own.
        if word.is_empty() || word.contains('[') {
            return false;
        }
        let is_target = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
        if let Some((target, _level)) = word.split_once('=') {
            return !target.bytes().all(is_target);
        }
        let is_level = |word: &str| {
            let level = |level: &&str| level.eq_ignore_ascii_case(word);
            Self::LEVELS.iter().any(level) || matches!(word, "0" | "1" | "2" | "3" | "4" | "5")
        };
        let names_a_module = word.bytes().all(is_target) && word.contains(['_', ':']);
        !is_level(word) && !names_a_module
    }

    /// Whether everything is logged at the level `info` that has no rule of its own.
    pub(super) fn is_info(text: &str) -> bool {
        let level = |part: &str| part.trim().eq_ignore_ascii_case("info") || part.trim() == "3";
        text.split(',').any(level)
    }
}

/// How events are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("be text or json".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_plain() {
        for (index, setting) in ALL.iter().enumerate() {
            assert!(
                setting
                    .name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_')
            );
            assert!(!ALL[..index].iter().any(|other| other.name == setting.name));
            // These would be mistaken for the file of a secret, or for what tests use.
            let of_file = setting.name.strip_suffix("_file");
            assert!(!ALL.iter().any(|other| Some(other.name) == of_file));
            assert!(!setting.name.starts_with("test_"));
            // The doc comments are the help, each line of them with its space.
            assert!(!setting.sentence().contains('\n') && !setting.sentence().contains("  "));
        }
    }

    #[test]
    fn defaults_are_values_that_the_settings_take() {
        for setting in ALL {
            if let Some(default) = setting.default {
                assert_eq!(setting.check(default), Ok(()), "{}", setting.name);
            }
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_with_the_level_that_is_meant() {
        for (text, meant) in [
            ("warning", "`warn`"),
            ("Warning", "`warn`"),
            ("err", "`error`"),
            ("inof", "`info`"),
            ("information", "`info`"),
            ("info,tracing=debug,errors", "`error`"),
            ("trace!", "`trace`"),
            ("info;", "`info`"),
            ("warn.", "`warn`"),
            ("info rerun=debug", "`info`"),
        ] {
            let said = LOG.declared.check(text).unwrap_err();
            assert!(said.contains(&format!("did you mean {meant}?")), "{said}");
        }
        for text in [
            "verbose",
            "loud",
            "6",
            "rerun-http",
            "rerun-http=debug",
            "info,x",
        ] {
            let said = LOG.declared.check(text).unwrap_err();
            assert!(!said.contains("did you mean"), "{said}");
        }
        for text in [
            "warn",
            "WARN",
            "off",
            "2",
            "info,,rerun_http=debug,",
            "rerun_http",
            "rerun_generate::worker,error",
            "[request{request_id=mine}]=trace,warn",
            "rerun_http[request]=debug",
        ] {
            assert_eq!(LOG.declared.check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_database_is_shown_without_what_is_secret() {
        let shown = |url: &str| DatabaseUrl::parse(url).unwrap().shown();
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            shown("sqlite://rerun.db"),
            format!("sqlite://{}", here.join("rerun.db").display())
        );
        assert_eq!(shown("sqlite:///var/rerun.db"), "sqlite:///var/rerun.db");
        assert_eq!(
            shown("postgres://user:hunter2@db.internal:5433/rerun?sslpassword=hunter2"),
            "postgres://db.internal:5433/rerun"
        );
        assert_eq!(shown("postgres:///rerun"), "postgres:///rerun");
        // Passwords in which characters of URLs stand as they are.
        for password in [
            "hunter2/x",
            "12/hunter2",
            "12?hunter2",
            "a@hunter2",
            "12#hunter2",
        ] {
            let shown = shown(&format!("postgres://user:{password}@host/rerun"));
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let limits = rerun_http::Limits::default();
        assert_eq!((MAX_BODY_BYTES.parse)("2097152"), Ok(limits.max_body_bytes));
        assert_eq!(MAX_BODY_BYTES.declared.default, Some("2097152"));
        assert_eq!(
            (MAX_IMPORT_BYTES.parse)("1073741824"),
            Ok(limits.max_import_bytes)
        );
        assert_eq!(MAX_IMPORT_BYTES.declared.default, Some("1073741824"));
        let inflight = rerun_http::Intake::DEFAULT_BYTES.to_string();
        assert_eq!(
            MAX_INFLIGHT_BODY_BYTES.declared.default,
            Some(inflight.as_str())
        );
        for (timeout, default) in [
            (limits.request_timeout, &REQUEST_TIMEOUT_SECONDS),
            (limits.import_timeout, &IMPORT_TIMEOUT_SECONDS),
            (limits.body_timeout, &BODY_TIMEOUT_SECONDS),
            (
                rerun_pg::Options::default().acquire_timeout,
                &DATABASE_ACQUIRE_TIMEOUT_SECONDS,
            ),
        ] {
            let seconds = timeout.as_secs().to_string();
            assert_eq!(default.declared.default, Some(seconds.as_str()));
        }
        let core = rerun_core::usecases::Settings::default();
        assert_eq!(
            MAX_SEGMENTS.declared.default,
            Some(core.max_segments.to_string().as_str())
        );
        assert_eq!(
            WEBHOOKS_PER_ACCOUNT.declared.default,
            Some(core.webhooks.to_string().as_str())
        );
        assert_eq!(
            REVIEW_FOUR_EYES.declared.default,
            Some(core.four_eyes.to_string().as_str())
        );
        let schedules = core.schedules_per_account.to_string();
        assert_eq!(
            SCHEDULES_PER_ACCOUNT.declared.default,
            Some(schedules.as_str())
        );
        let attempts = core.generation.max_attempts.to_string();
        assert_eq!(
            GENERATION_MAX_ATTEMPTS.declared.default,
            Some(attempts.as_str())
        );
        let lease = core.generation.lease.as_secs().to_string();
        assert_eq!(
            GENERATION_LEASE_SECONDS.declared.default,
            Some(lease.as_str())
        );
        let patience = core.generation.patience.as_secs().to_string();
        assert_eq!(
            GENERATION_PATIENCE_SECONDS.declared.default,
            Some(patience.as_str())
        );
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_setting_refuses_what_it_does_not_take() {
        let bad: &[(&Declared, &[&str])] = &[
            (
                &BIND.declared,
                &["", "localhost", "127.0.0.1", "127.0.0.1:70000", ":8080"],
            ),
            (
                &DATABASE_URL.declared,
                &["", "rerun.db", "sqlite://", "mysql://x", "postgres:x"],
            ),
            (
                &DATABASE_POOL_SIZE.declared,
                &["", "0", "-1", "x", "1.5", "1001"],
            ),
            (
                &DATABASE_ACQUIRE_TIMEOUT_SECONDS.declared,
                &["", "0", "-1", "601", "5s"],
            ),
            (&DATABASE_POOLER.declared, &["", "session", "Transaction"]),
            (
                &STATEMENT_TIMEOUT_SECONDS.declared,
                &["", "0", "-1", "3601", "1.5"],
            ),
            (
                &RATE_LIMIT_PER_SECOND.declared,
                &["", "0", "-1", "1000001", "1/s"],
            ),
            (&REQUEST_TIMEOUT_SECONDS.declared, &["", "0", "3601", "x"]),
            (&IMPORT_TIMEOUT_SECONDS.declared, &["", "0", "86401", "x"]),
            (&BODY_TIMEOUT_SECONDS.declared, &["", "0", "3601", "x"]),
            (&HEADER_TIMEOUT_SECONDS.declared, &["", "0", "3601", "x"]),
            (&KEEP_ALIVE_SECONDS.declared, &["", "0", "3601", "x"]),
            (&WRITE_TIMEOUT_SECONDS.declared, &["", "0", "3601", "x"]),
            (&MAX_CONNECTIONS.declared, &["", "0", "1000001", "x"]),
            (&SHUTDOWN_DRAIN_SECONDS.declared, &["", "-1", "3601", "x"]),
            (&AUTO_MIGRATE.declared, &["", "yes", "1", "TRUE"]),
            (
                &JWT_ALGORITHM.declared,
                &[
                    "", "none", "HS384", "RS512", "PS256", "ES384", "eddsa", "hs256",
                ],
            ),
            (
                &JWT_SECRET.declared,
                &["", "short", "1234567890123456789012345678901"],
            ),
            (&JWT_SECRET_PREVIOUS.declared, &["", "short"]),
            (&JWT_PUBLIC_KEY_FILE.declared, &["", " "]),
            (&JWT_JWKS_FILE.declared, &["", " "]),
            (&JWT_ISSUER.declared, &["", " "]),
            (&JWT_AUDIENCE.declared, &["", " "]),
            (&JWT_LEEWAY_SECONDS.declared, &["", "-1", "3601"]),
            (&API_CODE.declared, &["", "  "]),
            (&API_CODE_PREVIOUS.declared, &["", "  "]),
            (
                &ROLES.declared,
                &["", "ADMIN", "initiate", "initiate=", "begin=ADMIN"],
            ),
            (&WORKERS.declared, &["", "-1", "10001", "many"]),
            (&GENERATOR.declared, &["", "OpenAI", "Template"]),
            (
                &OPENAI_BASE_URL.declared,
                &[
                    "",
                    "api.openai.com/v1",
                    "ftp://host",
                    "https://",
                    "https://user@host",
                    "https://:word@host/v1",
                    "https://host/v1#part",
                ],
            ),
            (
                &OPENAI_API_KEY.declared,
                &["", " ", "two words", "line\n", "a\u{7f}"],
            ),
            (&OPENAI_MODEL.declared, &["", " "]),
            (&OPENAI_TIMEOUT_SECONDS.declared, &["", "0", "3601", "1.5"]),
            (
                &OPENAI_TEMPERATURE.declared,
                &["", "-1", "10.1", "NaN", "warm"],
            ),
            (
                &OPENAI_MAX_TOKENS.declared,
                &["", "0", "1.5", "10000001", "many"],
            ),
            (
                &OPENAI_HEADERS.declared,
                &[
                    "",
                    "x-title",
                    "x title: a",
                    "x-title:",
                    "x-title: a\u{0}",
                    "host: other",
                    "content-length: 5",
                    "{}",
                    "{\"x-title\": 5}",
                    "{\"x-title\": \"a\"",
                ],
            ),
            (&GENERATION_MAX_ATTEMPTS.declared, &["", "0", "101"]),
            (&GENERATION_LEASE_SECONDS.declared, &["", "0", "86401"]),
            (
                &GENERATION_PATIENCE_SECONDS.declared,
                &["", "-1", "604801", "1h"],
            ),
            (
                &WEBHOOK_SECRET.declared,
                &["", "short", "1234567890123456789012345678901"],
            ),
            (&WEBHOOK_ALLOW_HTTP.declared, &["", "yes", "1"]),
            (
                &WEBHOOK_ALLOW_NETS.declared,
                &["", "10.0.0.0/33", "10.0.0.1,", "inside.example"],
            ),
            (&WEBHOOK_TIMEOUT_SECONDS.declared, &["", "0", "301", "20s"]),
            (&WEBHOOK_CONCURRENCY.declared, &["", "-1", "1001", "many"]),
            (
                &NATS_URL.declared,
                &[
                    "",
                    "localhost:4222",
                    "http://host",
                    "nats://u:p@a,nats://v:p@b",
                ],
            ),
            (&NATS_CREDENTIALS_FILE.declared, &[""]),
            (&NATS_STREAM.declared, &["", "a.b", "a b", "*"]),
            (&NATS_SUBJECT_PREFIX.declared, &["", "a.", "a.*", "$JS"]),
            (&NATS_CREATE_STREAM.declared, &["", "yes", "1"]),
            (&MAX_BODY_BYTES.declared, &["", "0", "2MiB", "1073741825"]),
            (&MAX_IMPORT_BYTES.declared, &["", "0", "1099511627777"]),
            (&MAX_INFLIGHT_BODY_BYTES.declared, &["", "0", "256MiB"]),
            (&MAX_SEGMENTS.declared, &["", "0", "2000001"]),
            (&WEBHOOKS_PER_ACCOUNT.declared, &["", "0", "1001"]),
            (&REVIEW_FOUR_EYES.declared, &["", "on", "True"]),
            (&CONSOLE.declared, &["", "on", "True"]),
            (&SCHEDULER.declared, &["", "on", "True"]),
            (&SCHEDULES_PER_ACCOUNT.declared, &["", "-1", "1000001", "x"]),
            (
                &TRUSTED_PROXIES.declared,
                &["", "10.0.0.0/33", "10.0.0.1,", "proxy.example", "*"],
            ),
            (
                &CONSOLE_OIDC_ISSUER.declared,
                &["", "login.example.com", "http://login.example.com"],
            ),
            (&CONSOLE_OIDC_CLIENT_ID.declared, &["", " "]),
            (
                &CONSOLE_OIDC_CLIENT_SECRET.declared,
                &["", " ", "two words", "line\n"],
            ),
            (&CONSOLE_OIDC_SCOPES.declared, &["", "profile", "openid2"]),
            (&SHUTDOWN_GRACE_SECONDS.declared, &["", "-1", "3601"]),
            (
                &LOG.declared,
                &["", "warning", "info,warning", "a=b=c", "rerun_http=loud"],
            ),
            (
                &OTLP_ENDPOINT.declared,
                &["", "localhost:4318", "grpc://host", "http://u:p@host"],
            ),
            (&OTLP_SERVICE_NAME.declared, &["", " "]),
            (
                &OTLP_SAMPLE_RATIO.declared,
                &["", "1.1", "-0.1", "NaN", "half"],
            ),
            (&LOG_FORMAT.declared, &["", "JSON", "xml"]),
        ];
        assert_eq!(bad.len(), ALL.len());
        for (setting, texts) in bad {
            for text in *texts {
                let allowed = setting.check(text).unwrap_err();
                assert!(!allowed.is_empty(), "{}: {text:?}", setting.name);
            }
        }
    }
}
