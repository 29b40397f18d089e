use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::items::CampaignItem;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = CampaignListRequest)]
pub struct Request {
    /// Return only campaigns with this status.
    #[schema(value_type = Option<schema::CampaignStatus>)]
    pub status: Option<String>,
    /// The maximum number of items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// The `next_cursor` of the previous page. Leave it out for the first page.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CampaignListResponse)]
pub struct Response<'a> {
    /// The campaigns, newest first.
    pub campaigns: Vec<CampaignItem<'a>>,
    /// The `cursor` for the next page; `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Campaigns,
        "List campaigns",
        "Returns the campaigns of the account, newest first.",
        json!({ "status": "Published", "limit": 100 }),
    )
    .answers::<Response<'_>>(json!({
        "campaigns": [examples::campaign()],
        "next_cursor": null,
    }))
}
