use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::openapi::Docs;
use crate::wire::{self, Answer};

#[derive(Serialize, ToSchema)]
#[schema(as = LiveResponse)]
struct Response {
    /// Always the same.
    #[schema(pattern = "^live$")]
    status: &'static str,
}

pub(crate) fn docs() -> Docs {
    Docs::open("Whether the process runs", "For liveness probes.")
        .answers::<Response>(json!({ "status": "live" }))
}

/// `GET /health/live`: the process answers.
pub(crate) async fn handle() -> Answer {
    wire::json(&Response { status: "live" })
}
