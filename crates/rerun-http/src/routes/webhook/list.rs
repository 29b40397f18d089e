use rerun_wire::api::webhook::item::WebhookItem;
use rerun_wire::api::webhook::list::{Request, Response};

use crate::answer::{self, Answer};
use crate::extract::JsonCall;
use crate::routes::params::page;
use crate::state::State;

/// `POST /v1/webhook/list`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let page = page(body.limit, body.cursor);
    let found = state.engine.webhooks.list(&caller, &page).await?;
    answer::json(&Response {
        webhooks: found.items.iter().map(WebhookItem::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
