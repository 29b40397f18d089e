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
    /// The id of a campaign: return only entries about it.
    #[schema(value_type = Option<Uuid>)]
    pub campaign_id: Option<String>,
    /// Return only entries of this action.
    #[schema(value_type = Option<schema::AuditAction>)]
    pub action: Option<String>,
    /// The maximum number of items to return.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 10_000, default = 1_000)]
    pub limit: Option<Integer>,
    /// The `next_cursor` of the previous page. Leave it out for the first page.
    pub cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct Entry<'a> {
    /// The id of the entry, which is also the id of its event.
    #[schema(value_type = Uuid)]
    pub id: AuditEntryId,
    /// The number of the entry in the account's log: from 1, without gaps. Its event has the same
    /// number.
    #[schema(minimum = 1)]
    pub sequence: i64,
    #[schema(value_type = schema::AuditAction)]
    pub action: &'a str,
    /// The id of the campaign; `null` if the entry is not about a campaign.
    #[schema(value_type = Option<Uuid>, required)]
    pub campaign_id: Option<CampaignId>,
    /// The number of the run; `null` if the entry is not about a run.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    pub run_number: Option<RunNumber>,
    /// The id of the person who did it; `null` if the system did it.
    #[schema(value_type = Option<Uuid>, required)]
    pub user_id: Option<UserId>,
    /// The person's name at that time; `null` if the token did not contain a name.
    #[schema(required, min_length = 1, max_length = 200)]
    pub user_name: Option<&'a str>,
    /// The person's role.
    #[schema(required)]
    pub role_code: Option<&'a str>,
    /// The person's IP address.
    #[schema(required)]
    pub ip: Option<&'a str>,
    /// The id of the request that did it.
    #[schema(required)]
    pub request_id: Option<&'a str>,
    /// Details of the action, for example the status before and after it.
    #[schema(value_type = Object)]
    pub details: &'a RawValue,
    /// When it happened.
    #[serde(with = "rerun_core::timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditListResponse)]
pub struct Response<'a> {
    /// The entries, newest first.
    pub entries: Vec<Entry<'a>>,
    /// The `cursor` for the next page; `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<&'a str>,
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Audit,
        "List audit entries",
        "Returns the audit entries of the account, newest first. Every request that changes \
         something writes one entry, and so does the end of a run's generation.",
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
