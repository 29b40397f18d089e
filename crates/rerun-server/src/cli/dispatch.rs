use std::sync::Arc;
use std::time::Duration;

use rerun_core::usecases::Settings;
use rerun_deliver::{Dispatcher, DispatcherOptions, NatsBroker, NatsOptions, Publisher};
use rerun_generate::Shutdown;
use rerun_metrics::Metrics;
use tokio_util::sync::CancellationToken;

use super::background::Background;
use super::probes::{self, Probes};
use super::{Failure, logging, refuse_pending};
use crate::Counted;
use crate::config::{Dispatch as Config, Layers, Log, Otlp, Webhooks};
use crate::store::{Services, StorePorts};
use crate::system::Termination;

/// How long the dispatcher waits before it looks again when nothing was new or due. Of events of this
/// process it hears at once.
const IDLE: Duration = Duration::from_millis(250);

/// How much longer than an attempt a lease lasts.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// The same for the publisher.
const PUBLISHER_IDLE: Duration = Duration::from_secs(1);

/// The stream that events are published in, if they are.
pub(super) fn stream(nats: Option<&NatsOptions>) -> Option<&str> {
    nats.map(|options| &*options.stream)
}

/// What delivers and publishes events in this process; `None` if it does neither.
pub(super) fn background(
    store: &StorePorts,
    services: &Services,
    webhooks: &Webhooks,
    nats: Option<&NatsOptions>,
    metrics: &Metrics,
) -> Result<Option<Background>, Failure> {
    let delivers = webhooks.delivers();
    let dispatcher = delivers.then(|| dispatcher(store, services, webhooks, metrics));
    let publisher = nats.map(|options| publisher(store, services, options, metrics));
    if dispatcher.is_none() && publisher.is_none() {
        return Ok(None);
    }
    let work = async move |shutdown: Shutdown| {
        let stop = CancellationToken::new();
        let delivering = async {
            if let Some(dispatcher) = &dispatcher {
                dispatcher.run(&stop).await;
            }
        };
        let publishing = async {
            if let Some(publisher) = &publisher {
                publisher.run(&stop).await;
            }
        };
        let ended = async {
            shutdown.requested().await;
            stop.cancel();
        };
        tokio::join!(delivering, publishing, ended);
    };
    Ok(Some(Background::start("the dispatcher", work)?))
}

fn dispatcher(
    store: &StorePorts,
    services: &Services,
    webhooks: &Webhooks,
    metrics: &Metrics,
) -> Dispatcher {
    let deliveries = store.engine.deliveries.clone();
    let dispatcher = Dispatcher::new(
        deliveries.leasing_for(webhooks.timeout + LEASE_MARGIN),
        Arc::clone(&services.webhooks.sender),
        Arc::clone(&services.backoff),
        Arc::clone(&services.news.dispatcher),
        DispatcherOptions {
            concurrency: webhooks.concurrency,
            idle: IDLE,
        },
    );
    dispatcher.observed_by(Arc::new(Counted(metrics.clone())))
}

fn publisher(
    store: &StorePorts,
    services: &Services,
    options: &NatsOptions,
    metrics: &Metrics,
) -> Publisher {
    let publisher = Publisher::new(
        store.engine.publications.clone(),
        Arc::new(NatsBroker::new(options.clone())),
        Arc::clone(&services.backoff),
        Arc::clone(&services.news.publisher),
        PUBLISHER_IDLE,
    );
    publisher.observed_by(Arc::new(Counted(metrics.clone())))
}

/// Ends when the background does, which it does unasked only by a panic; never without one.
pub(super) async fn ended(background: &mut Option<Background>) {
    match background {
        Some(background) => background.ended().await,
        None => std::future::pending().await,
    }
}

/// Waits for the end of the background, but not longer than `grace`.
pub(super) async fn finish(background: Option<Background>, grace: Duration) {
    if let Some(background) = background {
        background.finish(grace).await;
    }
}

pub(super) fn run(layers: &Layers) -> Result<(), Failure> {
    let config = Config::read(layers)?;
    let log = Log::read(layers)?;
    let _traces = logging::start_traced(&log, Otlp::read(layers)?.as_ref())?;
    refuse_pending(&config.database.url)?;
    let services = Services::with_webhooks(&config.webhooks)?;
    let store = StorePorts::open(&config.database, &services, Settings::default())?;
    actix_web::rt::System::new().block_on(async {
        let mut termination = Termination::listen()?;
        let metrics = Metrics::default();
        let stream = stream(config.nats.as_ref());
        store.watched_by(&metrics, &services.clock, stream);
        let mut probes = match config.bind {
            None => None,
            Some(address) => Some(Probes::start(address, &store, &services, metrics.clone())?),
        };
        let (webhooks, nats) = (&config.webhooks, config.nats.as_ref());
        let mut dispatcher = background(&store, &services, webhooks, nats, &metrics)?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            database = %config.database.url.shown(),
            deliveries = if webhooks.delivers() { webhooks.concurrency } else { 0 },
            stream,
            "delivering events{}",
            Probes::named(probes.as_ref())
        );
        tokio::select! {
            signal = termination.signal() => tracing::info!(signal, "ending"),
            () = ended(&mut dispatcher) => return Err(Failure::Ended("the dispatcher")),
            () = probes::ended(&mut probes) => return Err(Failure::Ended("the probe server")),
        }
        if let Some(probes) = &probes {
            probes.not_ready();
        }
        tokio::select! {
            () = finish(dispatcher, config.grace) => {}
            signal = termination.repeated() => return Err(Failure::BrokenOff(signal)),
        }
        if let Some(probes) = probes {
            probes.stop().await;
        }
        tracing::info!("ended");
        Ok(())
    })
}
