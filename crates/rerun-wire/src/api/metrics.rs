use utoipa::openapi::schema::{Object, Type};

use crate::openapi::Docs;

pub(crate) fn docs() -> Docs {
    Docs::open("Metrics", "What Prometheus wants to know.").answers_text(
        "text/plain",
        Object::with_type(Type::String),
        "# TYPE rerun_http_requests_in_flight gauge\nrerun_http_requests_in_flight 1\n",
    )
}
