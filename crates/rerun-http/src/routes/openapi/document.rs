use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Data;
use utoipa::openapi::schema::{Object, Type};

use crate::openapi::Docs;
use crate::wire::Answer;

/// Returns the document. It comes from the table of routes, which knows this file.
pub(crate) struct Document(pub(crate) fn() -> &'static str);

pub(crate) fn docs() -> Docs {
    Docs::open(
        "The OpenAPI document",
        "This document: OpenAPI 3.1, for generators of clients and for tools.",
    )
    .answers_json(Object::with_type(Type::Object))
    .header("cache-control", "Always asks again.", "no-cache")
}

/// `GET /openapi.json`
pub(crate) async fn handle(document: Data<Document>) -> Answer {
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body((document.0)()))
}
