use rerun_wire::api::webhook::test::{Request, Response};

use crate::answer::{self, Answer};
use crate::extract::{JsonCall, Required};
use crate::routes::params::webhook_id;
use crate::state::State;

/// `POST /v1/webhook/test`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let id = required.text("webhook_id", body.webhook_id);
    required.check()?;
    let outcome = state.engine.webhooks.test(&caller, webhook_id(&id)).await?;
    answer::json(&Response {
        delivered: outcome.is_delivered(),
        status: outcome.response.ok().map(|response| response.status),
        duration_ms: u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
        error: outcome.response.err(),
    })
}
