use rerun_core::campaign::CampaignStatus;
use rerun_core::ids::{CampaignId, RunNumber};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::{JsonCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::{campaign_id, page};
use crate::state::State;
use crate::wire::{self, Answer, RunItem};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = RerunHistoryRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<Integer>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RerunHistoryResponse)]
struct Response<'a> {
    /// The campaign.
    #[schema(value_type = Uuid)]
    campaign_id: CampaignId,
    #[schema(value_type = schema::CampaignStatus)]
    campaign_status: CampaignStatus,
    /// The run that is current; `null` for a draft.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    current_run_number: Option<RunNumber>,
    /// The runs, newest first.
    runs: Vec<RunItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Reruns,
        "List the runs of a campaign",
        "All runs, newest first, with what each reused, generated and published, and with what \
         reuse saved. A campaign that has messages but no recorded run, brought in from elsewhere, has one synthesised entry.",
        examples::campaign_id(),
    )
    .answers::<Response<'_>>(json!({
        "campaign_id": examples::CAMPAIGN,
        "campaign_status": "Published",
        "current_run_number": 2,
        "runs": [examples::run()],
        "next_cursor": null,
    }))
    .refuses(&[Code::CampaignNotFound])
}

/// `POST /v1/campaign/rerun/history`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    required.check()?;
    let page = page(body.limit, body.cursor);
    let id = campaign_id(&campaign);
    let list = state.engine.history.runs(&caller, id, &page).await?;
    wire::json(&Response {
        campaign_id: id,
        campaign_status: list.campaign_status,
        current_run_number: list.current_run,
        runs: list
            .runs
            .items
            .iter()
            .map(|run| RunItem::new(list.current_run, run))
            .collect(),
        next_cursor: list.runs.next_cursor.as_deref(),
    })
}
