use rerun_core::campaign::CampaignStatus;
use rerun_core::error::Invalid;
use rerun_core::ids::{CampaignId, ContentId, MessageId, RunNumber};
use rerun_core::usecases::{Decision, Item, ReviewedMessages};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{KeyedCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;
use crate::wire::{Answer, answered};
use rerun_wire::json::Object;

#[derive(Deserialize, ToSchema)]
#[schema(as = MessagesReviewRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// What is decided.
    #[schema(value_type = schema::Decision, required)]
    decision: Option<String>,
    /// Messages of the current run; one that is named twice counts once. Either these, `items` or
    /// `all`.
    #[schema(value_type = Option<Vec<Uuid>>, min_items = 1, max_items = 10_000)]
    message_ids: Option<Vec<String>>,
    /// Messages of the current run, each with the content that the decision is about. If one of
    /// them has other content by now, the review is refused.
    #[schema(value_type = Option<Vec<ReviewedItem>>, min_items = 1, max_items = 10_000)]
    items: Option<Vec<Object<ReviewedItem>>>,
    /// Every message that is `Pending review`, instead of named ones.
    all: Option<bool>,
    /// One of the campaign's stages: only messages that wait there. Another one that is named is
    /// refused; `all` leaves the others out.
    #[schema(min_length = 1, max_length = 100)]
    stage: Option<String>,
    /// Why; required for a rejection: 1 to 2,000 characters that are not all white space, without
    /// NUL. With an approval it is not read.
    reason: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ReviewedItem)]
struct ReviewedItem {
    /// A message of the current run.
    #[schema(value_type = Uuid, required)]
    message_id: Option<String>,
    /// The content that the decision is about.
    #[schema(value_type = Uuid, required)]
    content_id: Option<String>,
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
        "Of the current run; all that are named, or none. An approval passes one stage. `items` \
         name the content that the decision is about: if somebody changed it in between, the \
         review is refused. A stage may name the roles that can pass it: a message that waits at \
         another one cannot be approved, and `all` leaves it out. With `stage`, only messages that wait at that stage: a review that is sent twice cannot pass \
         two stages. A message whose content still contains a placeholder (`{{ … }}`) cannot be \
         approved.",
        json!({
            "campaign_id": examples::CAMPAIGN,
            "decision": "approve",
            "items": [{ "message_id": examples::MESSAGE, "content_id": examples::CONTENT }],
        }),
    )
    .keyed()
    .answers::<Response>(json!({
        "campaign_id": examples::CAMPAIGN,
        "run_number": 2,
        "campaign_status": "Ready to publish",
        "reviewed_messages": 1,
    }))
    .refuses(&[
        Code::StageNotAllowed,
        Code::CampaignNotFound,
        Code::MessageNotFound,
        Code::InvalidTransition,
        Code::ContentChanged,
        Code::UnfilledPlaceholder,
    ])
}

/// The items, each of which must have both ids.
fn named_items(required: &mut Required, items: Vec<Object<ReviewedItem>>) -> Vec<Item> {
    let all_have = |id: fn(&ReviewedItem) -> &Option<String>| {
        let given = |Object(item): &Object<ReviewedItem>| {
            id(item).as_ref().is_some_and(|id| !id.is_empty())
        };
        items.iter().all(given).then_some(())
    };
    required.value("items.message_id", all_have(|item| &item.message_id));
    required.value("items.content_id", all_have(|item| &item.content_id));
    let item = |Object(item): Object<ReviewedItem>| Item {
        message_id: item.message_id.and_then(|id| MessageId::parse(&id)),
        content_id: item.content_id.and_then(|id| ContentId::parse(&id)),
    };
    items.into_iter().map(item).collect()
}

/// `POST /v1/campaign/messages/review`
pub(crate) async fn handle(state: State, call: KeyedCall<Request>) -> Answer {
    let KeyedCall { key, caller, body } = call;
    let all = body.all == Some(true);
    let given = [all, body.message_ids.is_some(), body.items.is_some()];
    let given = given.into_iter().filter(|given| *given).count();
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let decision = required.text("decision", body.decision);
    let messages = if all {
        ReviewedMessages::AllPending
    } else if body.items.is_some() {
        let items = required.list("items", body.items);
        ReviewedMessages::Items(named_items(&mut required, items))
    } else {
        let ids = required.list("message_ids", body.message_ids);
        ReviewedMessages::Named(ids.iter().map(|id| MessageId::parse(id)).collect())
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
    if given > 1 {
        return Err(Invalid::new("give one of `message_ids`, `items` and `all`").into());
    }
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
