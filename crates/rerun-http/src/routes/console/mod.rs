//! The console: its pages, and the session of a browser. The OpenAPI document leaves them out,
//! because programs call `/v1`.

mod openid;
mod pages;
mod session;

use actix_web::web::{self, ServiceConfig};

pub use pages::Pages;

use super::limited;
use rerun_wire::endpoints::OPENID_CALLBACK;

/// Mounts the session: sign in, who is signed in, sign out.
pub(crate) fn configure_session(config: &mut ServiceConfig) {
    let session = web::resource("")
        .route(web::post().to(session::start))
        .route(web::get().to(session::show))
        .route(web::delete().to(session::end));
    config.service(limited(session, "POST, GET, DELETE"));
}

/// Mounts the sign-in at an OpenID provider: whether there is one, the way there, and the way back.
pub(crate) fn configure_openid(config: &mut ServiceConfig) {
    let show = web::resource("").route(web::get().to(openid::show));
    let start = web::resource("/start").route(web::get().to(openid::start));
    let finish = web::resource(OPENID_CALLBACK).route(web::get().to(openid::finish));
    config
        .service(limited(show, "GET"))
        .service(limited(start, "GET"))
        .service(limited(finish, "GET"));
}

/// Mounts the files of the page.
pub(crate) fn configure_pages(config: &mut ServiceConfig) {
    let folder = web::resource("")
        .route(web::get().to(pages::folder))
        .route(web::head().to(pages::folder));
    let file = web::resource("/{file:[^/]*}")
        .route(web::get().to(pages::file))
        .route(web::head().to(pages::file));
    config
        .service(limited(folder, "GET, HEAD"))
        .service(limited(file, "GET, HEAD"));
}
