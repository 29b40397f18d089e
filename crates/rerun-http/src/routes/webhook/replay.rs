use rerun_core::usecases::ReplayRequest;
use rerun_wire::api::webhook::replay::{Request, Response};

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::webhook_id;
use crate::state::State;

/// `POST /v1/webhook/replay`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let id = required.text("webhook_id", body.webhook_id);
    let request = ReplayRequest {
        from_sequence: body.from_sequence.map(|number| number.0),
        to_sequence: body.to_sequence.map(|number| number.0),
        failed: body.failed.unwrap_or_default(),
    };
    if !request.failed {
        required.value("from_sequence", request.from_sequence);
        required.value("to_sequence", request.to_sequence);
    }
    required.check()?;
    let webhooks = &state.engine.webhooks;
    let queued = webhooks.replay(&caller, webhook_id(&id), request, key.as_deref());
    answered(&queued.await?, |queued| Response { queued: *queued })
}
