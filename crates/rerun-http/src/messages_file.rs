//! The file of a run's messages.

use std::io;

use rerun_core::campaign::ApprovalStages;
use rerun_core::message::Message;
use rerun_core::segment::SegmentBy;
use rerun_core::usecases::CampaignMessages;
use rerun_files::{CsvRows, Format};

use rerun_wire::items::MessageItem;

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

/// Rows of values, with the header at the beginning of the file.
fn csv(
    fields: &[String],
    stages: &ApprovalStages,
    messages: &[Message],
    header: bool,
    spreadsheet: bool,
) -> io::Result<Vec<u8>> {
    let mut rows = if header {
        let own = || {
            let before = MessageItem::COLUMNS_BEFORE.into_iter();
            before.chain(MessageItem::COLUMNS_AFTER)
        };
        let fields = fields.iter().map(|field| {
            if own().any(|column| column == field) {
                format!("segment.{field}")
            } else {
                field.clone()
            }
        });
        let before = MessageItem::COLUMNS_BEFORE.map(ToOwned::to_owned);
        let after = MessageItem::COLUMNS_AFTER.map(ToOwned::to_owned);
        let columns: Vec<String> = before.into_iter().chain(fields).chain(after).collect();
        CsvRows::begin(spreadsheet, columns.iter().map(String::as_str))?
    } else {
        CsvRows::go_on(spreadsheet)
    };
    for message in messages {
        let mut attributes = message.segment.attributes.to_map()?;
        let item = MessageItem::new(stages, message);
        let mut row = item.values_before().to_vec();
        row.extend(
            fields
                .iter()
                .map(|field| attributes.remove(field).flatten().unwrap_or_default()),
        );
        row.extend(item.values_after());
        rows.add(row.iter().map(String::as_str))?;
    }
    rows.into_bytes()
}
