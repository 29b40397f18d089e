use rerun_wire::api::health::ready::Response;

use crate::answer::{self, Answer};
use crate::error::{ApiError, Refusal};
use crate::state::State;

/// `GET /health/ready`: requests would be answered.
pub(crate) async fn handle(state: State) -> Answer {
    if !state.readiness.get() {
        return Err(Refusal::ShuttingDown.into());
    }
    state.health.check().await.map_err(ApiError::Unhealthy)?;
    answer::json(&Response { status: "ready" })
}
