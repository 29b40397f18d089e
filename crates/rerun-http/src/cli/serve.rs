use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use jsonwebtoken::Algorithm;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::background::Background;
use super::{Failure, logging, worker};
use crate::auth::{Guard, StaticKey, TokenVerifier};
use crate::config::{ConfigError, JwtAlgorithm, Layers, Log, Otlp, Serve as Config};
use crate::metrics::Metrics;
use crate::store::{self, OpenStore, Surroundings};
use crate::system::Termination;
use crate::{AppState, Readiness};

pub(super) fn run(layers: &Layers) -> Result<(), Failure> {
    let config = Config::read(layers)?;
    let log = Log::read(layers)?;
    let _traces = logging::start_traced(&log, Otlp::read(layers)?.as_ref())?;
    actix_web::rt::System::new().block_on(async {
        let server = Server::start(&config)?;
        tracing::info!("listening on http://{}", server.address());
        server.until_ended().await
    })
}

/// The server, answering, with what generates in the same process.
pub(super) struct Server {
    address: SocketAddr,
    handle: ServerHandle,
    running: JoinHandle<std::io::Result<()>>,
    background: Background,
    readiness: Readiness,
    termination: Termination,
    grace: Duration,
}

impl Server {
    /// Starts it, to be called on an actix system.
    pub(super) fn start(config: &Config) -> Result<Self, Failure> {
        if config.auto_migrate {
            for name in store::migrate(&config.database.url)? {
                tracing::info!(name, "applied a migration");
            }
        }
        let around = Surroundings::default();
        let store = OpenStore::open(&config.database, &around, config.engine())?;
        // Before anybody can learn that the server is there and want it to end.
        let termination = Termination::listen()?;
        let wake = Arc::new(Notify::new());
        let readiness = Readiness::default();
        let metrics = Metrics::default();
        metrics.watch(&store, Arc::clone(&around.clock));
        let state = Data::new(AppState {
            engine: store.engine.clone(),
            health: Arc::clone(&store.health),
            guard: guard(config, &around)?,
            ids: Arc::clone(&around.ids),
            limits: config.limits,
            wake: {
                let wake = Arc::clone(&wake);
                Arc::new(move || wake.notify_one())
            },
            readiness: readiness.clone(),
            metrics: metrics.clone(),
        });
        let server = HttpServer::new(move || App::new().configure(crate::configure(state.clone())))
            .disable_signals()
            // An answer that goes out in two parts must not wait for the first to be confirmed.
            .tcp_nodelay(true)
            .shutdown_timeout(config.grace.as_secs())
            .bind(config.bind)
            .map_err(|source| Failure::Bind {
                address: config.bind,
                source,
            })?;
        let address = server.addrs().first().copied().unwrap_or(config.bind);
        let background = worker::background(&store, &around, &config.generating, &wake, metrics)?;
        let server = server.run();
        let handle = server.handle();
        let running = actix_web::rt::spawn(server);
        Ok(Self {
            address,
            handle,
            running,
            background,
            readiness,
            termination,
            grace: config.grace,
        })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the operating system wants the process to end, then ends well.
    pub(super) async fn until_ended(mut self) -> Result<(), Failure> {
        tokio::select! {
            signal = self.termination.signal() => {
                tracing::info!(signal, "ending");
                self.stop().await;
                Ok(())
            }
            _ = &mut self.running => Err(Failure::Ended("the server")),
            () = self.background.ended() => Err(Failure::Ended("the worker")),
        }
    }

    /// Ends: takes no more connections, finishes requests in flight, gives leases back. A signal
    /// ends the wait for that.
    pub(super) async fn stop(mut self) {
        self.readiness.set(false);
        self.background.request_end();
        let end = async {
            tokio::join!(self.handle.stop(true), self.background.finish(self.grace));
        };
        tokio::select! {
            () = end => tracing::info!("ended"),
            // The end of the process breaks off whatever is left.
            signal = self.termination.signal() => tracing::warn!(signal, "ending at once"),
        }
    }
}

fn guard(config: &Config, around: &Surroundings) -> Result<Guard, ConfigError> {
    let weak = |weak: crate::auth::WeakSetting| ConfigError::new(weak.to_string());
    let tokens = &config.tokens;
    let (algorithm, keys) = match tokens.algorithm {
        JwtAlgorithm::Hs256 => (
            Algorithm::HS256,
            StaticKey::secret(&tokens.secret).map_err(weak)?,
        ),
    };
    let clock = Arc::clone(&around.clock);
    let verifier = TokenVerifier::new(Arc::new(keys), algorithm, tokens.rules.clone(), clock);
    Guard::new(verifier, config.api_code.clone()).map_err(weak)
}
