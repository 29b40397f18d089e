use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::error::{ApiError, Refusal};
use crate::openapi::{Code, Docs};
use crate::state::State;
use crate::wire::{self, Answer};

#[derive(Serialize, ToSchema)]
#[schema(as = ReadyResponse)]
struct Response {
    /// Always the same.
    #[schema(pattern = "^ready$")]
    status: &'static str,
}

pub(crate) fn docs() -> Docs {
    Docs::open(
        "Whether requests would be answered",
        "For readiness probes: 503 while the database cannot be reached, or the server is \
         shutting down.",
    )
    .answers::<Response>(json!({ "status": "ready" }))
    .refuses(&[Code::Unavailable])
}

/// `GET /health/ready`: requests would be answered.
pub(crate) async fn handle(state: State) -> Answer {
    if !state.readiness.get() {
        return Err(Refusal::ShuttingDown.into());
    }
    state.health.check().await.map_err(ApiError::Unhealthy)?;
    wire::json(&Response { status: "ready" })
}
