use rerun_core::Timestamp;
use rerun_core::audit::AuditEntry;
use rerun_core::error::StoreError;
use rerun_core::ids::{AuditEntryId, CampaignId, RunNumber, UserId};
use rerun_core::ports::AuditFilter;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::extract::JsonCall;
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::{campaign_id, one_of, page};
use crate::state::State;
use crate::wire::{self, Answer};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = AuditListRequest)]
pub(crate) struct Request {
    /// Entries about this campaign alone.
    #[schema(value_type = Option<Uuid>)]
    campaign_id: Option<String>,
    /// Entries of this action alone.
    #[schema(value_type = Option<schema::AuditAction>)]
    action: Option<String>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<Integer>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
struct Entry<'a> {
    /// Its id.
    #[schema(value_type = Uuid)]
    id: AuditEntryId,
    /// Its number in the account's log, from 1 without gaps: that of the event.
    #[schema(minimum = 1)]
    sequence: i64,
    #[schema(value_type = schema::AuditAction)]
    action: &'a str,
    /// The campaign, if it is about one.
    #[schema(value_type = Option<Uuid>, required)]
    campaign_id: Option<CampaignId>,
    /// The run, if it is about one.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    run_number: Option<RunNumber>,
    /// Who did it; `null` for the system.
    #[schema(value_type = Option<Uuid>, required)]
    user_id: Option<UserId>,
    /// That person's name at that time; `null` when the token did not have it.
    #[schema(required, min_length = 1, max_length = 200)]
    user_name: Option<&'a str>,
    /// In which role.
    #[schema(required)]
    role_code: Option<&'a str>,
    /// From where.
    #[schema(required)]
    ip: Option<&'a str>,
    /// In which request.
    #[schema(required)]
    request_id: Option<&'a str>,
    /// Subject, before and after.
    #[schema(value_type = Object)]
    details: &'a RawValue,
    /// When.
    #[serde(with = "rerun_core::timestamp")]
    #[schema(value_type = schema::Timestamp)]
    created_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditListResponse)]
struct Response<'a> {
    /// The entries, newest first.
    entries: Vec<Entry<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
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

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Audit,
        "List audit entries",
        "Newest first. Every request that changes something writes one, and so does the end of \
         a run's generation.",
        json!({ "campaign_id": examples::CAMPAIGN, "action": "rerun.initiated" }),
    )
    .answers::<Response<'_>>(json!({
        "entries": [{
            "id": examples::AUDIT_ENTRY,
            "sequence": 42,
            "action": "rerun.initiated",
            "campaign_id": examples::CAMPAIGN,
            "run_number": 2,
            "user_id": examples::USER,
            "user_name": "Ada Lovelace",
            "role_code": "ADMIN",
            "ip": "203.0.113.7",
            "request_id": "019aaf10-2d01-7b9e-8f30-1a2b3c4d5e6f",
            "details": { "before": "Published", "after": "Processing" },
            "created_at": examples::STARTED,
        }],
        "next_cursor": null,
    }))
    .refuses(&[Code::CampaignNotFound])
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
    wire::json(&Response {
        entries: found.items.iter().map(entry).collect::<Result<_, _>>()?,
        next_cursor: found.next_cursor.as_deref(),
    })
}
