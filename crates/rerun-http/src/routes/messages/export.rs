use actix_web::web::Bytes;
use rerun_core::actor::Actor;
use rerun_core::error::Error;
use rerun_core::ids::{CampaignId, RunNumber};
use rerun_core::ports::MessageSelection;
use rerun_core::usecases::{CampaignMessages, PageQuery};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, Type};

use crate::error::ApiError;
use crate::export::{Export, file, pieces};
use crate::extract::{JsonCall, Required};
use crate::messages_file::MessagesFile;
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::request_id::note_run;
use crate::routes::params::{campaign_id, run_number};
use crate::state::State;
use crate::wire::{Answer, MessageItem};
use rerun_files::Format;
use rerun_wire::json::Integer;

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
        run,
        file: MessagesFile::new(&found.segment_by, format),
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
    run: RunNumber,
    file: MessagesFile,
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
        let page = match rest {
            Rest::First(page) => *page,
            Rest::After(cursor) => self.page(Some(cursor)).await?,
            Rest::Nothing => return Ok(None),
        };
        let piece = self.file.rows(&page).map_err(ApiError::internal)?;
        let rest = page.messages.next_cursor.map_or(Rest::Nothing, Rest::After);
        Ok(Some((piece.into(), rest)))
    }
}
