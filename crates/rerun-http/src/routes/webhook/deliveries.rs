use rerun_wire::api::webhook::deliveries::{DeliveryItem, Request, Response};

use crate::answer::{self, Answer};
use crate::extract::{JsonCall, Required};
use crate::routes::params::{one_of, page, webhook_id};
use crate::state::State;

/// `POST /v1/webhook/deliveries`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let id = required.text("webhook_id", body.webhook_id);
    required.check()?;
    let wanted = body.state.as_deref();
    let wanted = wanted.map(|name| one_of("state", name)).transpose()?;
    let page = page(body.limit, body.cursor);
    let webhooks = &state.engine.webhooks;
    let found = webhooks.deliveries(&caller, webhook_id(&id), wanted, &page);
    let found = found.await?;
    answer::json(&Response {
        deliveries: found.items.iter().map(DeliveryItem::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
