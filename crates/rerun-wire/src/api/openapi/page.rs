use utoipa::openapi::schema::{Object, Type};

use crate::openapi::Docs;

pub(crate) fn docs() -> Docs {
    Docs::open(
        "Get the documentation page",
        "Returns a page on which people can read about the API and try it: Swagger UI with this \
         document. The page loads nothing from other hosts.",
    )
    .answers_text(
        "text/html",
        Object::with_type(Type::String),
        "<!doctype html>…",
    )
    .page_headers()
}
