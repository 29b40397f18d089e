use utoipa::openapi::schema::{Object, Type};

use crate::openapi::Docs;

pub(crate) fn docs() -> Docs {
    Docs::open(
        "Get the OpenAPI document",
        "Returns this document in OpenAPI 3.1. It is meant for client generators and other tools.",
    )
    .answers_json(Object::with_type(Type::Object))
    .header(
        "cache-control",
        "Makes clients check for a newer version before they use a stored copy.",
        "no-cache",
    )
}
