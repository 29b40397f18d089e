use rerun_core::error::Invalid;
use rerun_core::ids::{ContentId, MessageId};
use rerun_core::usecases::{Decision, Item, ReviewedMessages};
use rerun_wire::api::messages::review::{Request, Response, ReviewedItem};
use rerun_wire::json::Object;

use crate::answer::{Answer, answered};
use crate::extract::{KeyedCall, Required};
use crate::request_id::note_run;
use crate::routes::params::campaign_id;
use crate::state::State;

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
