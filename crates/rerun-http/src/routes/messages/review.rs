use rerun_core::campaign::CampaignStatus;
use rerun_core::error::Invalid;
use rerun_core::ids::{CampaignId, MessageId, RunNumber};
use rerun_core::usecases::{Decision, ReviewedMessages};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;
use crate::wire::{Answer, answered};

#[derive(Deserialize, ToSchema)]
#[schema(as = MessagesReviewRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// What is decided.
    #[schema(value_type = schema::Decision, required)]
    decision: Option<String>,
    /// Messages of the current run; one that is named twice counts once. Either these or `all`.
    #[schema(value_type = Option<Vec<Uuid>>, min_items = 1, max_items = 10_000)]
    message_ids: Option<Vec<String>>,
    /// Every message that is `Pending review`, instead of `message_ids`.
    all: Option<bool>,
    /// One of the campaign's stages: only messages that wait there. Another one that is named is
    /// refused; `all` leaves the others out.
    #[schema(min_length = 1, max_length = 100)]
    stage: Option<String>,
    /// Why; required for a rejection: 1 to 2,000 characters that are not all white space, without
    /// NUL. With an approval it is not read.
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MessagesReviewResponse)]
struct Response {
    /// The campaign.
    #[schema(value_type = Uuid)]
    campaign_id: CampaignId,
    #[schema(value_type = schema::RunNumber)]
    run_number: RunNumber,
    #[schema(value_type = schema::CampaignStatus)]
    campaign_status: CampaignStatus,
    /// How many messages were reviewed.
    reviewed_messages: u32,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Messages,
        "Approve or reject messages",
        "Of the current run; all that are named, or none. An approval passes one stage. With \
         `stage`, only messages that wait at that stage: a review that is sent twice cannot pass \
         two stages. A message whose content still contains a placeholder (`{{ … }}`) cannot be \
         approved.",
        json!({ "campaign_id": examples::CAMPAIGN, "decision": "approve", "all": true }),
    )
    .keyed()
    .answers::<Response>(json!({
        "campaign_id": examples::CAMPAIGN,
        "run_number": 2,
        "campaign_status": "Ready to publish",
        "reviewed_messages": 2,
    }))
    .refuses(&[
        Code::CampaignNotFound,
        Code::MessageNotFound,
        Code::InvalidTransition,
        Code::UnfilledPlaceholder,
    ])
}

/// `POST /v1/campaign/messages/review`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let all = body.all == Some(true);
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let decision = required.text("decision", body.decision);
    let named = if all {
        body.message_ids
    } else {
        Some(required.list("message_ids", body.message_ids))
    };
    let decision = match decision.as_str() {
        "approve" => Some(Decision::Approve),
        "reject" => Some(Decision::Reject {
            reason: required.text("reason", body.reason),
        }),
        _ => None,
    };
    required.check()?;
    let decision =
        decision.ok_or_else(|| Invalid::new("`decision` must be `approve` or `reject`"))?;
    let messages = match named {
        Some(_) if all => {
            return Err(Invalid::new("give `message_ids` or `all`, not both").into());
        }
        Some(ids) => ReviewedMessages::Named(ids.iter().map(|id| MessageId::parse(id)).collect()),
        None => ReviewedMessages::AllPending,
    };
    let campaign = campaign_id(&campaign);
    let changed = state
        .engine
        .reviews
        .review(
            &caller,
            campaign,
            &decision,
            &messages,
            body.stage.as_deref(),
            key.as_deref(),
        )
        .await?;
    note_run(changed.outcome.run_number);
    answered(&changed, |changed| Response {
        campaign_id: changed.campaign_id,
        run_number: changed.run_number,
        campaign_status: changed.campaign_status,
        reviewed_messages: changed.messages,
    })
}
