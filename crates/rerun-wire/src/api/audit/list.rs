use rerun_core::Timestamp;
use rerun_core::ids::{AuditEntryId, CampaignId, RunNumber, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = AuditListRequest)]
pub struct Request {
    /// Entries about this campaign alone.
    #[schema(value_type = Option<Uuid>)]
    pub campaign_id: Option<String>,
    /// Entries of this action alone.
    #[schema(value_type = Option<schema::AuditAction>)]
    pub action: Option<String>,
    /// The most items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct Entry<'a> {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: AuditEntryId,
    /// Its number in the account's log, from 1 without gaps: that of the event.
    #[schema(minimum = 1)]
    pub sequence: i64,
    #[schema(value_type = schema::AuditAction)]
    pub action: &'a str,
    /// The campaign, if it is about one.
    #[schema(value_type = Option<Uuid>, required)]
    pub campaign_id: Option<CampaignId>,
    /// The run, if it is about one.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    pub run_number: Option<RunNumber>,
    /// Who did it; `null` for the system.
    #[schema(value_type = Option<Uuid>, required)]
    pub user_id: Option<UserId>,
    /// That person's name at that time; `null` when the token did not have it.
    #[schema(required, min_length = 1, max_length = 200)]
    pub user_name: Option<&'a str>,
    /// In which role.
    #[schema(required)]
    pub role_code: Option<&'a str>,
    /// From where.
    #[schema(required)]
    pub ip: Option<&'a str>,
    /// In which request.
    #[schema(required)]
    pub request_id: Option<&'a str>,
    /// Subject, before and after.
    #[schema(value_type = Object)]
    pub details: &'a RawValue,
    /// When.
    #[serde(with = "rerun_core::timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditListResponse)]
pub struct Response<'a> {
    /// The entries, newest first.
    pub entries: Vec<Entry<'a>>,
    /// `cursor` for the next page; `null` at the end.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
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
