//! The endpoints, one file each: extract, call one use case, map what it answers.

mod audit;
mod campaign;
pub(crate) mod console;
mod customer;
mod customer_group;
mod event;
mod health;
mod messages;
mod metrics;
mod openapi;
mod params;
mod rerun;
mod schedule;
mod webhook;

use std::future::Future;

use actix_web::body::BoxBody;
use actix_web::dev::{HttpServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, Resource};
use rerun_core::deadline::{Deadline, Passed};
use rerun_wire::endpoints::{self, Endpoint};

use crate::answer::Answer;
use crate::error::{ApiError, Refusal};
use crate::state::State;

macro_rules! routes {
    ($($endpoint:ident = $method:ident $path:literal, in $($module:ident)::+;)+) => {
        /// Mounts every endpoint.
        pub(crate) fn configure(config: &mut ServiceConfig) {
            config$(.service(mounted(endpoints::$endpoint, $($module::)+ handle)))+;
        }

        /// Mounts the endpoints that are guarded, by what comes after `/v1` in their paths.
        pub(crate) fn configure_guarded(config: &mut ServiceConfig) {
            $(if let Some(path) = endpoints::$endpoint.path.strip_prefix("/v1") {
                let endpoint = Endpoint { path, ..endpoints::$endpoint };
                config.service(mounted(endpoint, $($module::)+ handle));
            })+
        }
    };
}

rerun_wire::each_endpoint!(routes);

/// Mounts what tells how the process is, and nothing else.
pub(crate) fn configure_probes(config: &mut ServiceConfig) {
    config
        .service(mounted(endpoints::HEALTH_LIVE, health::live::handle))
        .service(mounted(endpoints::HEALTH_READY, health::ready::handle))
        .service(mounted(endpoints::METRICS, metrics::handle));
}

/// Ends a request that takes too long. One whose write is under way is waited for, so that an
/// error always means that nothing was written.
async fn within_limits(
    state: State,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let import = |path: String| path.ends_with(endpoints::GROUP_IMPORT.path);
    let limit = if request.match_pattern().is_some_and(import) {
        state.limits.import_timeout
    } else {
        state.limits.request_timeout
    };
    let http = request.request().clone();
    Deadline::run(tokio::time::sleep(limit), next.call(request))
        .await
        .unwrap_or_else(|Passed| {
            let error = ApiError::from(Refusal::TimedOut { limit });
            Ok(ServiceResponse::from_err(error, http))
        })
}

fn mounted<H, A>(endpoint: Endpoint, handler: H) -> impl HttpServiceFactory + use<H, A>
where
    H: Handler<A, Output = Answer>,
    A: FromRequest + 'static,
{
    let resource = web::resource(endpoint.path);
    if endpoint.method == "GET" {
        let get = web::get().to(handler.clone());
        let head = web::head().to(handler);
        limited(resource.route(get).route(head), "GET, HEAD")
    } else {
        limited(resource.route(web::post().to(handler)), "POST")
    }
}

/// A resource with these methods, and the answer for all others.
fn limited(resource: Resource, allow: &'static str) -> impl HttpServiceFactory {
    resource
        .default_service(web::to(move || other_method(allow)))
        .wrap(from_fn(within_limits))
}

fn other_method(allow: &'static str) -> impl Future<Output = Answer> {
    std::future::ready(Err(Refusal::MethodNotAllowed { allow }.into()))
}

/// Answers every path that no endpoint has.
pub(crate) async fn path_not_found() -> Answer {
    Err(Refusal::PathNotFound.into())
}

#[cfg(test)]
mod tests;
