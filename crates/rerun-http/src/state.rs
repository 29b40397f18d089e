//! What the endpoints work with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use rerun_core::ports::{HealthCheck, IdGenerator};
use rerun_core::usecases::Engine;

use crate::auth::Authenticator;
use crate::feed::Waiters;
use crate::intake::Intake;
use crate::rate_limit::RateLimit;
use crate::readiness::Readiness;
use crate::traces::Traces;
use rerun_metrics::Metrics;

/// Bounds of what a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest JSON body, in bytes.
    pub max_body_bytes: u64,
    /// The largest body of an import, in bytes.
    pub max_import_bytes: u64,
    /// How long a request may take, imports apart, up to the first byte of its answer.
    pub request_timeout: Duration,
    /// How long an import may take.
    pub import_timeout: Duration,
    /// The longest pause between two pieces of a body.
    pub body_timeout: Duration,
}

impl Default for Limits {
    /// 2 MiB and 1 GiB; half a minute, an hour, and 20 seconds.
    fn default() -> Self {
        Self {
            max_body_bytes: 2 << 20,
            max_import_bytes: 1 << 30,
            request_timeout: Duration::from_secs(30),
            import_timeout: Duration::from_hours(1),
            body_timeout: Duration::from_secs(20),
        }
    }
}

/// Called after messages were queued for generation, so that a worker looks at once.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What the endpoints work with.
#[derive(Clone)]
pub struct AppState {
    /// The use cases.
    pub engine: Engine,
    /// Whether the store can be reached.
    pub health: Arc<dyn HealthCheck>,
    /// Says who calls: a [`Guard`](rerun_auth::Guard), or another way to sign in.
    pub authenticator: Arc<dyn Authenticator>,
    /// Makes the ids of requests that come without one.
    pub ids: Arc<dyn IdGenerator>,
    /// Bounds of request bodies.
    pub limits: Limits,
    /// Room for the bodies in flight.
    pub intake: Intake,
    /// How many requests an account may send.
    pub rate_limit: RateLimit,
    /// Wakes the worker.
    pub wake: Wake,
    /// The requests that wait for events.
    pub waiters: Waiters,
    /// Whether the server takes requests.
    pub readiness: Readiness,
    /// What is counted.
    pub metrics: Metrics,
    /// Where the spans of requests are sent.
    pub traces: Option<Arc<dyn Traces>>,
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState")
            .field("limits", &self.limits)
            .field("rate_limit", &self.rate_limit)
            .field("readiness", &self.readiness)
            .finish_non_exhaustive()
    }
}

/// What handlers share.
pub(crate) type State = web::Data<AppState>;
