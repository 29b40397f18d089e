use std::io;

use actix_web::web::Bytes;
use rerun_core::ids::MessageId;
use rerun_core::segment::SegmentKey;
use rerun_core::usecases::{Recipient, RecipientList, RecipientRequest};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, Type};

use crate::error::ApiError;
use crate::export::{Export, file, pieces};
use crate::extract::{JsonCall, Required};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::request_id::note_run;
use crate::routes::params::{campaign_id, run_number};
use crate::state::State;
use crate::wire::Answer;
use rerun_files::{CsvRows, Format};
use rerun_wire::json::Integer;

#[derive(Deserialize, ToSchema)]
#[schema(as = RecipientsExportRequest)]
pub(crate) struct Request {
    /// The campaign.
    #[schema(value_type = Uuid, required)]
    campaign_id: Option<String>,
    /// A run of the campaign; by default the current one.
    #[schema(value_type = Option<schema::RunNumber>)]
    run_number: Option<Integer>,
    /// The form of the file.
    #[schema(value_type = schema::ExportFormat, required)]
    format: Option<String>,
    /// Whether a spreadsheet is to open it (CSV only): the file starts with a byte order mark, and
    /// a `'` stands before each value that a spreadsheet would take for a formula.
    #[schema(default = false)]
    spreadsheet: Option<bool>,
    /// Whether each row has the subject and the body of the message.
    #[schema(default = false)]
    content: Option<bool>,
    /// A run of the campaign whose group's customers are left out.
    #[schema(value_type = Option<schema::RunNumber>)]
    exclude_run: Option<Integer>,
}

/// A line of JSON lines.
#[derive(Serialize, ToSchema)]
#[schema(as = Recipient)]
#[expect(
    clippy::option_option,
    reason = "left out without `content`, null without a message"
)]
struct Item<'a> {
    /// The customer's reference.
    customer_ref: &'a str,
    /// The segment that the customer is in now.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    segment_key: SegmentKey,
    /// The run's message for the segment; `null` when the run has none.
    #[schema(value_type = Option<Uuid>, required)]
    message_id: Option<MessageId>,
    /// Subject line; only with `content`, `null` when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    subject: Option<Option<&'a str>>,
    /// Body; only with `content`, `null` when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    body: Option<Option<&'a str>>,
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

/// `POST /v1/campaign/recipients/export`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let format = required.text("format", body.format);
    required.check()?;
    let format = Format::of(&format, body.spreadsheet)?;
    let campaign = campaign_id(&campaign);
    let mut runs = [None, None];
    for (run, number) in runs.iter_mut().zip([body.exclude_run, body.run_number]) {
        if let Some(number) = number {
            *run = Some(run_number(&state, &caller, campaign, number).await?);
        }
    }
    let [exclude_run, run] = runs;
    let with_content = body.content.unwrap_or_default();
    let request = RecipientRequest {
        campaign,
        run,
        exclude_run,
        content: with_content,
    };
    let mut list = state.engine.recipients.list(&caller, request).await?;
    let run = list.run();
    note_run(run);
    let changed = list.group_changed();
    // Read before the status is sent, so that a database that fails is an error.
    let first = list.next().await?;
    let export = RecipientsExport {
        list,
        format,
        with_content,
        begun: false,
    };
    let name = format!("campaign-{campaign}-run-{run}-recipients");
    Ok(file(&name, format)
        .insert_header(("x-group-changed", if changed { "true" } else { "false" }))
        .streaming(pieces(export, first)))
}

struct RecipientsExport {
    list: RecipientList,
    format: Format,
    with_content: bool,
    /// Whether the beginning of the file has been made.
    begun: bool,
}

impl Export for RecipientsExport {
    type Rest = Option<Vec<Recipient>>;

    async fn piece(&mut self, page: Self::Rest) -> Result<Option<(Bytes, Self::Rest)>, ApiError> {
        let mut page = page;
        while let Some(recipients) = page {
            let chunk = match self.format {
                Format::Csv { spreadsheet } => self.csv(&recipients, spreadsheet),
                Format::JsonLines => self.json_lines(&recipients),
            };
            let chunk = chunk.map_err(ApiError::internal)?;
            self.begun = true;
            page = self.list.next().await?;
            // An empty piece would end the body.
            if !chunk.is_empty() {
                return Ok(Some((chunk.into(), page)));
            }
        }
        Ok(None)
    }
}

impl RecipientsExport {
    fn csv(&self, recipients: &[Recipient], spreadsheet: bool) -> io::Result<Vec<u8>> {
        let columns = [
            "customer_ref",
            "segment_key",
            "message_id",
            "subject",
            "body",
        ];
        let shown = if self.with_content { 5 } else { 3 };
        let mut rows = if self.begun {
            CsvRows::go_on(spreadsheet)
        } else {
            CsvRows::begin(spreadsheet, columns.into_iter().take(shown))?
        };
        for recipient in recipients {
            let key = recipient.segment_key.to_string();
            let message = recipient.message.map(|id| id.to_string());
            let content = recipient.content.as_deref();
            let values = [
                recipient.customer_ref.as_str(),
                key.as_str(),
                message.as_deref().unwrap_or_default(),
                content.map_or("", |content| content.subject.as_str()),
                content.map_or("", |content| content.body.as_str()),
            ];
            rows.add(values.into_iter().take(shown))?;
        }
        rows.into_bytes()
    }

    fn json_lines(&self, recipients: &[Recipient]) -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        for recipient in recipients {
            let content = recipient.content.as_deref();
            let subject = content.map(|content| content.subject.as_str());
            let body = content.map(|content| content.body.as_str());
            let item = Item {
                customer_ref: &recipient.customer_ref,
                segment_key: recipient.segment_key,
                message_id: recipient.message,
                subject: self.with_content.then_some(subject),
                body: self.with_content.then_some(body),
            };
            serde_json::to_writer(&mut lines, &item)?;
            lines.push(b'\n');
        }
        Ok(lines)
    }
}
