use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use jsonwebtoken::Algorithm;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::background::Background;
use super::{Failure, dispatch, logging, refuse_pending, worker};
use crate::Counted;
use crate::config::{ConfigError, Keys, Layers, Log, Otlp, Serve as Config};
use crate::openid::HttpProvider;
use crate::store::{self, Services, StorePorts};
use crate::system::Termination;
use crate::traces;
use rerun_auth::{Guard, KeyFile, KeySource, OpenId, StaticKey, TokenVerifier, WeakSetting};
use rerun_generate::Scheduler;
use rerun_http::{AppState, Console, Intake, Readiness};
use rerun_metrics::Metrics;

/// How many connections wait to be taken over, at most.
const BACKLOG: i32 = 1024;

pub(super) fn run(layers: &Layers) -> Result<(), Failure> {
    let config = Config::read(layers)?;
    let log = Log::read(layers)?;
    let _traces = logging::start_traced(&log, Otlp::read(layers)?.as_ref())?;
    actix_web::rt::System::new().block_on(async {
        let server = Server::start(&config)?;
        let (generator, model) = worker::named(&config.generating.generator);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            database = %config.database.url.shown(),
            generator,
            model,
            generator_calls = config.generating.workers,
            "listening on http://{}",
            server.address()
        );
        server.until_ended().await
    })
}

/// The server, answering, with what generates in the same process.
pub(super) struct Server {
    address: SocketAddr,
    handle: ServerHandle,
    running: JoinHandle<std::io::Result<()>>,
    background: Background,
    dispatcher: Option<Background>,
    readiness: Readiness,
    termination: Termination,
    drain: Duration,
    grace: Duration,
}

impl Server {
    /// Starts it, to be called on an actix system.
    pub(super) fn start(config: &Config) -> Result<Self, Failure> {
        let mut services = Services::with_webhooks(&config.webhooks)?;
        services.permissions = Arc::new(config.roles.clone());
        // Before anything of the database changes.
        let guard = guard(config, &services)?;
        if config.auto_migrate {
            for name in store::migrate(&config.database.url)? {
                tracing::info!(name, "applied a migration");
            }
        } else {
            refuse_pending(&config.database.url)?;
        }
        let console = config.console.then(|| console(config, &guard, &services));
        let console = console.transpose()?;
        let store = StorePorts::open(&config.database, &services, config.engine())?;
        // Before anybody can learn that the server is there and want it to end.
        let termination = Termination::listen()?;
        let wake = Arc::new(Notify::new());
        let readiness = Readiness::default();
        let metrics = Metrics::default();
        store.watched_by(
            &metrics,
            &services.clock,
            dispatch::stream(config.nats.as_ref()),
        );
        let state = Data::new(AppState {
            engine: store.engine.clone(),
            health: Arc::clone(&store.health),
            authenticator: Arc::new(guard),
            ids: Arc::clone(&services.ids),
            limits: config.limits,
            intake: Intake::new(config.max_inflight_body_bytes),
            rate_limit: config.rate_limit.clone(),
            wake: {
                let wake = Arc::clone(&wake);
                Arc::new(move || wake.notify_one())
            },
            waiters: rerun_http::Waiters::default(),
            readiness: readiness.clone(),
            metrics: metrics.clone(),
            traces: traces::of_requests(),
        });
        let connections = config.connections;
        let (threads, most) = divided(connections.most);
        let server = HttpServer::new(move || match &console {
            Some(console) => App::new().configure(rerun_http::configure_with_console(
                state.clone(),
                console.clone(),
            )),
            None => App::new().configure(rerun_http::configure(state.clone())),
        })
        .disable_signals()
        // An answer that goes out in two parts must not wait for the first to be confirmed.
        .tcp_nodelay(true)
        .workers(threads)
        .max_connections(most)
        .client_request_timeout(connections.header_timeout)
        .keep_alive(connections.keep_alive)
        .shutdown_timeout(config.grace.as_secs())
        .listen(listener(config)?)?;
        let address = server.addrs().first().copied().unwrap_or(config.bind);
        let dispatcher = dispatch::background(
            &store,
            &services,
            &config.webhooks,
            config.nats.as_ref(),
            &metrics,
        )?;
        let scheduler = config.scheduling.fires.then(|| {
            let observer = Arc::new(Counted(metrics.clone()));
            Scheduler::new(store.engine.schedules.clone()).observed_by(observer)
        });
        let generating = &config.generating;
        let background =
            worker::background(&store, &services, generating, &wake, metrics, scheduler)?;
        let server = server.run();
        let handle = server.handle();
        let running = actix_web::rt::spawn(server);
        Ok(Self {
            address,
            handle,
            running,
            background,
            dispatcher,
            readiness,
            termination,
            drain: config.drain,
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
                // Whoever presses Ctrl-C is at a terminal, and no load balancer is in between.
                let drain = if signal == "SIGTERM" { self.drain } else { Duration::ZERO };
                self.stop(drain).await
            }
            _ = &mut self.running => Err(Failure::Ended("the server")),
            () = self.background.ended() => Err(Failure::Ended("the worker")),
            () = dispatch::ended(&mut self.dispatcher) => Err(Failure::Ended("the dispatcher")),
        }
    }

