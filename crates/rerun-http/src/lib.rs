#![doc = include_str!("../README.md")]

use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};

pub mod auth;
mod body;
mod csv_import;
mod endpoints;
mod error;
mod export;
mod extract;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod intake;
mod json;
mod media_type;
pub mod metrics;
mod observe;
mod openapi;
mod rate_limit;
mod request_id;
mod routes;
mod sniff;
mod state;
#[cfg(test)]
mod testing;
mod traces;
mod wire;

pub use endpoints::{ENDPOINTS, Endpoint};
pub use intake::Intake;
pub use rate_limit::RateLimit;
pub use routes::openapi;
pub use state::{AppState, Limits, Readiness, Wake};
pub use traces::{Completed, Traces};

/// Mounts every endpoint, with the answers for unknown paths and wrong methods, request ids and
/// the log of requests: `App::new().configure(rerun_http::configure(state))`.
pub fn configure(state: web::Data<AppState>) -> impl FnOnce(&mut ServiceConfig) {
    configured(state, routes::configure)
}

/// Mounts `/health/*` and `/metrics` alone, for a worker that serves nothing else.
pub fn configure_probes(state: web::Data<AppState>) -> impl FnOnce(&mut ServiceConfig) {
    configured(state, routes::configure_probes)
}

fn configured(
    state: web::Data<AppState>,
    routes: fn(&mut ServiceConfig),
) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config
            .app_data(state)
            .service(
                web::scope("")
                    .wrap(from_fn(observe::observe))
                    .configure(routes)
                    .default_service(web::to(routes::path_not_found)),
            )
            // For targets that are no path, as in `OPTIONS *`: no scope matches them.
            .default_service(web::to(routes::path_not_found).wrap(from_fn(observe::observe)));
    }
}
