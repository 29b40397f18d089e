use actix_web::HttpResponse;

use crate::answer::Answer;
use crate::error::ApiError;
use crate::state::State;

/// The version is of the format, not of this program.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`: what Prometheus wants to know.
pub(crate) async fn handle(state: State) -> Answer {
    let text = state.metrics.text().await.map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().content_type(TEXT_FORMAT).body(text))
}
