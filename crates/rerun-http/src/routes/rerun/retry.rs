use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;
use crate::wire::{Answer, QueuedItem, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunRetryRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "Generate failed messages again",
        "Queues the messages of the current run that could not be generated, and no others.",
        examples::campaign_id(),
    )
    .keyed()
    .answers::<QueuedItem>(examples::queued())
    .refuses(&[Code::CampaignNotFound, Code::InvalidTransition])
}

/// `POST /v1/campaign/rerun/retry`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let campaign = campaign_id(&campaign);
    let queued = state
        .engine
        .reviews
        .retry(&caller, campaign, key.as_deref())
        .await?;
    note_run(queued.outcome.run_number);
    if !queued.replayed {
        (state.wake)();
    }
    answered(&queued, QueuedItem::from)
}
