use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::extract::JsonCall;
use crate::openapi::{Docs, Tag, examples, schema};
use crate::routes::params::{one_of, page};
use crate::state::State;
use crate::wire::{self, Answer, CampaignItem};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignListRequest)]
pub(crate) struct Request {
    /// Campaigns with this status alone.
    #[schema(value_type = Option<schema::CampaignStatus>)]
    status: Option<String>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<Integer>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CampaignListResponse)]
struct Response<'a> {
    /// The campaigns, newest first.
    campaigns: Vec<CampaignItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "List campaigns",
        "Newest first.",
        json!({ "status": "Published", "limit": 100 }),
    )
    .answers::<Response<'_>>(json!({
        "campaigns": [examples::campaign()],
        "next_cursor": null,
    }))
}

/// `POST /v1/campaign/list`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let status = body
        .status
        .map(|status| one_of("status", &status))
        .transpose()?;
    let page = page(body.limit, body.cursor);
    let found = state.engine.campaigns.list(&caller, status, &page).await?;
    wire::json(&Response {
        campaigns: found.items.iter().map(CampaignItem::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
