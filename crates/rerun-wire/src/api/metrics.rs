use utoipa::openapi::schema::{Object, Type};

use crate::openapi::Docs;

pub(crate) fn docs() -> Docs {
    Docs::open(
        "Get the metrics",
        "Returns the metrics of the process in the text format of Prometheus.",
    )
    .answers_text(
        "text/plain",
        Object::with_type(Type::String),
        "# TYPE rerun_http_requests_in_flight gauge\nrerun_http_requests_in_flight 1\n",
    )
}
