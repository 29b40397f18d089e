use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use actix_web::{App, HttpRequest, HttpServer};
use async_trait::async_trait;
use rerun_core::ports::MessageGenerator;
use rerun_core::usecases::Settings;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::background::Background;
use super::{Failure, logging, refuse_pending};
use crate::Counted;
use crate::config::{Generating, Generator, Layers, Log, Otlp, Worker as Config};
use crate::store::{OpenStore, Surroundings};
use crate::system::Termination;
use crate::traces;
use rerun_generate::{Housekeeping, Worker, WorkerOptions};
use rerun_generate::{OpenAiGenerator, TemplateGenerator};
use rerun_http::auth::{Admitted, Authenticator, Denied};
use rerun_http::metrics::Metrics;
use rerun_http::{AppState, Intake, Limits, RateLimit, Readiness};

/// The most messages that a worker leases for a generator that answers at once.
const INSTANT_BATCH: u32 = 2_000;

/// How long a worker waits before it asks again when nothing was due.
const IDLE: Duration = Duration::from_millis(500);

/// What generates in this process, and keeps house.
pub(super) fn background(
    store: &OpenStore,
    around: &Surroundings,
    generating: &Generating,
    wake: &Arc<Notify>,
    metrics: Metrics,
) -> Result<Background, Failure> {
    let worker = if generating.workers == 0 {
        None
    } else {
        let (generator, batch) = generator(generating, around)?;
        let worker = Worker::new(
            store.engine.generation.clone(),
            generator,
            Arc::clone(&around.backoff),
            Arc::clone(wake),
            WorkerOptions {
                concurrency: generating.workers,
                batch,
                idle: IDLE,
            },
        );
        Some(worker.observed_by(Arc::new(Counted(metrics))))
    };
    let housekeeping = Housekeeping::new(Arc::clone(&store.responses), Arc::clone(&around.clock))
        .sweeping(store.engine.campaigns.clone());
    Ok(Background::start(worker, housekeeping)?)
}

/// The generator, with the most messages that are to be leased for it at once.
fn generator(
    generating: &Generating,
    around: &Surroundings,
) -> Result<(Arc<dyn MessageGenerator>, u32), Failure> {
    Ok(match &generating.generator {
        Generator::Template => (Arc::new(TemplateGenerator::default()), INSTANT_BATCH),
        Generator::OpenAi(settings) => {
            let clock = Arc::clone(&around.clock);
            let generator = OpenAiGenerator::new((**settings).clone(), clock)?;
            // Other workers are to find something to do, and a crash is to leave little behind.
            let batch = u32::try_from(generating.workers).unwrap_or(u32::MAX);
            (Arc::new(generator), batch)
        }
    })
}

/// What the log calls a generator, and its model.
pub(super) fn named(generator: &Generator) -> (&'static str, Option<&str>) {
    match generator {
        Generator::Template => ("template", None),
        Generator::OpenAi(settings) => ("openai", Some(settings.model.as_str())),
    }
}

pub(super) fn run(layers: &Layers) -> Result<(), Failure> {
    let config = Config::read(layers)?;
    let log = Log::read(layers)?;
    let _traces = logging::start_traced(&log, Otlp::read(layers)?.as_ref())?;
    refuse_pending(&config.database.url)?;
    let around = Surroundings::default();
    let settings = Settings {
        generation: config.generating.policy,
        ..Settings::default()
    };
    let store = OpenStore::open(&config.database, &around, settings)?;
    actix_web::rt::System::new().block_on(async {
        let mut termination = Termination::listen()?;
        let wake = Arc::new(Notify::new());
        let metrics = Metrics::default();
        store.watched_by(&metrics, &around.clock);
        let mut probes = match config.bind {
            None => None,
            Some(address) => Some(Probes::start(address, &store, &around, metrics.clone())?),
        };
        let mut background = background(&store, &around, &config.generating, &wake, metrics)?;
        let (generator, model) = named(&config.generating.generator);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            database = %config.database.url.shown(),
            generator,
            model,
            generator_calls = config.generating.workers,
            "generating{}",
            Probes::named(probes.as_ref())
        );
        tokio::select! {
            signal = termination.signal() => tracing::info!(signal, "ending"),
            () = background.ended() => return Err(Failure::Ended("the worker")),
            () = ended(&mut probes) => return Err(Failure::Ended("the probe server")),
        }
        if let Some(probes) = &probes {
            probes.readiness.set(false);
        }
        tokio::select! {
            () = background.finish(config.grace) => {}
            signal = termination.repeated() => return Err(Failure::BrokenOff(signal)),
        }
        if let Some(probes) = probes {
            probes.handle.stop(false).await;
        }
        tracing::info!("ended");
        Ok(())
    })
}

/// Ends when the probe server does; never without one.
async fn ended(probes: &mut Option<Probes>) {
    match probes {
        Some(probes) => drop((&mut probes.running).await),
        None => std::future::pending().await,
    }
}

/// Lets nobody in: what tells an operator how the worker is asks for no token.
struct Nobody;

#[async_trait(?Send)]
impl Authenticator for Nobody {
    async fn authenticate(&self, _: &HttpRequest) -> Result<Admitted, Denied> {
        Err(Denied::Unauthorized {
            reason: "nobody may sign in",
            absent: Vec::new(),
        })
    }
}

/// What tells an operator how the worker is: `/health/*` and `/metrics`, on a thread of its own.
struct Probes {
    readiness: Readiness,
    address: SocketAddr,
    handle: ServerHandle,
    running: JoinHandle<std::io::Result<()>>,
}

impl Probes {
    /// What the log says of them.
    fn named(probes: Option<&Self>) -> String {
        probes.map_or_else(String::new, |probes| {
            format!(", and listening on http://{}", probes.address)
        })
    }

    fn start(
        bind: SocketAddr,
        store: &OpenStore,
        around: &Surroundings,
        metrics: Metrics,
    ) -> Result<Self, Failure> {
        let readiness = Readiness::default();
        let state = Data::new(AppState {
            engine: store.engine.clone(),
            health: Arc::clone(&store.health),
            authenticator: Arc::new(Nobody),
            ids: Arc::clone(&around.ids),
            limits: Limits::default(),
            intake: Intake::default(),
            rate_limit: RateLimit::default(),
            wake: Arc::new(|| {}),
            waiters: rerun_http::Waiters::default(),
            readiness: readiness.clone(),
            metrics,
            traces: traces::of_requests(),
        });
        let app = move || App::new().configure(rerun_http::configure_probes(state.clone()));
        let server = HttpServer::new(app)
            .disable_signals()
            .workers(1)
            .bind(bind)
            .map_err(|source| Failure::Bind {
                address: bind,
                source,
            })?;
        let address = server.addrs().first().copied().unwrap_or(bind);
        let server = server.run();
        let handle = server.handle();
        let running = actix_web::rt::spawn(server);
        Ok(Self {
            readiness,
            address,
            handle,
            running,
        })
    }
}
