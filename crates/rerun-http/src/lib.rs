#![doc = include_str!("../README.md")]

use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};

mod answer;
mod auth;
mod body;
mod console;
mod error;
mod export;
mod extract;
mod feed;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod intake;
mod json;
mod media_type;
mod messages_file;
mod observe;
mod rate_limit;
mod readiness;
mod request_id;
mod routes;
mod spool;
mod state;
#[cfg(test)]
mod testing;
mod traces;

pub use auth::Authenticator;
pub use console::Console;
pub use feed::Waiters;
pub use intake::Intake;
pub use messages_file::MessagesFile;
pub use rate_limit::RateLimit;
pub use readiness::Readiness;
pub use routes::console::Pages;
pub use state::{AppState, Limits, Wake};
pub use traces::{Completed, Traces};

/// Mounts every endpoint, with the answers for unknown paths and wrong methods, request ids and
/// the log of requests: `App::new().configure(rerun_http::configure(state))`.
pub fn configure(state: web::Data<AppState>) -> impl FnOnce(&mut ServiceConfig) {
    configured(state, routes::configure)
}

/// Mounts every endpoint, and the console: its pages, its sessions, and the endpoints of `/v1` once
/// more under `/console/v1`, behind the session's cookie.
pub fn configure_with_console(
    state: web::Data<AppState>,
    console: Console,
) -> impl FnOnce(&mut ServiceConfig) {
    let behind_the_cookie = state.clone();
    configured(state, move |config| {
        console.configure(&behind_the_cookie, config);
        routes::configure(config);
    })
}

/// Mounts `/health/*` and `/metrics` alone, for a worker that serves nothing else.
pub fn configure_probes(state: web::Data<AppState>) -> impl FnOnce(&mut ServiceConfig) {
    configured(state, routes::configure_probes)
}

fn configured(
    state: web::Data<AppState>,
    routes: impl FnOnce(&mut ServiceConfig),
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
