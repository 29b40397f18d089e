use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use actix_web::{App, HttpRequest, HttpServer};
use async_trait::async_trait;
use tokio::task::JoinHandle;

use super::Failure;
use crate::store::{Services, StorePorts};
use crate::traces;
use rerun_auth::{Admitted, Denied};
use rerun_http::{AppState, Authenticator, Intake, Limits, RateLimit, Readiness};
use rerun_metrics::Metrics;

/// Ends when the probe server does; never without one.
pub(super) async fn ended(probes: &mut Option<Probes>) {
    match probes {
        Some(probes) => drop((&mut probes.running).await),
        None => std::future::pending().await,
    }
}

/// Lets nobody in: what tells an operator how a process is asks for no token.
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

/// What tells an operator how a process without endpoints is: `/health/*` and `/metrics`, on a thread of its own.
pub(super) struct Probes {
    readiness: Readiness,
    address: SocketAddr,
    handle: ServerHandle,
    running: JoinHandle<std::io::Result<()>>,
}

impl Probes {
    /// What the log says of them.
    pub(super) fn named(probes: Option<&Self>) -> String {
        probes.map_or_else(String::new, |probes| {
            format!(", and listening on http://{}", probes.address)
        })
    }

    pub(super) fn start(
        bind: SocketAddr,
        store: &StorePorts,
        services: &Services,
        metrics: Metrics,
    ) -> Result<Self, Failure> {
        let readiness = Readiness::default();
        let state = Data::new(AppState {
            engine: store.engine.clone(),
            health: Arc::clone(&store.health),
            authenticator: Arc::new(Nobody),
            ids: Arc::clone(&services.ids),
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

    /// Says that the process is not ready, because it ends.
    pub(super) fn not_ready(&self) {
        self.readiness.set(false);
    }

    /// Ends, without waiting for anybody who asks.
    pub(super) async fn stop(self) {
        self.handle.stop(false).await;
    }
}
