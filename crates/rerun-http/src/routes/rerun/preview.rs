use rerun_core::campaign::CampaignStatus;
use rerun_core::ids::CampaignId;
use rerun_core::message::ReusedFrom;
use rerun_core::run::SegmentCounts;
use rerun_core::segment::Segment;
use serde::{Deserialize, Serialize};

use super::rerun_request;
use crate::extract::{Integer, JsonCall, State};
use crate::routes::page;
use crate::wire::{Answer, GroupRef, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
    new_customer_group_id: Option<String>,
    reuse_from: Option<String>,
    limit: Option<Integer>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Item<'a> {
    segment: &'a Segment,
    outcome: &'static str,
    reuses: Option<ReusedFrom>,
}

#[derive(Serialize)]
struct Response<'a> {
    campaign_id: CampaignId,
    customer_group: GroupRef<'a>,
    customer_count: i64,
    segments: SegmentCounts,
    resulting_status: CampaignStatus,
    items: Vec<Item<'a>>,
    next_cursor: Option<&'a str>,
}

/// `POST /v1/campaign/rerun/preview`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let request = rerun_request(
        body.campaign_id,
        body.new_customer_group_id,
        body.reuse_from.as_deref(),
    )?;
    let page = page(body.limit, body.cursor);
    let preview = state.engine.reruns.preview(&caller, request, &page).await?;
    let items = preview.items.items.iter().map(|item| Item {
        segment: &item.segment,
        outcome: if item.reuses.is_some() {
            "matched"
        } else {
            "new"
        },
        reuses: item.reuses,
    });
    json(&Response {
        campaign_id: request.campaign,
        customer_group: (&preview.group).into(),
        customer_count: preview.customer_count,
        segments: preview.segments,
        resulting_status: preview.resulting_status,
        items: items.collect(),
        next_cursor: preview.items.next_cursor.as_deref(),
    })
}