    /// Ends: says that it is not ready, goes on for as long as `drain` says, takes no more
    /// connections, finishes requests in flight, gives leases back. A signal ends the wait for
    /// that.
    pub(super) async fn stop(mut self, drain: Duration) -> Result<(), Failure> {
        self.readiness.set(false);
        self.background.request_end();
        if let Some(dispatcher) = &self.dispatcher {
            dispatcher.request_end();
        }
        let end = async {
            tokio::time::sleep(drain).await;
            tokio::join!(
                self.handle.stop(true),
                self.background.finish(self.grace),
                dispatch::finish(self.dispatcher, self.grace),
            );
        };
        tokio::select! {
            () = end => {
                tracing::info!("ended");
                Ok(())
            }
            // The end of the process breaks off whatever is left.
            signal = self.termination.repeated() => Err(Failure::BrokenOff(signal)),
        }
    }
}

/// The socket that clients connect to.
fn listener(config: &Config) -> Result<TcpListener, Failure> {
    let address = config.bind;
    let listening = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // A server that starts again takes its port back at once.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        // The framework waits for ever for a client to take its answer. Every connection inherits
        // this; the kernel then ends one that takes nothing, and what is held for it goes.
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(config.connections.write_timeout))?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listening().map_err(|source| Failure::Bind { address, source })
}

/// The threads that serve, and how many connections each may have.
fn divided(connections: u32) -> (usize, usize) {
    let connections = usize::try_from(connections).unwrap_or(usize::MAX);
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = threads.min(connections);
    (threads, connections.div_ceil(threads))
}

/// The console, with the way to sign in that the settings name.
fn console(config: &Config, guard: &Guard, services: &Services) -> Result<Console, Failure> {
    let mut sessions = guard.sessions(config.trusted_proxies.clone());
    if let Some(settings) = &config.openid {
        let openid = OpenId::new(
            Arc::new(HttpProvider::new(settings.clone())?),
            settings.issuer.as_str(),
            &settings.client_id,
            config.tokens.rules.leeway,
            Arc::clone(&services.clock),
        );
        sessions = sessions.with_openid(openid);
    }
    Ok(Console::new(sessions, rerun_console::respond))
}

fn guard(config: &Config, services: &Services) -> Result<Guard, ConfigError> {
    let weak = |weak: WeakSetting| ConfigError::new(weak.to_string());
    let (algorithm, keys): (_, Arc<dyn KeySource>) = match &config.tokens.keys {
        Keys::Secrets { current, previous } => {
            let secrets = [Some(current), previous.as_ref()].into_iter().flatten();
            let keys = StaticKey::secrets(secrets).map_err(weak)?;
            (Algorithm::HS256, Arc::new(keys))
        }
        Keys::File {
            algorithm,
            format,
            path,
            place,
        } => {
            let keys = KeyFile::open(path, *format, *algorithm).map_err(|error| {
                let path = path.display();
                ConfigError::new(format!("{place} is \"{path}\", of no use as keys: {error}"))
            })?;
            ((*algorithm).into(), Arc::new(keys))
        }
    };
    let clock = Arc::clone(&services.clock);
    let tokens = TokenVerifier::new(keys, algorithm, config.tokens.rules.clone(), clock);
    let mut guard = Guard::new(tokens, config.api_code.clone()).map_err(weak)?;
    if let Some(previous) = &config.api_code_previous {
        guard = guard.or_api_code(previous).map_err(weak)?;
    }
    Ok(guard.with_roles(config.roles.clone()))
}
