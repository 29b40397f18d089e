use rerun_wire::api::campaign::list::{Request, Response};
use rerun_wire::items::CampaignItem;

use crate::answer::{self, Answer};
use crate::extract::JsonCall;
use crate::routes::params::{one_of, page};
use crate::state::State;

/// `POST /v1/campaign/list`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let status = body
        .status
        .map(|status| one_of("status", &status))
        .transpose()?;
    let page = page(body.limit, body.cursor);
    let found = state.engine.campaigns.list(&caller, status, &page).await?;
    answer::json(&Response {
        campaigns: found.items.iter().map(CampaignItem::from).collect(),
        next_cursor: found.next_cursor.as_deref(),
    })
}
