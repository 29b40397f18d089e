//! The endpoints, one file each: extract, call one use case, map what it answers.

mod audit;
mod campaign;
mod customer_group;
mod health;
mod messages;
mod metrics;
mod openapi;
mod rerun;

use std::future::Future;
use std::str::FromStr;

use actix_web::body::BoxBody;
use actix_web::dev::{HttpServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler};
use rerun_core::actor::Actor;
use rerun_core::deadline::{Deadline, Passed};
use rerun_core::error::{Error, Invalid};
use rerun_core::ids::{CampaignId, CustomerGroupId, RunNumber};
use rerun_core::usecases::PageQuery;
use uuid::Uuid;

use crate::error::{ApiError, Refusal};
use crate::extract::{Integer, State};
use crate::openapi::Docs;
use crate::request_id::{note_campaign, note_run};
use crate::wire::Answer;

/// An endpoint of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The method that it is called with. `GET` stands for `HEAD`, too.
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
}

impl Endpoint {
    const fn post(path: &'static str) -> Self {
        let method = "POST";
        Self { method, path }
    }

    const fn get(path: &'static str) -> Self {
        let method = "GET";
        Self { method, path }
    }

    /// The name that role rules have for it: its path without `/v1/`, `campaign/` and `rerun/`,
    /// with `_` for what else separates words. `None` for an endpoint that is open to all.
    #[must_use]
    pub fn action(&self) -> Option<String> {
        let path = self.path.strip_prefix("/v1/")?;
        let path = path.strip_prefix("campaign/").unwrap_or(path);
        let path = path.strip_prefix("rerun/").unwrap_or(path);
        Some(path.replace(['/', '-'], "_"))
    }
}

/// One table for the routes and for whoever must know all of them.
macro_rules! endpoints {
    ($($method:ident $path:literal => $($name:ident)::+;)+) => {
        /// Every endpoint that there is.
        pub const ENDPOINTS: &[Endpoint] = &[$(Endpoint::$method($path)),+];

        /// Mounts every endpoint.
        pub(crate) fn configure(config: &mut ServiceConfig) {
            config$(.service($method($path, $($name)::+)))+;
        }

        /// Every endpoint with what it says about itself.
        pub(crate) fn documented() -> impl Iterator<Item = (&'static Endpoint, Docs)> {
            const DOCS: [fn() -> Docs; ENDPOINTS.len()] = [$(endpoints!(@docs [] $($name)+)),+];
            ENDPOINTS.iter().zip(DOCS).map(|(endpoint, docs)| (endpoint, docs()))
        }
    };
    // Beside each `handle` there is a `docs`.
    (@docs [$($module:ident)+] handle) => { $($module::)+ docs };
    (@docs [$($module:ident)*] $next:ident $($name:ident)+) => {
        endpoints!(@docs [$($module)* $next] $($name)+)
    };
}

endpoints! {
    post "/v1/campaign/rerun/history" => rerun::history::handle;
    post "/v1/campaign/rerun/messages" => rerun::messages::handle;
    post "/v1/campaign/rerun/initiate" => rerun::initiate::handle;
    post "/v1/campaign/rerun/preview" => rerun::preview::handle;
    post "/v1/campaign/rerun/archive" => rerun::archive::handle;
    post "/v1/campaign/rerun/cancel" => rerun::cancel::handle;
    post "/v1/campaign/rerun/retry" => rerun::retry::handle;
    post "/v1/campaign/rerun/diff" => rerun::diff::handle;
    post "/v1/campaign/create" => campaign::create::handle;
    post "/v1/campaign/list" => campaign::list::handle;
    post "/v1/campaign/get" => campaign::get::handle;
    post "/v1/campaign/launch" => campaign::launch::handle;
    post "/v1/campaign/publish" => campaign::publish::handle;
    post "/v1/campaign/messages/review" => messages::review::handle;
    post "/v1/campaign/messages/edit" => messages::edit::handle;
    post "/v1/campaign/messages/regenerate" => messages::regenerate::handle;
    post "/v1/campaign/messages/export" => messages::export::handle;
    post "/v1/customer-group/create" => customer_group::create::handle;
    post "/v1/customer-group/import" => customer_group::import::handle;
    post "/v1/customer-group/list" => customer_group::list::handle;
    post "/v1/customer-group/get" => customer_group::get::handle;
    post "/v1/audit/list" => audit::list::handle;
    get "/health/live" => health::live::handle;
    get "/health/ready" => health::ready::handle;
    get "/" => openapi::root::handle;
    get "/openapi.json" => openapi::document::handle;
    get "/docs" => openapi::page::handle;
    get "/docs/" => openapi::slash::handle;
    get "/docs/{file}" => openapi::file::handle;
    get "/metrics" => metrics::handle;
}

