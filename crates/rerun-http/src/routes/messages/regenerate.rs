use rerun_core::ids::MessageId;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;
use crate::wire::{Answer, QueuedItem, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = MessagesRegenerateRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// Messages of the current run; one that is named twice counts once.
    #[schema(value_type = Vec<Uuid>, min_items = 1, max_items = 10_000, required)]
    message_ids: Option<Vec<String>>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Messages,
        "Generate messages again",
        "Of the current run; all that are named, or none.",
        json!({ "campaign_id": examples::CAMPAIGN, "message_ids": [examples::MESSAGE] }),
    )
    .keyed()
    .answers::<QueuedItem>(examples::queued())
    .refuses(&[
        Code::CampaignNotFound,
        Code::MessageNotFound,
        Code::InvalidTransition,
    ])
}

/// `POST /v1/campaign/messages/regenerate`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let ids = required.list("message_ids", body.message_ids);
    required.check()?;
    let ids: Vec<_> = ids.iter().map(|id| MessageId::parse(id)).collect();
    let changed = state
        .engine
        .reviews
        .regenerate(&caller, campaign_id(&campaign), &ids, key.as_deref())
        .await?;
    note_run(changed.outcome.run_number);
    if !changed.replayed && changed.outcome.messages > 0 {
        (state.wake)();
    }
    answered(&changed, QueuedItem::from)
}
