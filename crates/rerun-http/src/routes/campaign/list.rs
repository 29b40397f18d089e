use serde::{Deserialize, Serialize};

use crate::extract::{Integer, JsonCall, State};
use crate::routes::{one_of, page};
use crate::wire::{Answer, CampaignItem, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    status: Option<String>,
    limit: Option<Integer>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Response<'a> {
    campaigns: Vec<CampaignItem<'a>>,
    next_cursor: Option<&'a str>,
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
    json(&Response {
        campaigns: found.items.iter().map(CampaignItem::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
