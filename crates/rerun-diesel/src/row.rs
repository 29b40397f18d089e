//! Rows as they leave the database, and how they become domain values. The column lists name
//! them so that one row can hold columns of several tables.

use chrono::{DateTime, Utc};
use diesel::prelude::QueryableByName;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
use rerun_core::audit::AuditEntry;
use rerun_core::campaign::{ApprovalStages, Campaign, Template};
use rerun_core::error::{Invalid, StoreError};
use rerun_core::group::CustomerGroup;
use rerun_core::ids::{
    AccountId, AuditEntryId, CampaignId, CustomerGroupId, JobId, MessageId, RunNumber, UserId,
};
use rerun_core::message::{Approvals, Content, Message, MessageState, Provenance, ReusedFrom};
use rerun_core::run::{MessageCounts, Run, RunGroup, SegmentCounts};
use rerun_core::segment::{Attributes, Segment, SegmentBy, SegmentKey};
use uuid::Uuid;

use crate::types::{Id, Time};

fn corrupt(table: &str, column: &str, value: impl std::fmt::Debug) -> StoreError {
    StoreError::corrupt(format!("{table}.{column} is {value:?}"))
}

/// A value that is kept as one of a fixed set of texts.
///
/// # Errors
/// [`StoreError::Corrupt`] for any other text.
pub fn text<T: std::str::FromStr<Err = Invalid>>(
    table: &str,
    column: &str,
    value: &str,
) -> Result<T, StoreError> {
    value
        .parse()
        .map_err(|_invalid: Invalid| corrupt(table, column, value))
}

/// A run number.
///
/// # Errors
/// [`StoreError::Corrupt`] for a number that no run can have.
pub fn run_number(table: &str, number: i32) -> Result<RunNumber, StoreError> {
    RunNumber::new(number.into()).ok_or_else(|| corrupt(table, "run number", number))
}

fn count(column: &str, value: i32) -> Result<u32, StoreError> {
    u32::try_from(value).map_err(|_negative| corrupt("runs", column, value))
}

/// A segment key.
///
/// # Errors
/// [`StoreError::Corrupt`] unless it has 32 bytes.
pub fn segment_key(bytes: &[u8]) -> Result<SegmentKey, StoreError> {
    SegmentKey::from_bytes(bytes).ok_or_else(|| corrupt("segments", "key", bytes))
}

/// Columns of [`GroupRow`] of the table `customer_groups AS g`.
#[macro_export]
macro_rules! group_columns {
    () => {
        "g.account_id AS group_account_id, g.id AS group_id, g.name AS group_name, \
         g.customer_count AS group_customer_count, g.version AS group_version, \
         g.created_at AS group_created_at, g.updated_at AS group_updated_at"
    };
}

/// A row of `customer_groups`.
#[derive(Debug, QueryableByName)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct GroupRow {
    #[diesel(sql_type = Id)]
    pub group_account_id: Uuid,
    #[diesel(sql_type = Id)]
    pub group_id: Uuid,
    #[diesel(sql_type = Text)]
    pub group_name: String,
    #[diesel(sql_type = BigInt)]
    pub group_customer_count: i64,
    #[diesel(sql_type = BigInt)]
    pub group_version: i64,
    #[diesel(sql_type = Time)]
    pub group_created_at: DateTime<Utc>,
    #[diesel(sql_type = Time)]
    pub group_updated_at: DateTime<Utc>,
}

impl From<GroupRow> for CustomerGroup {
    fn from(row: GroupRow) -> Self {
        Self {
            account_id: AccountId::new(row.group_account_id),
            id: CustomerGroupId::new(row.group_id),
            name: row.group_name,
            customer_count: row.group_customer_count,
            created_at: row.group_created_at,
            updated_at: row.group_updated_at,
        }
    }
}

/// Columns of [`CampaignRow`] of the table `campaigns AS c`.
#[macro_export]
macro_rules! campaign_columns {
    () => {
        "c.account_id, c.id, c.name, c.customer_group_id, c.segment_by, c.template_subject, \
         c.template_body, c.brief, c.approval_stages, c.status, c.current_run_number, \
         c.last_run_number, c.version, c.created_by, c.created_at, c.updated_at"
    };
}

