use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::openapi::Docs;

#[derive(Serialize, ToSchema)]
#[schema(as = ReadyResponse)]
pub struct Response {
    /// Always the same.
    #[schema(pattern = "^ready$")]
    pub status: &'static str,
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
