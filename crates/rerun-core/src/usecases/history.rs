use std::sync::Arc;

use super::{Listed, PageQuery, listed};
use crate::actor::Actor;
use crate::campaign::{ApprovalStages, CampaignStatus};
use crate::diff::{DiffCounts, DiffItem};
use crate::error::Error;
use crate::ids::{CampaignId, MessageId, RunNumber};
use crate::message::Message;
use crate::page::{CursorKey, CursorScope};
use crate::ports::{HistoryStore, MessageSelection};
use crate::run::Run;

/// The runs of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunList {
    /// The campaign's status.
    pub campaign_status: CampaignStatus,
    /// The campaign's current run.
    pub current_run: Option<RunNumber>,
    /// Its runs, newest first.
    pub runs: Listed<Run>,
}

/// Messages of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignMessages {
    /// The campaign's current run.
    pub current_run: Option<RunNumber>,
    /// The campaign's stages, which the messages' states count.
    pub approval_stages: ApprovalStages,
    /// The messages, newest run first, in one order within a run.
    pub messages: Listed<Message>,
}

/// What campaigns have been through.
#[derive(Clone)]
pub struct Histories {
    store: Arc<dyn HistoryStore>,
    cursors: CursorKey,
}

impl Histories {
    /// Over this port.
    #[must_use]
    pub fn new(store: Arc<dyn HistoryStore>) -> Self {
        Self {
            store,
            cursors: CursorKey::default(),
        }
    }

    /// Seals cursors with this key, in place of the one that everybody knows.
    #[must_use]
    pub fn sealing_with(mut self, key: CursorKey) -> Self {
        self.cursors = key;
        self
    }

    /// The campaign's runs, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is none; [`Error::CampaignNotFound`];
    /// [`Error::Store`].
    pub async fn runs(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        page: &PageQuery,
    ) -> Result<RunList, Error> {
        let narrowed_by = campaign.to_string();
        let scope = CursorScope {
            key: self.cursors,
            list: "runs",
            account: actor.account_id,
            narrowed_by: &narrowed_by,
        };
        let found = self
            .store
            .history(actor.account_id, campaign, page.resolve(scope)?)
            .await?;
        let history = found.ok_or(Error::CampaignNotFound)?;
        Ok(RunList {
            campaign_status: history.status,
            current_run: history.current_run,
            runs: listed(history.runs, scope)?,
        })
    }

    /// The campaign's messages: of the current run, of one run, or of every run, newest run
    /// first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is none; [`Error::CampaignNotFound`];
    /// [`Error::RunNotFound`]; [`Error::Store`].
    pub async fn messages(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        selection: MessageSelection,
        page: &PageQuery,
    ) -> Result<CampaignMessages, Error> {
        let narrowed_by = format!("{campaign} {selection:?}");
        let scope = CursorScope {
            key: self.cursors,
            list: "messages",
            account: actor.account_id,
            narrowed_by: &narrowed_by,
        };
        let page = page.resolve(scope)?;
        let found = self
            .store
            .messages(actor.account_id, campaign, selection, page)
            .await?;
        let list = found.ok_or(Error::CampaignNotFound)?;
        if !list.run_exists {
            return Err(Error::RunNotFound);
        }
        Ok(CampaignMessages {
            current_run: list.current_run,
            approval_stages: list.approval_stages,
            messages: listed(list.messages, scope)?,
        })
    }

    /// One message.
    ///
    /// # Errors
    /// [`Error::MessageNotFound`], [`Error::Store`].
    pub async fn message(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        message: MessageId,
    ) -> Result<Message, Error> {
        let found = self
            .store
            .find_message(actor.account_id, campaign, message)
            .await?;
        found.ok_or(Error::MessageNotFound)
    }

    /// Compares two runs segment by segment.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is none; [`Error::CampaignNotFound`];
    /// [`Error::RunNotFound`]; [`Error::Store`].
    pub async fn diff(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        from: RunNumber,
        to: RunNumber,
        page: &PageQuery,
    ) -> Result<(DiffCounts, Listed<DiffItem>), Error> {
        let narrowed_by = format!("{campaign} {from} {to}");
        let scope = CursorScope {
            key: self.cursors,
            list: "diff",
            account: actor.account_id,
            narrowed_by: &narrowed_by,
        };
        let page = page.resolve(scope)?;
        let found = self
            .store
            .diff(actor.account_id, campaign, from, to, page)
            .await?;
        let diff = found.ok_or(Error::CampaignNotFound)?;
        if !diff.runs_exist {
            return Err(Error::RunNotFound);
        }
        Ok((diff.counts, listed(diff.items, scope)?))
    }
}
