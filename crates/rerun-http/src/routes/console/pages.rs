use actix_web::http::header;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use crate::answer::Answer;
use crate::error::Refusal;

/// Returns the response for the file with this name, or `None` if the console has no such file. The
/// name of the page itself is empty.
pub type Pages = fn(name: &str, request: &HttpRequest) -> Option<HttpResponse>;

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