/// A row of `campaigns`.
#[derive(Debug, QueryableByName)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct CampaignRow {
    #[diesel(sql_type = Id)]
    pub account_id: Uuid,
    #[diesel(sql_type = Id)]
    pub id: Uuid,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Id)]
    pub customer_group_id: Uuid,
    #[diesel(sql_type = Text)]
    pub segment_by: String,
    #[diesel(sql_type = Text)]
    pub template_subject: String,
    #[diesel(sql_type = Text)]
    pub template_body: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub brief: Option<String>,
    #[diesel(sql_type = Text)]
    pub approval_stages: String,
    #[diesel(sql_type = Text)]
    pub status: String,
    #[diesel(sql_type = Nullable<Integer>)]
    pub current_run_number: Option<i32>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub last_run_number: Option<i32>,
    #[diesel(sql_type = BigInt)]
    pub version: i64,
    #[diesel(sql_type = Id)]
    pub created_by: Uuid,
    #[diesel(sql_type = Time)]
    pub created_at: DateTime<Utc>,
    #[diesel(sql_type = Time)]
    pub updated_at: DateTime<Utc>,
}

/// A campaign's fields as its row keeps them.
///
/// # Errors
/// [`StoreError::Corrupt`] when the text is no list of 1 to 8 names.
pub fn segment_by(json: &str) -> Result<SegmentBy, StoreError> {
    let names: Vec<String> =
        serde_json::from_str(json).map_err(|_invalid| corrupt("campaigns", "segment_by", json))?;
    SegmentBy::new(&names).map_err(|_invalid| corrupt("campaigns", "segment_by", json))
}

/// A list of texts as a row keeps it.
#[must_use]
pub fn json_list(names: &[String]) -> String {
    serde_json::json!(names).to_string()
}

impl TryFrom<CampaignRow> for Campaign {
    type Error = StoreError;

    fn try_from(row: CampaignRow) -> Result<Self, StoreError> {
        let stages: Vec<String> = serde_json::from_str(&row.approval_stages)
            .map_err(|_invalid| corrupt("campaigns", "approval_stages", &row.approval_stages))?;
        let number = |number| run_number("campaigns", number);
        Ok(Self {
            account_id: AccountId::new(row.account_id),
            id: CampaignId::new(row.id),
            name: row.name,
            customer_group_id: CustomerGroupId::new(row.customer_group_id),
            segment_by: segment_by(&row.segment_by)?,
            template: Template {
                subject: row.template_subject,
                body: row.template_body,
            },
            brief: row.brief,
            approval_stages: ApprovalStages::new(&stages)
                .map_err(|_invalid| corrupt("campaigns", "approval_stages", &stages))?,
            status: text("campaigns", "status", &row.status)?,
            current_run: row.current_run_number.map(number).transpose()?,
            last_run: row.last_run_number.map(number).transpose()?,
            version: row.version,
            created_by: UserId::new(row.created_by),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Columns of [`RunRow`] of the table `runs AS r`.
#[macro_export]
macro_rules! run_columns {
    () => {
        "r.number AS run_number, r.job_uid AS run_job_uid, r.status AS run_status, \
         r.synthesised AS run_synthesised, r.group_id AS run_group_id, \
         r.group_name AS run_group_name, r.customer_count AS run_customer_count, \
         r.segments_total AS run_segments_total, r.segments_matched AS run_segments_matched, \
         r.segments_new AS run_segments_new, r.reused AS run_reused, \
         r.generated AS run_generated, r.edited AS run_edited, r.generating AS run_generating, \
         r.failed AS run_failed, r.pending AS run_pending, r.approved AS run_approved, \
         r.rejected AS run_rejected, r.published AS run_published, \
         r.resulting_status AS run_resulting_status, r.initiated_by AS run_initiated_by, \
         r.previous_run_number AS run_previous_run_number, r.error AS run_error, \
         r.cancel_reason AS run_cancel_reason, r.started_at AS run_started_at, \
         r.completed_at AS run_completed_at, r.archived_at AS run_archived_at"
    };
}

/// A row of `runs`.
#[derive(Debug, QueryableByName)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct RunRow {
    #[diesel(sql_type = Integer)]
    pub run_number: i32,
    #[diesel(sql_type = Nullable<Id>)]
    pub run_job_uid: Option<Uuid>,
    #[diesel(sql_type = Text)]
    pub run_status: String,
    #[diesel(sql_type = Bool)]
    pub run_synthesised: bool,
    #[diesel(sql_type = Id)]
    pub run_group_id: Uuid,
    #[diesel(sql_type = Text)]
    pub run_group_name: String,
    #[diesel(sql_type = BigInt)]
    pub run_customer_count: i64,
    #[diesel(sql_type = Integer)]
    pub run_segments_total: i32,
    #[diesel(sql_type = Integer)]
    pub run_segments_matched: i32,
    #[diesel(sql_type = Integer)]
    pub run_segments_new: i32,
    #[diesel(sql_type = Integer)]
    pub run_reused: i32,
    #[diesel(sql_type = Integer)]
    pub run_generated: i32,
    #[diesel(sql_type = Integer)]
    pub run_edited: i32,
    #[diesel(sql_type = Integer)]
    pub run_generating: i32,
    #[diesel(sql_type = Integer)]
    pub run_failed: i32,
    #[diesel(sql_type = Integer)]
    pub run_pending: i32,
    #[diesel(sql_type = Integer)]
    pub run_approved: i32,
    #[diesel(sql_type = Integer)]
    pub run_rejected: i32,
    #[diesel(sql_type = Integer)]
    pub run_published: i32,
    #[diesel(sql_type = Text)]
    pub run_resulting_status: String,
    #[diesel(sql_type = Nullable<Id>)]
    pub run_initiated_by: Option<Uuid>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub run_previous_run_number: Option<i32>,
    #[diesel(sql_type = Nullable<Text>)]
    pub run_error: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub run_cancel_reason: Option<String>,
    #[diesel(sql_type = Time)]
    pub run_started_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Time>)]
    pub run_completed_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Time>)]
    pub run_archived_at: Option<DateTime<Utc>>,
}

