use rerun_core::usecases::WebhookChange;
use rerun_wire::api::webhook::item::WebhookItem;
use rerun_wire::api::webhook::update::Request;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::routes::params::{campaign_id, event_types, one_of, webhook_id};
use crate::state::State;

/// `POST /v1/webhook/update`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let id = required.text("webhook_id", body.webhook_id);
    required.check()?;
    let status = body.status.as_deref();
    let campaign = body.campaign_id.as_deref();
    let change = WebhookChange {
        url: body.url.filter(|url| !url.is_empty()),
        types: body.types.as_deref().map(event_types).transpose()?,
        campaign_id: campaign.map(|id| (!id.is_empty()).then(|| campaign_id(id))),
        description: body.description,
        ordered: body.ordered,
        status: status.map(|status| one_of("status", status)).transpose()?,
        after_sequence: body.after_sequence.map(|number| number.0),
    };
    let webhooks = &state.engine.webhooks;
    let changed = webhooks.update(&caller, webhook_id(&id), change, key.as_deref());
    answered(&changed.await?, WebhookItem::from)
}
