use actix_web::web::Bytes;
use rerun_core::actor::Actor;
use rerun_core::error::Error;
use rerun_core::ids::{CampaignId, RunNumber};
use rerun_core::ports::MessageSelection;
use rerun_core::usecases::{CampaignMessages, PageQuery};
use rerun_files::Format;
use rerun_wire::api::messages::export::Request;

use crate::answer::Answer;
use crate::error::ApiError;
use crate::export::{Export, file, pieces};
use crate::extract::{JsonCall, Required};
use crate::messages_file::MessagesFile;
use crate::request_id::note_run;
use crate::routes::params::{campaign_id, run_number};
use crate::state::State;

/// How many messages are in memory at once.
const PAGE: i64 = 500;

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
