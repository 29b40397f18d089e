use utoipa::openapi::schema::{Object, Type};

use crate::openapi::Docs;

pub(crate) fn docs() -> Docs {
    Docs::open(
        "The OpenAPI document",
        "This document: OpenAPI 3.1, for generators of clients and for tools.",
    )
    .answers_json(Object::with_type(Type::Object))
    .header("cache-control", "Always asks again.", "no-cache")
}