impl TryFrom<RunRow> for Run {
    type Error = StoreError;

    fn try_from(row: RunRow) -> Result<Self, StoreError> {
        Ok(Self {
            number: run_number("runs", row.run_number)?,
            job_uid: row.run_job_uid.map(JobId::new),
            status: text("runs", "status", &row.run_status)?,
            synthesised: row.run_synthesised,
            group: RunGroup {
                id: CustomerGroupId::new(row.run_group_id),
                name: row.run_group_name,
            },
            customer_count: row.run_customer_count,
            segments: SegmentCounts {
                total: count("segments_total", row.run_segments_total)?,
                matched: count("segments_matched", row.run_segments_matched)?,
                new: count("segments_new", row.run_segments_new)?,
            },
            counts: MessageCounts {
                reused: count("reused", row.run_reused)?,
                generated: count("generated", row.run_generated)?,
                edited: count("edited", row.run_edited)?,
                generating: count("generating", row.run_generating)?,
                failed: count("failed", row.run_failed)?,
                pending: count("pending", row.run_pending)?,
                approved: count("approved", row.run_approved)?,
                rejected: count("rejected", row.run_rejected)?,
                published: count("published", row.run_published)?,
            },
            resulting_status: text("runs", "resulting_status", &row.run_resulting_status)?,
            initiated_by: row.run_initiated_by.map(UserId::new),
            previous_run: row
                .run_previous_run_number
                .map(|number| run_number("runs", number))
                .transpose()?,
            error: row.run_error,
            cancel_reason: row.run_cancel_reason,
            started_at: row.run_started_at,
            completed_at: row.run_completed_at,
            archived_at: row.run_archived_at,
        })
    }
}

/// Columns of [`MessageRow`] of the tables `messages AS m`, `segments AS s`, `contents AS t`
/// (left) and `runs AS r`.
#[macro_export]
macro_rules! message_columns {
    () => {
        "m.id AS message_id, m.run_number AS message_run_number, \
         m.segment_no AS message_segment_no, s.key AS segment_key, \
         s.attributes AS segment_attributes, m.customer_count AS message_customer_count, \
         t.subject AS content_subject, t.body AS content_body, \
         t.run_number AS content_run_number, m.review_status AS message_review_status, \
         m.approval_stage AS message_approval_stage, m.source AS message_source, \
         m.reused_from_message_id, m.reused_from_run_number, \
         m.approvals AS message_approvals, r.archived_at AS message_archived_at, \
         m.rejection_reason AS message_rejection_reason, m.error AS message_error, \
         m.created_at AS message_created_at, m.updated_at AS message_updated_at"
    };
}

/// A row of `messages` with its segment and content.
#[derive(Debug, QueryableByName)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct MessageRow {
    #[diesel(sql_type = Id)]
    pub message_id: Uuid,
    #[diesel(sql_type = Integer)]
    pub message_run_number: i32,
    #[diesel(sql_type = Integer)]
    pub message_segment_no: i32,
    #[diesel(sql_type = Binary)]
    pub segment_key: Vec<u8>,
    #[diesel(sql_type = Text)]
    pub segment_attributes: String,
    #[diesel(sql_type = BigInt)]
    pub message_customer_count: i64,
    #[diesel(sql_type = Nullable<Text>)]
    pub content_subject: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub content_body: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub content_run_number: Option<i32>,
    #[diesel(sql_type = Text)]
    pub message_review_status: String,
    #[diesel(sql_type = Nullable<SmallInt>)]
    pub message_approval_stage: Option<i16>,
    #[diesel(sql_type = Text)]
    pub message_source: String,
    #[diesel(sql_type = Nullable<Id>)]
    pub reused_from_message_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub reused_from_run_number: Option<i32>,
    #[diesel(sql_type = Text)]
    pub message_approvals: String,
    #[diesel(sql_type = Nullable<Time>)]
    pub message_archived_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub message_rejection_reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub message_error: Option<String>,
    #[diesel(sql_type = Time)]
    pub message_created_at: DateTime<Utc>,
    #[diesel(sql_type = Time)]
    pub message_updated_at: DateTime<Utc>,
}

