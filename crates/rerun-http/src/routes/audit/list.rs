use rerun_core::audit::AuditEntry;
use rerun_core::error::StoreError;
use rerun_core::ports::AuditFilter;
use rerun_wire::api::audit::list::{Entry, Request, Response};

use crate::answer::{self, Answer};
use crate::error::ApiError;
use crate::extract::JsonCall;
use crate::routes::params::{campaign_id, one_of, page};
use crate::state::State;

fn entry(entry: &AuditEntry) -> Result<Entry<'_>, ApiError> {
    let details = serde_json::from_str(&entry.details).map_err(|error| {
        StoreError::corrupt(format!(
            "audit entry {}: details are no JSON: {error}",
            entry.id
        ))
    });
    Ok(Entry {
        id: entry.id,
        sequence: entry.seq,
        action: &entry.action,
        campaign_id: entry.campaign_id,
        run_number: entry.run_number,
        user_id: entry.user_id,
        user_name: entry.user_name.as_deref(),
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
    answer::json(&Response {
        entries: found.items.iter().map(entry).collect::<Result<_, _>>()?,
        next_cursor: found.next_cursor.as_deref(),
    })
}
