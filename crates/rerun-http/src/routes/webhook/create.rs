use rerun_core::usecases::NewWebhook;
use rerun_wire::api::webhook::create::Request;
use rerun_wire::api::webhook::item::WebhookItem;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::{campaign_id, event_types};
use crate::state::State;

/// `POST /v1/webhook/create`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let url = required.text("url", body.url);
    required.check()?;
    let new = NewWebhook {
        url,
        types: body.types.as_deref().map(event_types).transpose()?,
        campaign_id: body.campaign_id.as_deref().map(campaign_id),
        description: body.description.filter(|text| !text.is_empty()),
        ordered: body.ordered.unwrap_or_default(),
        after_sequence: body.after_sequence.map(|number| number.0),
    };
    let webhooks = &state.engine.webhooks;
    let made = webhooks.create(&caller, new, key.as_deref()).await?;
    answered(&made, WebhookItem::from)
}