impl TryFrom<MessageRow> for Message {
    type Error = StoreError;

    fn try_from(row: MessageRow) -> Result<Self, StoreError> {
        let reused_from = match (row.reused_from_message_id, row.reused_from_run_number) {
            (Some(id), Some(number)) => Some(ReusedFrom {
                message_id: MessageId::new(id),
                run_number: run_number("messages", number)?,
            }),
            (None, None) => None,
            half => return Err(corrupt("messages", "reused_from", half)),
        };
        let (content, provenance) = match (
            row.content_subject,
            row.content_body,
            row.content_run_number,
        ) {
            (Some(subject), Some(body), Some(number)) => {
                let provenance = Provenance {
                    run_number: run_number("contents", number)?,
                    approvals: Approvals::from_stored(row.message_approvals),
                };
                (Some(Content { subject, body }), Some(provenance))
            }
            _ => (None, None),
        };
        Ok(Self {
            id: MessageId::new(row.message_id),
            run_number: run_number("messages", row.message_run_number)?,
            segment_no: row.message_segment_no,
            segment: Segment {
                key: segment_key(&row.segment_key)?,
                attributes: Attributes::from_stored(row.segment_attributes),
                customer_count: row.message_customer_count,
            },
            content,
            state: MessageState::from_columns(
                text("messages", "review_status", &row.message_review_status)?,
                row.message_approval_stage,
            )?,
            source: text("messages", "source", &row.message_source)?,
            reused_from,
            provenance,
            archived_at: row.message_archived_at,
            rejection_reason: row.message_rejection_reason,
            error: row.message_error,
            created_at: row.message_created_at,
            updated_at: row.message_updated_at,
        })
    }
}

/// Columns of [`AuditRow`] of the table `audit_entries AS a`.
#[macro_export]
macro_rules! audit_columns {
    () => {
        "a.account_id AS audit_account_id, a.seq AS audit_seq, a.id AS audit_id, \
         a.action AS audit_action, a.campaign_id AS audit_campaign_id, \
         a.run_number AS audit_run_number, a.user_id AS audit_user_id, \
         a.role_code AS audit_role_code, a.ip AS audit_ip, a.request_id AS audit_request_id, \
         a.details AS audit_details, a.created_at AS audit_created_at, a.hash AS audit_hash"
    };
}

/// A row of `audit_entries`.
#[derive(Debug, QueryableByName)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct AuditRow {
    #[diesel(sql_type = Id)]
    pub audit_account_id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub audit_seq: i64,
    #[diesel(sql_type = Id)]
    pub audit_id: Uuid,
    #[diesel(sql_type = Text)]
    pub audit_action: String,
    #[diesel(sql_type = Nullable<Id>)]
    pub audit_campaign_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub audit_run_number: Option<i32>,
    #[diesel(sql_type = Nullable<Id>)]
    pub audit_user_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    pub audit_role_code: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub audit_ip: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub audit_request_id: Option<String>,
    #[diesel(sql_type = Text)]
    pub audit_details: String,
    #[diesel(sql_type = Time)]
    pub audit_created_at: DateTime<Utc>,
    #[diesel(sql_type = Binary)]
    pub audit_hash: Vec<u8>,
}

/// A hash of the audit chain.
///
/// # Errors
/// [`StoreError::Corrupt`] unless it has 32 bytes.
pub fn chain_hash(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes
        .try_into()
        .map_err(|_invalid| corrupt("audit", "hash", bytes))
}

impl TryFrom<AuditRow> for AuditEntry {
    type Error = StoreError;

    fn try_from(row: AuditRow) -> Result<Self, StoreError> {
        Ok(Self {
            seq: row.audit_seq,
            id: AuditEntryId::new(row.audit_id),
            account_id: AccountId::new(row.audit_account_id),
            action: row.audit_action,
            campaign_id: row.audit_campaign_id.map(CampaignId::new),
            run_number: row
                .audit_run_number
                .map(|number| run_number("audit_entries", number))
                .transpose()?,
            user_id: row.audit_user_id.map(UserId::new),
            role_code: row.audit_role_code,
            ip: row.audit_ip,
            request_id: row.audit_request_id,
            details: row.audit_details,
            created_at: row.audit_created_at,
            hash: chain_hash(&row.audit_hash)?,
        })
    }
}
