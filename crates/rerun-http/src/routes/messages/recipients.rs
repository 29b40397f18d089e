use std::io;

use actix_web::web::Bytes;
use rerun_core::usecases::{Recipient, RecipientList, RecipientRequest};
use rerun_files::{CsvRows, Format};
use rerun_wire::api::messages::recipients::{Item, Request};

use crate::answer::Answer;
use crate::error::ApiError;
use crate::export::{Export, file, pieces};
use crate::extract::{JsonCall, Required};
use crate::request_id::note_run;
use crate::routes::params::{campaign_id, run_number};
use crate::state::State;

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
