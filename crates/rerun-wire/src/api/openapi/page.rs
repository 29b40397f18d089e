use utoipa::openapi::schema::{Object, Type};

use crate::openapi::Docs;

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
