use rerun_core::campaign::CampaignStatus;
use rerun_core::error::Invalid;
use rerun_core::ids::{CampaignId, MessageId, RunNumber};
use rerun_core::usecases::{Decision, ReviewedMessages};
use serde::{Deserialize, Serialize};

use crate::extract::{JsonCall, Required, State};
use crate::request_id::note_run;
use crate::routes::campaign_id;
use crate::wire::{Answer, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
    decision: Option<String>,
    message_ids: Option<Vec<String>>,
    all: Option<bool>,
    reason: Option<String>,
}

#[derive(Serialize)]
struct Response {
    campaign_id: CampaignId,
    run_number: RunNumber,
    campaign_status: CampaignStatus,
    reviewed_messages: u32,
}

/// `POST /v1/campaign/messages/review`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
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
        .review(&caller, campaign, &decision, &messages)
        .await?;
    note_run(changed.run_number);
    json(&Response {
        campaign_id: changed.campaign_id,
        run_number: changed.run_number,
        campaign_status: changed.campaign_status,
        reviewed_messages: changed.messages,
    })
}
