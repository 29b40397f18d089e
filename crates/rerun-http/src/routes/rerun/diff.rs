use rerun_core::diff::{DiffChange, DiffCounts};
use rerun_core::ids::{CampaignId, MessageId, RunNumber};
use rerun_core::segment::Segment;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{JsonCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::{campaign_id, page, run_number};
use crate::state::State;
use crate::wire::{self, Answer};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunDiffRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// The run to compare from.
    #[schema(value_type = schema::RunNumber, required)]
    from_run: Option<Integer>,
    /// The run to compare to.
    #[schema(value_type = schema::RunNumber, required)]
    to_run: Option<Integer>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<Integer>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunDiffItem)]
struct Item<'a> {
    #[schema(value_type = schema::Segment)]
    segment: &'a Segment,
    #[schema(value_type = schema::DiffChange)]
    change: DiffChange,
    /// The message of the first run.
    #[schema(value_type = Option<Uuid>, required)]
    from: Option<MessageId>,
    /// The message of the second run.
    #[schema(value_type = Option<Uuid>, required)]
    to: Option<MessageId>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunDiffResponse)]
struct Response<'a> {
    /// The campaign.
    #[schema(value_type = Uuid)]
    campaign_id: CampaignId,
    #[schema(value_type = schema::RunNumber)]
    from_run: RunNumber,
    #[schema(value_type = schema::RunNumber)]
    to_run: RunNumber,
    #[schema(value_type = schema::DiffCounts)]
    counts: DiffCounts,
    /// One for each segment.
    items: Vec<Item<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "Compare two runs",
        "Segment by segment: what came, what went, and whose content is another.",
        json!({ "campaign_id": examples::CAMPAIGN, "from_run": 1, "to_run": 2 }),
    )
    .answers::<Response<'_>>(json!({
        "campaign_id": examples::CAMPAIGN,
        "from_run": 1,
        "to_run": 2,
        "counts": { "added": 2, "removed": 1, "kept_same": 40, "kept_changed": 0 },
        "items": [{
            "segment": examples::segment(),
            "change": "kept_same",
            "from": examples::REUSED_MESSAGE,
            "to": examples::MESSAGE,
        }],
        "next_cursor": null,
    }))
    .refuses(&[Code::CampaignNotFound, Code::RunNotFound])
}

/// `POST /v1/campaign/rerun/diff`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let from = required.value("from_run", body.from_run);
    let to = required.value("to_run", body.to_run);
    required.check()?;
    let campaign_id = campaign_id(&campaign);
    let from_run = run_number(&state, &caller, campaign_id, from).await?;
    let to_run = run_number(&state, &caller, campaign_id, to).await?;
    let page = page(body.limit, body.cursor);
    let (counts, found) = state
        .engine
        .history
        .diff(&caller, campaign_id, from_run, to_run, &page)
        .await?;
    let items = found.items.iter().map(|item| Item {
        segment: &item.segment,
        change: item.change,
        from: item.from,
        to: item.to,
    });
    wire::json(&Response {
        campaign_id,
        from_run,
        to_run,
        counts,
        items: items.collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
