use serde::Serialize;

use crate::wire::{Answer, json};

#[derive(Serialize)]
struct Response {
    status: &'static str,
}

/// `GET /health/live`: the process answers.
pub(crate) async fn handle() -> Answer {
    json(&Response { status: "live" })
}
