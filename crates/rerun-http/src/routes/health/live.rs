use rerun_wire::api::health::live::Response;

use crate::answer::{self, Answer};

/// `GET /health/live`: the process answers.
pub(crate) async fn handle() -> Answer {
    answer::json(&Response { status: "live" })
}
