use rerun_core::usecases::LaunchRequest;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;
use crate::wire::{Answer, RunStartedItem, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignLaunchRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// Whether fields to segment by that no customer of the group has are allowed. By default
    /// they are refused. This applies to this request only.
    #[schema(default = false)]
    allow_missing_fields: Option<bool>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "Start the first run of a draft",
        "Every segment of the campaign's group gets a message, which is generated.",
        examples::campaign_id(),
    )
    .keyed()
    .answers::<RunStartedItem<'_>>(examples::launched())
    .refuses(&[
        Code::CampaignNotFound,
        Code::InvalidTransition,
        Code::EmptyCustomerGroup,
        Code::UnknownSegmentField,
        Code::TooManySegments,
    ])
}

/// `POST /v1/campaign/launch`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let request = LaunchRequest {
        campaign: campaign_id(&campaign),
        allow_missing_fields: body.allow_missing_fields.unwrap_or_default(),
    };
    let started = state
        .engine
        .reruns
        .launch(&caller, request, key.as_deref())
        .await?;
    note_run(started.outcome.run_number);
    if !started.replayed {
        (state.wake)();
    }
    answered(&started, RunStartedItem::from)
}
