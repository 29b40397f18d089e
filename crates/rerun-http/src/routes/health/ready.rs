use serde::Serialize;

use crate::error::{ApiError, Refusal};
use crate::extract::State;
use crate::wire::{Answer, json};

#[derive(Serialize)]
struct Response {
    status: &'static str,
}

/// `GET /health/ready`: requests would be answered.
pub(crate) async fn handle(state: State) -> Answer {
    if !state.readiness.get() {
        return Err(Refusal::ShuttingDown.into());
    }
    state.health.check().await.map_err(ApiError::Unhealthy)?;
    json(&Response { status: "ready" })
}
