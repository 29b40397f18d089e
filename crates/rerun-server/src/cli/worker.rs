use std::sync::Arc;
use std::time::Duration;

use rerun_core::ports::MessageGenerator;
use rerun_core::usecases::Settings;
use tokio::sync::Notify;

use super::background::Background;
use super::probes::{self, Probes};
use super::{Failure, logging, refuse_pending};
use crate::Counted;
use crate::config::{Generating, Generator, Layers, Log, Otlp, Worker as Config};
use crate::store::{Services, StorePorts};
use crate::system::Termination;
use rerun_generate::{Housekeeping, Previews, Scheduler, Shutdown, Worker, WorkerOptions};
use rerun_generate::{OpenAiGenerator, TemplateGenerator};
use rerun_metrics::Metrics;

/// The most messages that a worker leases for a generator that answers at once.
const INSTANT_BATCH: u32 = 2_000;

/// How long a worker waits before it asks again when nothing was due.
const IDLE: Duration = Duration::from_millis(500);

/// What generates in this process, keeps house, and previews reruns after imports.
pub(super) fn background(
    store: &StorePorts,
    services: &Services,
    generating: &Generating,
    wake: &Arc<Notify>,
    metrics: Metrics,
    scheduler: Option<Scheduler>,
) -> Result<Background, Failure> {
    let observer = Arc::new(Counted(metrics));
    let worker = if generating.workers == 0 {
        None
    } else {
        let (generator, batch) = generator(generating, services)?;
        let worker = Worker::new(
            store.engine.generation.clone(),
            generator,
            Arc::clone(&services.backoff),
            Arc::clone(wake),
            WorkerOptions {
                concurrency: generating.workers,
                batch,
                idle: IDLE,
            },
        );
        let worker = if store.one_writer {
            worker.with_one_writer()
        } else {
            worker
        };
        Some(worker.observed_by(observer.clone()))
    };
    let previews = Previews::new(store.engine.rerun_suggestions.clone()).observed_by(observer);
    let housekeeping = Housekeeping::new(Arc::clone(&store.responses), Arc::clone(&services.clock))
        .sweeping(store.engine.campaigns.clone());
    let work = async move |shutdown: Shutdown| {
        let generation = async {
            if let Some(worker) = &worker {
                worker.run(&shutdown).await;
            }
        };
        let firing = async {
            if let Some(scheduler) = &scheduler {
                scheduler.run(&shutdown).await;
            }
        };
        tokio::join!(
            generation,
            firing,
            housekeeping.run(&shutdown),
            previews.run(&shutdown)
        );
    };
    Ok(Background::start("the worker", work)?)
}

/// The generator, with the most messages that are to be leased for it at once.
fn generator(
    generating: &Generating,
    services: &Services,
) -> Result<(Arc<dyn MessageGenerator>, u32), Failure> {
    Ok(match &generating.generator {
        Generator::Template => (Arc::new(TemplateGenerator::default()), INSTANT_BATCH),
        Generator::OpenAi(settings) => {
            let clock = Arc::clone(&services.clock);
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
    let services = Services::default();
    let settings = Settings {
        generation: config.generating.policy,
        ..Settings::default()
    };
    let store = StorePorts::open(&config.database, &services, settings)?;
    actix_web::rt::System::new().block_on(async {
        let mut termination = Termination::listen()?;
        let wake = Arc::new(Notify::new());
        let metrics = Metrics::default();
        store.watched_by(&metrics, &services.clock, None);
        let mut probes = match config.bind {
            None => None,
            Some(address) => Some(Probes::start(address, &store, &services, metrics.clone())?),
        };
        let mut background =
            background(&store, &services, &config.generating, &wake, metrics, None)?;
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
            () = probes::ended(&mut probes) => return Err(Failure::Ended("the probe server")),
        }
        if let Some(probes) = &probes {
            probes.not_ready();
        }
        tokio::select! {
            () = background.finish(config.grace) => {}
            signal = termination.repeated() => return Err(Failure::BrokenOff(signal)),
        }
        if let Some(probes) = probes {
            probes.stop().await;
        }
        tracing::info!("ended");
        Ok(())
    })
}
