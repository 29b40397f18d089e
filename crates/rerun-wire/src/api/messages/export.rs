use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, Type};

use crate::codes::Code;
use crate::items::MessageItem;
use crate::json::Integer;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Deserialize, ToSchema)]
#[schema(as = MessagesExportRequest)]
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
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Messages,
        "Export the messages of a run",
        "A file, streamed: as CSV one row for each message, with a column for each field of \
         `segment_by`; as JSON lines one `Message` in each line. Without `run_number` it is \
         the current run, and a campaign that has none is refused. Values are written as they \
         are, unless `spreadsheet` is true: a spreadsheet may take one that begins with `=`, \
         `+`, `-` or `@` for a formula.",
        json!({ "campaign_id": examples::CAMPAIGN, "run_number": 2, "format": "csv" }),
    )
    .answers_text(
        "text/csv",
        Object::with_type(Type::String),
        &format!(
            "message_id,run_number,segment_key,country,tier,customer_count,subject,body,\
             review_status,approval_stage,source,reused_from_message_id,reused_from_run_number,\
             archived,archived_at,rejection_reason,error,created_at,updated_at,content_id\n\
             {},2,{},DE,,913,Hello DE,Spring is here.,Approved,,reused,{},1,false,,,,{at},{at},{}\n",
            examples::MESSAGE,
            examples::SEGMENT_KEY,
            examples::REUSED_MESSAGE,
            examples::CONTENT,
            at = examples::STARTED,
        ),
    )
    .answers_lines::<MessageItem<'_>>(&examples::message())
    .header(
        "content-disposition",
        "Names the file.",
        &format!(
            "attachment; filename=\"campaign-{}-run-2.csv\"",
            examples::CAMPAIGN
        ),
    )
    .refuses(&[Code::CampaignNotFound, Code::RunNotFound])
}
