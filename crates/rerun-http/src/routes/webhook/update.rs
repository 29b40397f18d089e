use rerun_core::usecases::WebhookChange;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::item::WebhookItem;
use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::{campaign_id, event_types, one_of, webhook_id};
use crate::state::State;
use crate::wire::{Answer, answered};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookUpdateRequest)]
pub(crate) struct Request {
    /// The webhook.
    #[schema(value_type = Uuid, required)]
    webhook_id: Option<String>,
    /// Where events are sent.
    #[schema(value_type = Option<String>, max_length = 2_000)]
    url: Option<String>,
    /// The types of events that it gets; an empty list for all.
    #[schema(value_type = Option<Vec<schema::AuditAction>>)]
    types: Option<Vec<String>>,
    /// Only events about this campaign; an empty text for all events.
    #[schema(value_type = Option<String>)]
    campaign_id: Option<String>,
    /// What it is for; an empty text for nothing.
    #[schema(value_type = Option<String>, max_length = 1_000)]
    description: Option<String>,
    /// Whether an event waits until the one before is delivered or given up.
    ordered: Option<bool>,
    /// Whether it gets events.
    #[schema(value_type = Option<schema::WebhookStatus>)]
    status: Option<String>,
    /// With the status `enabled`: it gets all events after this number, whatever it has got of
    /// them. Without a number it goes on where it was.
    #[schema(value_type = Option<i64>, minimum = 0)]
    after_sequence: Option<Integer>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Change a webhook",
        "What is not given stays. Other types or another campaign are for events that are not queued \
         yet. While it is disabled, nothing is sent, and nothing is lost: enabled again, it goes on \
         where it was, or after `after_sequence`.",
        json!({ "webhook_id": examples::WEBHOOK, "status": "enabled", "after_sequence": 41 }),
    )
    .keyed()
    .answers::<WebhookItem<'_>>(examples::webhook())
    .refuses(&[Code::WebhookNotFound, Code::CampaignNotFound])
}

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
