use actix_web::web::Bytes;
use rerun_core::actor::Actor;
use rerun_core::campaign::ApprovalStages;
use rerun_core::error::Error;
use rerun_core::ids::{CampaignId, RunNumber};
use rerun_core::message::Message;
use rerun_core::ports::MessageSelection;
use rerun_core::timestamp;
use rerun_core::usecases::{CampaignMessages, PageQuery};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, Type};

use crate::error::ApiError;
use crate::export::{CsvRows, Export, Format, file, pieces};
use crate::extract::{JsonCall, Required};
use crate::json::Integer;
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::request_id::note_run;
use crate::routes::params::{campaign_id, run_number};
use crate::state::State;
use crate::wire::{Answer, MessageItem, approval_stage};

/// How many messages are in memory at once.
const PAGE: i64 = 500;

#[derive(Deserialize, ToSchema)]
#[schema(as = MessagesExportRequest)]
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

/// `POST /v1/campaign/messages/export`
pub(crate) async fn handle(state: State, call: JsonCall<Request>) -> Answer {
    let JsonCall { caller, body } = call;
    let mut required = Required::default();
    let campaign = required.text("campaign_id", body.campaign_id);
    let format = required.text("format", body.format);
    required.check()?;
    let format = Format::of(&format, body.spreadsheet)?;
    let campaign = campaign_id(&campaign);
    let found = state.engine.campaigns.get(&caller, campaign).await?;
    let run = match body.run_number {
        Some(number) => run_number(&state, &caller, campaign, number).await?,
        None => found.current_run.ok_or(Error::RunNotFound)?,
    };
    note_run(run);
    let export = MessagesExport {
        state,
        caller,
        campaign,
        fields: found.segment_by.fields().to_vec(),
        run,
        format,
    };
    // Read before the status is sent, so that a campaign or run that is not there is refused.
    let first = Rest::First(Box::new(export.page(None).await?));
    Ok(file(&format!("campaign-{campaign}-run-{run}"), format).streaming(pieces(export, first)))
}

/// What is still to be sent.
enum Rest {
    First(Box<CampaignMessages>),
    After(String),
    Nothing,
}

struct MessagesExport {
    state: State,
    caller: Actor,
    campaign: CampaignId,
    /// The fields that the campaign's segments are made of.
    fields: Vec<String>,
    run: RunNumber,
    format: Format,
}

impl MessagesExport {
    async fn page(&self, cursor: Option<String>) -> Result<CampaignMessages, ApiError> {
        let page = PageQuery {
            limit: Some(PAGE),
            cursor,
        };
        let selection = MessageSelection::Run(self.run);
        let history = &self.state.engine.history;
        Ok(history
            .messages(&self.caller, self.campaign, selection, &page)
            .await?)
    }
}

impl Export for MessagesExport {
    type Rest = Rest;

    async fn piece(&mut self, rest: Rest) -> Result<Option<(Bytes, Rest)>, ApiError> {
        let (page, first) = match rest {
            Rest::First(page) => (*page, true),
            Rest::After(cursor) => (self.page(Some(cursor)).await?, false),
            Rest::Nothing => return Ok(None),
        };
        let stages = &page.approval_stages;
        let messages = &page.messages.items;
        let chunk = match self.format {
            Format::Csv { spreadsheet } => csv(&self.fields, stages, messages, first, spreadsheet)?,
            Format::JsonLines => json_lines(stages, messages)?,
        };
        let rest = page.messages.next_cursor.map_or(Rest::Nothing, Rest::After);
        Ok(Some((chunk.into(), rest)))
    }
}

fn json_lines(stages: &ApprovalStages, messages: &[Message]) -> Result<Vec<u8>, ApiError> {
    let mut lines = Vec::new();
    for message in messages {
        let item = MessageItem::new(stages, message);
        serde_json::to_writer(&mut lines, &item).map_err(ApiError::internal)?;
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
) -> Result<Vec<u8>, ApiError> {
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
        let mut attributes = message
            .segment
            .attributes
            .to_map()
            .map_err(ApiError::internal)?;
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
