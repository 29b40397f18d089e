use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use async_trait::async_trait;
use jsonwebtoken::Algorithm;
use rerun_auth::{Guard, OpenId, StaticKey, TokenRules, TokenVerifier, TrustedProxies};
use rerun_core::Timestamp;
use rerun_core::generation::{GenerationError, GenerationPolicy, GenerationTask, Made};
use rerun_core::ports::{Backoff, Clock, MessageGenerator};
use rerun_core::usecases::{Engine, Settings};
use rerun_generate::{Observer, TemplateGenerator};
use rerun_generate::{Shutdown, SystemClock};
use rerun_generate::{Worker, WorkerOptions};
use rerun_http::{AppState, Console, Intake, Limits, RateLimit, Readiness};
use rerun_metrics::Metrics;
use rerun_server::openid::{HttpProvider, Issuer, OpenIdSettings};
use rerun_server::store::{News, Services, StorePorts};
use rerun_server::{Counted, config};
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::Api;
use super::database::{Database, Store};

pub(crate) const SECRET: &str = "a secret of more than thirty-two bytes";
pub(crate) const API_CODE: &str = "an API code";
/// The most segments that a run may have here.
pub(crate) const MAX_SEGMENTS: u32 = 40;
/// With what cursors are sealed.
pub(crate) const CURSORS: rerun_core::page::CursorKey = rerun_core::page::CursorKey::new([3; 32]);
/// The largest import here.
pub(crate) const MAX_IMPORT_BYTES: u64 = 100_000;
/// The address from which a trusted proxy connects.
pub(crate) const TRUSTED_PROXY_HOST: &str = "127.0.0.9";
/// The proxies that are trusted here.
const TRUSTED_PROXIES: &str = "127.0.0.9, 127.0.0.2";
/// How often a message is tried here.
const MAX_ATTEMPTS: u32 = 2;
/// The longest that anything may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// The machine's clock, put forward by tests.
#[derive(Default)]
pub(crate) struct TestClock {
    ahead_millis: AtomicI64,
}

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap();
        self.ahead_millis.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead_millis.load(Ordering::SeqCst);
        let now = SystemClock.now().timestamp_millis() + ahead;
        Timestamp::from_timestamp_millis(now).unwrap()
    }
}

/// Tries again at once.
struct AtOnce;

impl Backoff for AtOnce {
    fn delay(&self, _: u32) -> Duration {
        Duration::ZERO
    }
}

/// The template generator, which fails for the countries that a test names.
#[derive(Default)]
struct Unreliable {
    template: TemplateGenerator,
    failing: Mutex<Vec<String>>,
}

#[async_trait]
impl MessageGenerator for Unreliable {
    async fn generate(&self, task: &GenerationTask) -> Result<Made, GenerationError> {
        let values = task.attributes.to_map().unwrap();
        let country = values.get("country").cloned().flatten().unwrap_or_default();
        if self.failing.lock().unwrap().contains(&country) {
            return Err(GenerationError::new(format!("no words for {country}")));
        }
        self.template.generate(task).await
    }
}

/// A server over a database of its own. It generates when a test says so, by the real worker.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) database: Database,
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) readiness: Readiness,
    metrics: Metrics,
    store: Store,
    generator: Arc<Unreliable>,
    wake: Arc<Notify>,
    pub(crate) news: News,
    http: reqwest::Client,
    guard: Guard,
    state: Data<AppState>,
    serving: Mutex<Vec<Serving>>,
}

/// A server that listens.
struct Serving {
    handle: ServerHandle,
    running: JoinHandle<std::io::Result<()>>,
}

impl Serving {
    /// Serves the endpoints and this console; returns where.
    fn start(state: &Data<AppState>, console: &Console) -> (SocketAddr, Self) {
        let (state, console) = (state.clone(), console.clone());
        let server = HttpServer::new(move || {
            let (state, console) = (state.clone(), console.clone());
            App::new().configure(rerun_http::configure_with_console(state, console))
        })
        .workers(2)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let serving = Self {
            handle: server.handle(),
            running: actix_web::rt::spawn(server),
        };
        (address, serving)
    }
}

impl Server {
    /// Runs a test on a fresh server, and stops it.
    pub(crate) async fn run(store: Store, case: impl AsyncFnOnce(&Self)) {
        let server = Self::start(store);
        // It begins to listen on this thread, which some tests then block.
        server.account().get("/health/live").await.ok();
        case(&server).await;
        let all = std::mem::take(&mut *server.serving.lock().unwrap());
        for Serving { handle, running } in all {
            // Connections that a client keeps open would hold up a patient stop.
            handle.stop(false).await;
            running.await.unwrap().unwrap();
        }
    }

