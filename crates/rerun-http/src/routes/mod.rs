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
use rerun_wire::endpoints::{self, ENDPOINTS, Endpoint};

use crate::answer::Answer;
use crate::error::{ApiError, Refusal};
use crate::state::State;

/// For each endpoint the module with its `handle`.
macro_rules! routes {
    ($($endpoint:ident => $($module:ident)::+;)+) => {
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

        // As many as there are endpoints: none is left out.
        const _: [Endpoint; ENDPOINTS.len()] = [$(endpoints::$endpoint),+];
    };
}

routes! {
    RERUN_HISTORY => rerun::history;
    RERUN_MESSAGES => rerun::messages;
    RERUN_INITIATE => rerun::initiate;
    RERUN_PREVIEW => rerun::preview;
    RERUN_ARCHIVE => rerun::archive;
    RERUN_CANCEL => rerun::cancel;
    RERUN_RETRY => rerun::retry;
    RERUN_DIFF => rerun::diff;
    CAMPAIGN_CREATE => campaign::create;
    CAMPAIGN_UPDATE => campaign::update;
    SEGMENTATION_UPDATE => campaign::segmentation;
    CAMPAIGN_DELETE => campaign::delete;
    TEMPLATE_PREVIEW => campaign::template_preview;
    CAMPAIGN_LIST => campaign::list;
    CAMPAIGN_GET => campaign::get;
    CAMPAIGN_LAUNCH => campaign::launch;
    CAMPAIGN_PUBLISH => campaign::publish;
    MESSAGES_REVIEW => messages::review;
    MESSAGES_EDIT => messages::edit;
    MESSAGES_ADOPT => messages::adopt;
    MESSAGES_REGENERATE => messages::regenerate;
    MESSAGES_EXPORT => messages::export;
    RECIPIENTS_EXPORT => messages::recipients;
    GROUP_CREATE => customer_group::create;
    GROUP_UPDATE => customer_group::update;
    GROUP_DELETE => customer_group::delete;
    GROUP_IMPORT => customer_group::import;
    GROUP_LIST => customer_group::list;
    GROUP_GET => customer_group::get;
    CUSTOMER_LIST => customer::list;
    CUSTOMER_DELETE => customer::delete;
    CUSTOMER_ERASE => customer::erase;
    SCHEDULE_CREATE => schedule::create;
    SCHEDULE_LIST => schedule::list;
    SCHEDULE_GET => schedule::get;
    SCHEDULE_UPDATE => schedule::update;
    SCHEDULE_DELETE => schedule::delete;
    SCHEDULE_PAUSE => schedule::pause;
    SCHEDULE_RESUME => schedule::resume;
    SCHEDULE_PREVIEW => schedule::preview;
    SCHEDULE_TRIGGER => schedule::trigger;
    SCHEDULE_FIRINGS => schedule::firings;
    AUDIT_LIST => audit::list;
    EVENT_LIST => event::list;
    WEBHOOK_CREATE => webhook::create;
    WEBHOOK_LIST => webhook::list;
    WEBHOOK_GET => webhook::get;
    WEBHOOK_UPDATE => webhook::update;
    WEBHOOK_DELETE => webhook::delete;
    WEBHOOK_ROTATE_SECRET => webhook::rotate_secret;
    WEBHOOK_TEST => webhook::test;
    WEBHOOK_DELIVERIES => webhook::deliveries;
    WEBHOOK_REPLAY => webhook::replay;
    HEALTH_LIVE => health::live;
    HEALTH_READY => health::ready;
    ROOT => openapi::root;
    OPENAPI_JSON => openapi::document;
    DOCS => openapi::page;
    DOCS_SLASH => openapi::slash;
    DOCS_FILE => openapi::file;
    METRICS => metrics;
}

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
