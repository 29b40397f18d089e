//! The console's place among the endpoints.

use std::fmt;
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Data, ServiceConfig};

use crate::auth::RequestHead;
use crate::error::ApiError;
use crate::routes;
use crate::routes::console::Pages;
use crate::state::AppState;
use rerun_auth::{Sessions, same_origin};
use rerun_wire::endpoints::{CONSOLE, OPENID};

/// The console in the browser: who may sign in, and what the page is made of.
#[derive(Clone)]
pub struct Console {
    sessions: Arc<Sessions>,
    pages: Pages,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

impl Console {
    /// Serves these pages to everybody, and the API to those who have signed in.
    #[must_use]
    pub fn new(sessions: Sessions, pages: Pages) -> Self {
        let sessions = Arc::new(sessions);
        Self { sessions, pages }
    }

    pub(crate) fn configure(self, state: &Data<AppState>, config: &mut ServiceConfig) {
        let Self { sessions, pages } = self;
        // Handlers find who calls by what is nearest: in here the session, outside the guard.
        let state = AppState {
            authenticator: sessions.clone(),
            ..AppState::clone(state)
        };
        let session = web::scope("/session")
            .wrap(from_fn(refuse_other_sites))
            .configure(routes::console::configure_session)
            .default_service(web::to(routes::path_not_found));
        let endpoints = web::scope("/v1")
            .wrap(from_fn(refuse_other_sites))
            .configure(routes::configure_guarded)
            .default_service(web::to(routes::path_not_found));
        // Anybody may open these: the provider sends the browser here from its own site.
        let openid = web::scope(OPENID.trim_start_matches(CONSOLE))
            .configure(routes::console::configure_openid)
            .default_service(web::to(routes::path_not_found));
        let console = web::scope(CONSOLE)
            .app_data(Data::new(state))
            .app_data(Data::from(sessions))
            .app_data(Data::new(pages))
            .service(session)
            .service(endpoints)
            .service(openid)
            .configure(routes::console::configure_pages)
            .default_service(web::to(routes::path_not_found));
        config.service(console);
    }
}

async fn refuse_other_sites(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    match same_origin(&RequestHead(request.request())) {
        Ok(()) => next.call(request).await,
        Err(denied) => {
            let (request, _) = request.into_parts();
            Ok(ServiceResponse::from_err(ApiError::from(denied), request))
        }
    }
}
