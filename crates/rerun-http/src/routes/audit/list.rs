use rerun_core::Timestamp;
use rerun_core::audit::AuditEntry;
use rerun_core::error::StoreError;
use rerun_core::ids::{AuditEntryId, CampaignId, RunNumber, UserId};
use rerun_core::ports::AuditFilter;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::ApiError;
use crate::extract::{Integer, JsonCall, State};
use crate::routes::{campaign_id, one_of, page};
use crate::wire::{Answer, json};

#[derive(Deserialize)]
pub(crate) struct Request {
    campaign_id: Option<String>,
    action: Option<String>,
    limit: Option<Integer>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: AuditEntryId,
    action: &'a str,
    campaign_id: Option<CampaignId>,
    run_number: Option<RunNumber>,
    user_id: Option<UserId>,
    role_code: Option<&'a str>,
    ip: Option<&'a str>,
    request_id: Option<&'a str>,
    details: &'a RawValue,
    #[serde(with = "rerun_core::timestamp")]
    created_at: Timestamp,
}

#[derive(Serialize)]
struct Response<'a> {
    entries: Vec<Entry<'a>>,
    next_cursor: Option<&'a str>,
}

fn entry(entry: &AuditEntry) -> Result<Entry<'_>, ApiError> {
    let details = serde_json::from_str(&entry.details).map_err(|error| {
        StoreError::corrupt(format!(
            "audit entry {}: details are no JSON: {error}",
            entry.id
        ))
    });
    Ok(Entry {
        id: entry.id,
        action: &entry.action,
        campaign_id: entry.campaign_id,
        run_number: entry.run_number,
        user_id: entry.user_id,
        role_code: entry.role_code.as_deref(),
        ip: entry.ip.as_deref(),
        request_id: entry.request_id.as_deref(),
        details: details.map_err(rerun_core::error::Error::from)?,
        created_at: entry.created_at,
    })
}

/// `POST /v1/audit/list`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let filter = AuditFilter {
        campaign_id: body.campaign_id.as_deref().map(campaign_id),
        action: body
            .action
            .map(|action| one_of("action", &action))
            .transpose()?,
    };
    let page = page(body.limit, body.cursor);
    let found = state.engine.audit.list(&caller, filter, &page).await?;
    json(&Response {
        entries: found.items.iter().map(entry).collect::<Result<_, _>>()?,
        next_cursor: found.next_cursor.as_deref(),
    })
}
