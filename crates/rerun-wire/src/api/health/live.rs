use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::openapi::Docs;

#[derive(Serialize, ToSchema)]
#[schema(as = LiveResponse)]
pub struct Response {
    /// Always the same.
    #[schema(pattern = "^live$")]
    pub status: &'static str,
}

pub(crate) fn docs() -> Docs {
    Docs::open("Whether the process runs", "For liveness probes.")
        .answers::<Response>(json!({ "status": "live" }))
}
