use std::sync::Arc;

use super::{Listed, PageQuery, listed};
use crate::actor::Actor;
use crate::campaign::{ApprovalStages, CampaignStatus};
use crate::diff::{DiffCounts, DiffItem};
use crate::error::Error;
use crate::ids::{CampaignId, MessageId, RunNumber};
use crate::message::{Message, ReviewStatus, Source};
use crate::page::{CursorKey, CursorScope, Limit, PageRequest};
use crate::ports::{HistoryStore, MessageFilter, MessageList, MessageSelection};
use crate::run::Run;
use crate::segment::ValueSearch;

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

/// Which of the selected messages somebody wants to see. What is `None` narrows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageQuery {
    /// Only those with this status.
    pub review_status: Option<ReviewStatus>,
    /// Only those that wait for the stage of this name.
    pub approval_stage: Option<String>,
    /// Only those with this source.
    pub source: Option<Source>,
    /// Only those of segments of which some value contains this text, whatever its letter case.
    pub segment: Option<String>,
}

fn page_of_messages(
    found: Option<MessageList>,
    scope: CursorScope<'_>,
) -> Result<CampaignMessages, Error> {
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
    /// [`Error::Invalid`] for a limit or cursor that is not valid; [`Error::CampaignNotFound`];
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
    /// [`Error::Invalid`] for a limit or cursor that is not valid; [`Error::CampaignNotFound`];
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
        page_of_messages(found, scope)
    }

    /// Those of the campaign's messages that the query asks for; otherwise as
    /// [`Histories::messages`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a search text that is empty or too long, an unknown stage, or a limit
    /// or cursor that is not valid; [`Error::CampaignNotFound`];
    /// [`Error::RunNotFound`]; [`Error::Store`].
    pub async fn find_messages(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        selection: MessageSelection,
        query: &MessageQuery,
        page: &PageQuery,
    ) -> Result<CampaignMessages, Error> {
        if *query == MessageQuery::default() {
            return self.messages(actor, campaign, selection, page).await;
        }
        let search = query.segment.as_deref();
        let search = search.map(|text| ValueSearch::new("segment", text));
        let mut filter = MessageFilter {
            status: query.review_status,
            stage: None,
            source: query.source,
            segment: search.transpose()?,
        };
        let narrowed_by = format!("{campaign} {selection:?} {query:?}");
        let scope = CursorScope {
            key: self.cursors,
            list: "messages",
            account: actor.account_id,
            narrowed_by: &narrowed_by,
        };
        let page = page.resolve(scope)?;
        if let Some(name) = &query.approval_stage {
            let one = PageRequest {
                limit: Limit::ONE,
                after: None,
            };
            let found = self
                .store
                .messages(
                    actor.account_id,
                    campaign,
                    MessageSelection::CurrentRun,
                    one,
                )
                .await?;
            let stages = found.ok_or(Error::CampaignNotFound)?.approval_stages;
            filter.stage = Some(stages.number("approval_stage", name)?);
        }
        let found = self
            .store
            .filtered_messages(actor.account_id, campaign, selection, filter, page)
            .await?;
        page_of_messages(found, scope)
    }

    /// One run.
    ///
    /// # Errors
    /// [`Error::CampaignNotFound`]; [`Error::RunNotFound`]; [`Error::Store`].
    pub async fn run(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        number: RunNumber,
    ) -> Result<Run, Error> {
        // Runs are listed from the newest down, after the one that would follow.
        let page = PageRequest {
            limit: Limit::ONE,
            after: RunNumber::after(Some(number)),
        };
        let found = self.store.history(actor.account_id, campaign, page).await?;
        let runs = found.ok_or(Error::CampaignNotFound)?.runs.items;
        let run = runs.into_iter().find(|run| run.number == number);
        run.ok_or(Error::RunNotFound)
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
    /// [`Error::Invalid`] for a limit or cursor that is not valid; [`Error::CampaignNotFound`];
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
