use actix_web::HttpResponse;

use utoipa::openapi::schema::{Object, Type};

use crate::error::ApiError;
use crate::openapi::Docs;
use crate::state::State;
use crate::wire::Answer;

/// The version is of the format, not of this program.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn docs() -> Docs {
    Docs::open("Metrics", "What Prometheus wants to know.").answers_text(
        "text/plain",
        Object::with_type(Type::String),
        "# TYPE rerun_http_requests_in_flight gauge\nrerun_http_requests_in_flight 1\n",
    )
}

/// `GET /metrics`: what Prometheus wants to know.
pub(crate) async fn handle(state: State) -> Answer {
    let text = state.metrics.text().await.map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().content_type(TEXT_FORMAT).body(text))
}
