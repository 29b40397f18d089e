use std::sync::Arc;

use rerun_core::ports::MessageGenerator;
use rerun_core::usecases::Settings;
use tokio::sync::Notify;

use super::background::Background;
use super::{Failure, logging, refuse_pending};
use crate::config::{Generating, Generator, Layers, Log, Otlp, Worker as Config};
use crate::generator::{OpenAiGenerator, TemplateGenerator};
use crate::metrics::Metrics;
use crate::store::{OpenStore, Surroundings};
use crate::system::Termination;
use crate::worker::{Housekeeping, Worker, WorkerOptions};

/// The most messages that a worker leases for a generator that answers at once.
const INSTANT_BATCH: u32 = 2_000;

/// How long a worker waits before it asks again when nothing was due.
const IDLE: std::time::Duration = std::time::Duration::from_millis(500);

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
        Some(worker.counted_in(metrics))
    };
    let housekeeping = Housekeeping::new(Arc::clone(&store.responses), Arc::clone(&around.clock));
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
            let generator = OpenAiGenerator::new(settings.clone(), clock)?;
            // Other workers are to find something to do, and a crash is to leave little behind.
            let batch = u32::try_from(generating.workers).unwrap_or(u32::MAX);
            (Arc::new(generator), batch)
        }
    })
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        let mut termination = Termination::listen()?;
        let wake = Arc::new(Notify::new());
        let mut background = background(
            &store,
            &around,
            &config.generating,
            &wake,
            Metrics::default(),
        )?;
        tracing::info!(workers = config.generating.workers, "generating");
        tokio::select! {
            signal = termination.signal() => tracing::info!(signal, "ending"),
            () = background.ended() => return Err(Failure::Ended("the worker")),
        }
        tokio::select! {
            () = background.finish(config.grace) => {
                tracing::info!("ended");
                Ok(())
            }
            signal = termination.repeated() => Err(Failure::BrokenOff(signal)),
        }
    });
    runtime.shutdown_background();
    done
}