    fn start(store: Store) -> Self {
        let database = Database::new(store);
        let clock = Arc::new(TestClock::default());
        let services = Services {
            clock: clock.clone(),
            backoff: Arc::new(AtOnce),
            webhooks: rerun_contract::ports::webhook_ports(),
            ..Services::default()
        };
        let settings = Settings {
            max_segments: MAX_SEGMENTS,
            cursors: CURSORS,
            generation: GenerationPolicy {
                max_attempts: MAX_ATTEMPTS,
                ..GenerationPolicy::default()
            },
            ..Settings::default()
        };
        let mut wanted = config::Database::new(database.url(), 8);
        wanted.pooler = database.pooler();
        let open = StorePorts::open(&wanted, &services, settings).unwrap();
        let key = StaticKey::secret(&SecretString::from(SECRET)).unwrap();
        let rules = TokenRules::default();
        let tokens = TokenVerifier::new(Arc::new(key), Algorithm::HS256, rules, clock.clone());
        let wake = Arc::new(Notify::new());
        let readiness = Readiness::default();
        let metrics = Metrics::default();
        open.watched_by(&metrics, &services.clock, None);
        let guard = Guard::new(tokens, SecretString::from(API_CODE)).unwrap();
        let proxies = TrustedProxies::parse(TRUSTED_PROXIES).unwrap();
        let console = Console::new(guard.sessions(proxies), rerun_console::respond);
        let state = Data::new(AppState {
            engine: open.engine.clone(),
            health: open.health,
            authenticator: Arc::new(guard.clone()),
            ids: services.ids,
            limits: Limits {
                max_import_bytes: MAX_IMPORT_BYTES,
                ..Limits::default()
            },
            intake: Intake::default(),
            rate_limit: RateLimit::OFF,
            wake: {
                let wake = Arc::clone(&wake);
                Arc::new(move || wake.notify_one())
            },
            waiters: rerun_http::Waiters::default(),
            readiness: readiness.clone(),
            metrics: metrics.clone(),
            traces: None,
        });
        let (address, serving) = Serving::start(&state, &console);
        Self {
            address,
            database,
            engine: open.engine,
            clock,
            readiness,
            metrics,
            store,
            generator: Arc::default(),
            wake,
            news: services.news,
            http: client().build().unwrap(),
            guard,
            state,
            serving: Mutex::new(vec![serving]),
        }
    }

    /// Somebody at a server of the same installation where people sign in at this provider.
    pub(crate) async fn signing_in_at(&self, issuer: &str) -> Api {
        let settings = OpenIdSettings {
            issuer: Issuer::parse(issuer).unwrap(),
            client_id: crate::provider::CLIENT.to_owned(),
            client_secret: None,
            scopes: "openid rerun".to_owned(),
        };
        let provider = Arc::new(HttpProvider::new(settings).unwrap());
        let (client, leeway) = (crate::provider::CLIENT, Duration::ZERO);
        let openid = OpenId::new(provider, issuer, client, leeway, self.clock.clone());
        let proxies = TrustedProxies::parse(TRUSTED_PROXIES).unwrap();
        let sessions = self.guard.sessions(proxies).with_openid(openid);
        let console = Console::new(sessions, rerun_console::respond);
        let (address, serving) = Serving::start(&self.state, &console);
        self.serving.lock().unwrap().push(serving);
        let api = Api::new(self.http.clone(), address);
        api.get("/health/live").await.ok();
        api
    }

    /// Somebody whose requests come from [`TRUSTED_PROXY_HOST`].
    pub(crate) fn through_proxy(&self) -> Api {
        let from: IpAddr = TRUSTED_PROXY_HOST.parse().unwrap();
        let http = client().local_address(from).build().unwrap();
        Api::new(http, self.address)
    }

    pub(crate) fn store(&self) -> Store {
        self.store
    }

    /// Somebody of an account that nobody else has.
    pub(crate) fn account(&self) -> Api {
        Api::new(self.http.clone(), self.address)
    }

    /// From now on nothing can be generated for these countries, and for all others it can.
    pub(crate) fn fail_for(&self, countries: &[&str]) {
        *self.generator.failing.lock().unwrap() = countries.iter().map(|c| (*c).into()).collect();
    }

    /// Counts in the metrics of the server.
    pub(crate) fn counted(&self) -> Arc<Counted> {
        Arc::new(Counted(self.metrics.clone()))
    }

    fn worker(&self, idle: Duration) -> Worker {
        Worker::new(
            self.engine.generation.clone(),
            self.generator.clone(),
            Arc::new(AtOnce),
            Arc::clone(&self.wake),
            WorkerOptions {
                concurrency: 4,
                batch: 100,
                idle,
            },
        )
        .observed_by(self.counted())
    }

    /// Waits until the worker has made the campaign's messages; returns the campaign's status.
    pub(crate) async fn generate(&self, api: &Api, campaign: &str) -> String {
        self.working(Duration::from_millis(5), async || {
            settled(api, campaign).await
        })
        .await
    }

    /// Has the schedules fired that are due; returns how many were.
    pub(crate) async fn fire(&self) -> usize {
        let schedules = &self.engine.schedules;
        let counted = Counted(self.metrics.clone());
        let mut times = 0;
        for due in schedules.lease(64).await.unwrap() {
            if let Some(fired) = schedules.fire(due).await.unwrap() {
                counted.fired(&fired);
                times += 1;
            }
        }
        times
    }

    /// Does something while the worker is at work, which by itself looks for work every `idle`.
    pub(crate) async fn working<T>(&self, idle: Duration, during: impl AsyncFnOnce() -> T) -> T {
        let (trigger, shutdown) = Shutdown::new();
        let worker = self.worker(idle);
        let during = async {
            let done = tokio::time::timeout(PATIENCE, during()).await;
            trigger.request();
            done.unwrap()
        };
        tokio::join!(worker.run(&shutdown), during).1
    }
}

fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        // Sooner than the server closes it: packing a body may take longer on a slow machine.
        .pool_idle_timeout(Duration::from_secs(1))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_danger_accept_invalid_certs(true)
}

/// Asks until the campaign has nothing left to generate; answers its status.
pub(crate) async fn settled(api: &Api, campaign: &str) -> String {
    loop {
        let found = api
            .ok("campaign/get", json!({ "campaign_id": campaign }))
            .await;
        let status = found["status"].as_str().unwrap();
        if status != "Processing" {
            return status.to_owned();
        }
        // Leaves the processor to the worker between two questions.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