/// Mounts what tells how the process is, and nothing else.
pub(crate) fn configure_probes(config: &mut ServiceConfig) {
    config
        .service(get("/health/live", health::live::handle))
        .service(get("/health/ready", health::ready::handle))
        .service(get("/metrics", metrics::handle));
}

/// The one endpoint that takes in files.
const IMPORT: &str = "/v1/customer-group/import";

/// Ends a request that takes too long. One whose write is under way is waited for, so that an
/// error always means that nothing was written.
async fn within_limits(
    state: State,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let limit = if request.match_pattern().as_deref() == Some(IMPORT) {
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

fn post<H, A>(path: &str, handler: H) -> impl HttpServiceFactory + use<H, A>
where
    H: Handler<A, Output = Answer>,
    A: FromRequest + 'static,
{
    web::resource(path)
        .route(web::post().to(handler))
        .default_service(web::to(|| other_method("POST")))
        .wrap(from_fn(within_limits))
}

fn get<H, A>(path: &str, handler: H) -> impl HttpServiceFactory + use<H, A>
where
    H: Handler<A, Output = Answer>,
    A: FromRequest + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(web::to(|| other_method("GET, HEAD")))
        .wrap(from_fn(within_limits))
}

fn other_method(allow: &'static str) -> impl Future<Output = Answer> {
    std::future::ready(Err(Refusal::MethodNotAllowed { allow }.into()))
}

/// Answers every path that no endpoint has.
pub(crate) async fn path_not_found() -> Answer {
    Err(Refusal::PathNotFound.into())
}

/// The id that a text which is no id stands for: one that no generator makes, since it has
/// neither version nor variant. So a malformed id takes the way of an unknown one, and the two
/// cannot be told apart.
const NOBODY: Uuid = Uuid::max();

fn campaign_id(text: &str) -> CampaignId {
    let id = CampaignId::parse(text);
    if let Some(id) = id {
        note_campaign(id);
    }
    id.unwrap_or(CampaignId::new(NOBODY))
}

fn customer_group_id(text: &str) -> CustomerGroupId {
    CustomerGroupId::parse(text).unwrap_or(CustomerGroupId::new(NOBODY))
}

/// The number of a run of a campaign. For a number that no run can have, the campaign must be
/// there before the run is missed.
async fn run_number(
    state: &State,
    caller: &Actor,
    campaign: CampaignId,
    number: Integer,
) -> Result<RunNumber, Error> {
    if let Some(number) = RunNumber::new(number.0) {
        note_run(number);
        return Ok(number);
    }
    state.engine.campaigns.get(caller, campaign).await?;
    Err(Error::RunNotFound)
}

fn page(limit: Option<Integer>, cursor: Option<String>) -> PageQuery {
    PageQuery {
        limit: limit.map(|limit| limit.0),
        cursor,
    }
}

/// One of the texts that a field takes.
fn one_of<T: FromStr<Err = Invalid>>(field: &str, text: &str) -> Result<T, Invalid> {
    text.parse()
        .map_err(|invalid| Invalid::new(format!("`{field}`: {invalid}")))
}

#[cfg(test)]
mod tests;
