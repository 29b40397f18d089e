use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::openapi::Docs;

#[derive(Serialize, ToSchema)]
#[schema(as = ReadyResponse)]
pub struct Response {
    /// Always `ready`.
    #[schema(pattern = "^ready$")]
    pub status: &'static str,
}

pub(crate) fn docs() -> Docs {
    Docs::open(
        "Check that the server is ready",
        "Returns 200 if the server can handle requests, and 503 if the database cannot be reached \
         or the server is shutting down. It is meant for readiness probes.",
    )
    .answers::<Response>(json!({ "status": "ready" }))
    .refuses(&[Code::Unavailable])
}
