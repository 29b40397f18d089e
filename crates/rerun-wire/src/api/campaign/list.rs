use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::items::CampaignItem;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignListRequest)]
pub struct Request {
    /// Campaigns with this status alone.
    #[schema(value_type = Option<schema::CampaignStatus>)]
    pub status: Option<String>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CampaignListResponse)]
pub struct Response<'a> {
    /// The campaigns, newest first.
    pub campaigns: Vec<CampaignItem<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
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
