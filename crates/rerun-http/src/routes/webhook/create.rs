use rerun_core::usecases::NewWebhook;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::item::WebhookItem;
use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::{campaign_id, event_types};
use crate::state::State;
use crate::wire::{Answer, answered};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookCreateRequest)]
pub(crate) struct Request {
    /// Where events are sent: `https`, a name or address that everybody can reach, no user name and
    /// no fragment.
    #[schema(value_type = String, max_length = 2_000, required)]
    url: Option<String>,
    /// The types of events that it gets; all when not given.
    #[schema(value_type = Option<Vec<schema::AuditAction>>, min_items = 1)]
    types: Option<Vec<String>>,
    /// Only events about this campaign.
    #[schema(value_type = Option<Uuid>)]
    campaign_id: Option<String>,
    /// What it is for.
    #[schema(value_type = Option<String>, max_length = 1_000)]
    description: Option<String>,
    /// Whether an event waits until the one before is delivered or given up.
    #[schema(value_type = Option<bool>, default = false)]
    ordered: Option<bool>,
    /// It gets events after this number; those from now on when not given. A number beyond the
    /// newest event counts as the newest.
    #[schema(value_type = Option<i64>, minimum = 0)]
    after_sequence: Option<Integer>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Webhooks,
        "Make a webhook",
        "Events are sent to its URL from now on, or from a number on, each signed with its `secret`. \
         The secret is shown here and by its rotation, and nowhere else. An account may have 20 \
         webhooks unless the operator set another number.",
        json!({
            "url": "https://example.com/rerun",
            "types": ["campaign.published", "run.failed"],
            "description": "For the data team",
        }),
    )
    .keyed()
    .answers::<WebhookItem<'_>>({
        let mut made = examples::webhook();
        made["secret"] = json!("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDqk7O3aG6GkM=");
        made
    })
    .refuses(&[Code::CampaignNotFound])
}

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
