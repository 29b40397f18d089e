use rerun_wire::api::webhook::rotate_secret::{Request, Response};

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::webhook_id;
use crate::state::State;

/// `POST /v1/webhook/rotate-secret`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let id = required.text("webhook_id", body.webhook_id);
    required.check()?;
    let kept = body.keep_previous_seconds.map(|seconds| seconds.0);
    let webhooks = &state.engine.webhooks;
    let rotated = webhooks.rotate_secret(&caller, webhook_id(&id), kept, key.as_deref());
    answered(&rotated.await?, Response::from)
}
