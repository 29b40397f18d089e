//! The file of a run's messages.

use std::io;

use rerun_core::campaign::ApprovalStages;
use rerun_core::message::Message;
use rerun_core::segment::SegmentBy;
use rerun_core::timestamp;
use rerun_core::usecases::CampaignMessages;
use rerun_files::{CsvRows, Format};

use rerun_wire::items::{MessageItem, approval_stage};

/// The messages of a run as a file, which is made page by page: as CSV one row for each message,
/// with a column for each field of the segmentation; as JSON lines one message in each line.
#[derive(Debug)]
pub struct MessagesFile {
    fields: Vec<String>,
    format: Format,
    /// Whether the beginning of the file has been made.
    begun: bool,
}

impl MessagesFile {
    /// An empty file, for a campaign with this segmentation.
    #[must_use]
    pub fn new(segment_by: &SegmentBy, format: Format) -> Self {
        Self {
            fields: segment_by.fields().to_vec(),
            format,
            begun: false,
        }
    }

    /// What the file goes on with for the next page: CSV begins with its header.
    ///
    /// # Errors
    /// When a store returned attributes that are none.
    pub fn rows(&mut self, page: &CampaignMessages) -> io::Result<Vec<u8>> {
        let stages = &page.approval_stages;
        let messages = &page.messages.items;
        let rows = match self.format {
            Format::Csv { spreadsheet } => {
                csv(&self.fields, stages, messages, !self.begun, spreadsheet)
            }
            Format::JsonLines => json_lines(stages, messages),
        };
        self.begun = true;
        rows
    }
}

fn json_lines(stages: &ApprovalStages, messages: &[Message]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for message in messages {
        let item = MessageItem::new(stages, message);
        serde_json::to_writer(&mut lines, &item)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The columns before those of the segmentation.
const COLUMNS_BEFORE: [&str; 3] = ["message_id", "run_number", "segment_key"];
/// The columns after them.
const COLUMNS_AFTER: [&str; 15] = [
    "customer_count",
    "subject",
    "body",
    "review_status",
    "approval_stage",
    "source",
    "reused_from_message_id",
    "reused_from_run_number",
    "archived",
    "archived_at",
    "rejection_reason",
    "error",
    "created_at",
    "updated_at",
    "content_id",
];

/// Rows of values, with the header at the beginning of the file.
fn csv(
    fields: &[String],
    stages: &ApprovalStages,
    messages: &[Message],
    header: bool,
    spreadsheet: bool,
) -> io::Result<Vec<u8>> {
    let mut rows = if header {
        let taken = |field: &str| COLUMNS_BEFORE.contains(&field) || COLUMNS_AFTER.contains(&field);
        let fields = fields.iter().map(|field| {
            if taken(field) {
                format!("segment.{field}")
            } else {
                field.clone()
            }
        });
        let columns = COLUMNS_BEFORE.into_iter().map(ToOwned::to_owned);
        let columns = columns
            .chain(fields)
            .chain(COLUMNS_AFTER.into_iter().map(ToOwned::to_owned));
        let columns: Vec<String> = columns.collect();
        CsvRows::begin(spreadsheet, columns.iter().map(String::as_str))?
    } else {
        CsvRows::go_on(spreadsheet)
    };
    for message in messages {
        let mut attributes = message.segment.attributes.to_map()?;
        let mut row = vec![
            message.id.to_string(),
            message.run_number.to_string(),
            message.segment.key.to_string(),
        ];
        row.extend(
            fields
                .iter()
                .map(|field| attributes.remove(field).flatten().unwrap_or_default()),
        );
        let (subject, body) = match &message.content {
            Some(content) => (content.subject.clone(), content.body.clone()),
            None => (String::new(), String::new()),
        };
        let reused_from = message.reused_from;
        row.extend([
            message.segment.customer_count.to_string(),
            subject,
            body,
            message.state.status().to_string(),
            approval_stage(stages, message)
                .unwrap_or_default()
                .to_owned(),
            message.source.to_string(),
            reused_from
                .map(|from| from.message_id.to_string())
                .unwrap_or_default(),
            reused_from
                .map(|from| from.run_number.to_string())
                .unwrap_or_default(),
            message.archived_at.is_some().to_string(),
            message
                .archived_at
                .map(timestamp::format)
                .unwrap_or_default(),
            message.rejection_reason.clone().unwrap_or_default(),
            message.error.clone().unwrap_or_default(),
            timestamp::format(message.created_at),
            timestamp::format(message.updated_at),
            message
                .content_id
                .map(|id| id.to_string())
                .unwrap_or_default(),
        ]);
        rows.add(row.iter().map(String::as_str))?;
    }
    rows.into_bytes()
}
