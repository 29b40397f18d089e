use actix_web::http::header;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use crate::console::Pages;
use crate::error::Refusal;
use crate::wire::Answer;

/// `GET /console`: the page's own links are relative to the folder.
pub(super) async fn folder() -> Answer {
    Ok(HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, "console/"))
        .finish())
}

/// `GET /console/` and `GET /console/{file}`
pub(super) async fn file(name: Path<String>, pages: Data<Pages>, request: HttpRequest) -> Answer {
    let pages = **pages;
    Ok(pages(&name, &request).ok_or(Refusal::PathNotFound)?)
}
