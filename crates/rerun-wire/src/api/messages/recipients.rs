use rerun_core::ids::MessageId;
use rerun_core::segment::SegmentKey;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, Type};

use crate::codes::Code;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = RecipientsExportRequest)]
pub struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// A run of the campaign; by default the current one.
    #[schema(value_type = Option<schema::RunNumber>)]
    pub run_number: Option<Integer>,
    /// The form of the file.
    #[schema(value_type = schema::ExportFormat, required)]
    pub format: Option<String>,
    /// Whether a spreadsheet is to open it (CSV only): the file starts with a byte order mark, and
    /// a `'` stands before each value that a spreadsheet would take for a formula.
    #[schema(default = false)]
    pub spreadsheet: Option<bool>,
    /// Whether each row has the subject and the body of the message.
    #[schema(default = false)]
    pub content: Option<bool>,
    /// A run of the campaign whose group's customers are left out.
    #[schema(value_type = Option<schema::RunNumber>)]
    pub exclude_run: Option<Integer>,
}

/// A line of JSON lines.
#[derive(Serialize, ToSchema)]
#[schema(as = Recipient)]
pub struct Item<'a> {
    /// The customer's reference.
    pub customer_ref: &'a str,
    /// The segment that the customer is in now.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub segment_key: SegmentKey,
    /// The run's message for the segment; `null` when the run has none.
    #[schema(value_type = Option<Uuid>, required)]
    pub message_id: Option<MessageId>,
    /// Subject line; only with `content`, `null` when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub subject: Option<Option<&'a str>>,
    /// Body; only with `content`, `null` when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub body: Option<Option<&'a str>>,
}

pub(crate) fn docs() -> Docs {
    let key = examples::SEGMENT_KEY;
    let message = examples::MESSAGE;
    Docs::call::<Request>(
        Tag::Messages,
        "Export who gets which message",
        "A file, streamed: a row for each customer of the run's group, in the order of \
         `customer_ref`, with the run's message for the customer's segment; it is empty when the \
         run has none. The group is exported as it is now: `x-group-changed: true` says that it \
         was changed since the run started. With `exclude_run`, customers who are in that run's \
         group are left out; it is refused when both runs have the same group. An export breaks \
         off when the group is changed while it is read.",
        json!({ "campaign_id": examples::CAMPAIGN, "format": "csv" }),
    )
    .answers_text(
        "text/csv",
        Object::with_type(Type::String),
        &format!("customer_ref,segment_key,message_id\nC-1,{key},{message}\n"),
    )
    .answers_lines::<Item<'_>>(&json!({
        "customer_ref": "C-1", "segment_key": key, "message_id": message,
        "subject": "Hello DE", "body": "Spring is here.",
    }))
    .header(
        "content-disposition",
        "Names the file.",
        &format!(
            "attachment; filename=\"campaign-{}-run-2-recipients.csv\"",
            examples::CAMPAIGN
        ),
    )
    .header(
        "x-group-changed",
        "`true` when the group was changed since the run started, else `false`.",
        "false",
    )
    .refuses(&[
        Code::CampaignNotFound,
        Code::RunNotFound,
        Code::CustomerGroupNotFound,
        Code::InvalidTransition,
    ])
}
