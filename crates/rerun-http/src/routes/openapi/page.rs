use utoipa::openapi::schema::{Object, Type};

use super::part;
use crate::openapi::Docs;
use crate::wire::Answer;

/// Its places are relative, so that it works behind a proxy that adds a prefix.
const PAGE: &str = include_str!("page.html");

pub(crate) fn docs() -> Docs {
    Docs::open(
        "The API to read and to try",
        "Swagger UI over this document. Nothing is loaded from elsewhere.",
    )
    .answers_text(
        "text/html",
        Object::with_type(Type::String),
        "<!doctype html>…",
    )
    .page_headers()
}

/// `GET /docs`
pub(crate) async fn handle() -> Answer {
    Ok(part("text/html; charset=utf-8", PAGE))
}
