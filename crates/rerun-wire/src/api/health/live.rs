use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::openapi::Docs;

#[derive(Serialize, ToSchema)]
#[schema(as = LiveResponse)]
pub struct Response {
    /// Always `live`.
    #[schema(pattern = "^live$")]
    pub status: &'static str,
}

pub(crate) fn docs() -> Docs {
    Docs::open(
        "Check that the process runs",
        "Returns 200 as long as the process runs. It is meant for liveness probes.",
    )
    .answers::<Response>(json!({ "status": "live" }))
}
