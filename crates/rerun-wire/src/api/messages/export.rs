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
}

pub(crate) fn docs() -> Docs {
    Docs::call::<Request>(
        Tag::Messages,
        "Export the messages of a run",
        "Returns the messages as a file, which is streamed. A CSV file has a row for each \
         message, with a column for each field of `segment_by`. A file of JSON lines has one \
         `Message` in each line. Without `run_number` the current run is exported; if the \
         campaign has no run, the export is refused. Values are written as they are unless \
         `spreadsheet` is true. A spreadsheet may take a value that begins with `=`, `+`, `-` or \
         `@` for a formula.",
        json!({ "campaign_id": examples::CAMPAIGN, "run_number": 2, "format": "csv" }),
    )
    .answers_text(
        "text/csv",
        Object::with_type(Type::String),
        &examples::message_file(),
    )
    .answers_lines::<MessageItem<'_>>(&examples::message())
    .header(
        "content-disposition",
        "The name of the file.",
        &format!(
            "attachment; filename=\"campaign-{}-run-2.csv\"",
            examples::CAMPAIGN
        ),
    )
    .refuses(&[Code::CampaignNotFound, Code::RunNotFound])
}
