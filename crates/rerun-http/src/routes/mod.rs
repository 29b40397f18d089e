//! The endpoints, one file each: extract, call one use case, map what it answers.

mod audit;
mod campaign;
mod customer_group;
mod health;
mod messages;
mod metrics;
mod rerun;

use std::future::Future;
use std::str::FromStr;

use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, Resource};
use rerun_core::audit::Caller;
use rerun_core::error::{Error, Invalid};
use rerun_core::ids::{CampaignId, CustomerGroupId, RunNumber};
use rerun_core::usecases::PageQuery;
use uuid::Uuid;

use crate::error::Refusal;
use crate::extract::{Integer, State};
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
}

/// One table for the routes and for whoever must know all of them.
macro_rules! endpoints {
    ($($method:ident $path:literal => $handler:path;)+) => {
        /// Every endpoint that there is.
        pub const ENDPOINTS: &[Endpoint] = &[$(Endpoint::$method($path)),+];

        /// Mounts every endpoint.
        pub(crate) fn configure(config: &mut ServiceConfig) {
            config$(.service($method($path, $handler)))+;
        }
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
    get "/metrics" => metrics::handle;
}

fn post<H, A>(path: &str, handler: H) -> Resource
where
    H: Handler<A, Output = Answer>,
    A: FromRequest + 'static,
{
    web::resource(path)
        .route(web::post().to(handler))
        .default_service(web::to(|| other_method("POST")))
}

fn get<H, A>(path: &str, handler: H) -> Resource
where
    H: Handler<A, Output = Answer>,
    A: FromRequest + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(web::to(|| other_method("GET, HEAD")))
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
    caller: &Caller,
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
