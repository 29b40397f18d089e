use rerun_wire::api::webhook::get::Request;
use rerun_wire::api::webhook::item::WebhookItem;

use crate::answer::{self, Answer};
use crate::extract::{JsonCall, Required};
use crate::routes::params::webhook_id;
use crate::state::State;

/// `POST /v1/webhook/get`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let id = required.text("webhook_id", body.webhook_id);
    required.check()?;
    let found = state.engine.webhooks.get(&caller, webhook_id(&id)).await?;
    answer::json(&WebhookItem::from(&found))
}
