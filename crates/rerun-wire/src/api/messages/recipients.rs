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
    /// The id of the campaign.
    #[schema(value_type = Uuid, required)]
    pub campaign_id: Option<String>,
    /// The number of a run of the campaign; by default the current run.
    #[schema(value_type = Option<schema::RunNumber>)]
    pub run_number: Option<Integer>,
    /// The format of the file.
    #[schema(value_type = schema::ExportFormat, required)]
    pub format: Option<String>,
    /// Whether to make a CSV file safe to open in a spreadsheet: the file starts with a byte order
    /// mark, and a `'` is put before each value that a spreadsheet would take for a formula.
    #[schema(default = false)]
    pub spreadsheet: Option<bool>,
    /// Whether each row has the subject and the body of the message.
    #[schema(default = false)]
    pub content: Option<bool>,
    /// The number of a run of the campaign. Customers who are in the group of that run are left
    /// out.
    #[schema(value_type = Option<schema::RunNumber>)]
    pub exclude_run: Option<Integer>,
}

/// A line of a file of JSON lines.
#[derive(Serialize, ToSchema)]
#[schema(as = Recipient)]
pub struct Item<'a> {
    /// The customer's reference.
    pub customer_ref: &'a str,
    /// The key of the segment that the customer is in now.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub segment_key: SegmentKey,
    /// The id of the run's message for the segment; `null` if the run has none.
    #[schema(value_type = Option<Uuid>, required)]
    pub message_id: Option<MessageId>,
    /// The subject line, only if `content` is true; `null` for a customer without a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub subject: Option<Option<&'a str>>,
    /// The body, only if `content` is true; `null` for a customer without a message.
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
        "Returns a file, which is streamed. It has a row for each customer of the run's group, \
         ordered by `customer_ref`, with the id of the run's message for the customer's segment; \
         the id is empty if the run has no such message. The group is exported as it is now; if \
         it was changed since the run started, the header `x-group-changed` is `true`. With \
         `exclude_run`, customers who are in the group of that run are left out; if both runs \
         have the same group, the export is refused. If the group is changed during the export, \
         the export breaks off.",
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
        "The name of the file.",
        &format!(
            "attachment; filename=\"campaign-{}-run-2-recipients.csv\"",
            examples::CAMPAIGN
        ),
    )
    .header(
        "x-group-changed",
        "`true` if the group was changed since the run started, else `false`.",
        "false",
    )
    .refuses(&[
        Code::CampaignNotFound,
        Code::RunNotFound,
        Code::CustomerGroupNotFound,
        Code::InvalidTransition,
    ])
}
