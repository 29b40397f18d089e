use actix_web::HttpResponse;
use actix_web::http::header;
use utoipa::openapi::schema::{Object, Type};

use crate::openapi::Docs;
use crate::wire::Answer;

/// Relative, so that it works behind a proxy that adds a prefix.
const PAGE: &str = "docs";
/// For clients that do not follow redirects.
const TEXT: &str = "The API is described at /docs, and as a document at /openapi.json.\n";

pub(crate) fn docs() -> Docs {
    Docs::open(
        "To the page",
        "There is nothing at the root; the page about the API is at `/docs`.",
    )
    .answers_text("text/plain", Object::with_type(Type::String), TEXT)
    .answers_status(302)
    .header("location", "Where the page is.", PAGE)
}

/// `GET /`
pub(crate) async fn handle() -> Answer {
    Ok(HttpResponse::Found()
        .insert_header((header::LOCATION, PAGE))
        .content_type("text/plain; charset=utf-8")
        .body(TEXT))
}
