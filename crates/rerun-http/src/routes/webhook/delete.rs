use rerun_wire::api::webhook::delete::Request;
use rerun_wire::api::webhook::item::WebhookItem;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::webhook_id;
use crate::state::State;

/// `POST /v1/webhook/delete`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let id = required.text("webhook_id", body.webhook_id);
    required.check()?;
    let webhooks = &state.engine.webhooks;
    let deleted = webhooks.delete(&caller, webhook_id(&id), key.as_deref());
    answered(&deleted.await?, WebhookItem::from)
}
