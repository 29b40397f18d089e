//! The runs of campaigns and their messages.

use async_trait::async_trait;

use crate::campaign::{ApprovalStages, CampaignStatus};
use crate::diff::{DiffCounts, DiffItem, DiffKey};
use crate::error::StoreError;
use crate::ids::{AccountId, CampaignId, MessageId, RunNumber};
use crate::message::{Message, ReviewStatus, Source};
use crate::page::{MessageKey, Page, PageRequest};
use crate::run::Run;
use crate::segment::ValueSearch;

/// Which messages of a campaign to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageSelection {
    /// Those of the current run; none when there is no current run.
    CurrentRun,
    /// Those of this run, whether it is current or not.
    Run(RunNumber),
    /// Those of every run, newest run first.
    EveryRun,
}

/// Which of the selected messages to list. What is `None` narrows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Only those with this status.
    pub status: Option<ReviewStatus>,
    /// Only those that wait for the stage of this number.
    pub stage: Option<u8>,
    /// Only those with this source.
    pub source: Option<Source>,
    /// Only those of segments that it finds.
    pub segment: Option<ValueSearch>,
}

impl MessageFilter {
    /// Whether a message is listed.
    ///
    /// # Errors
    /// When a store gave back attributes that are no JSON object.
    pub fn takes(&self, message: &Message) -> Result<bool, serde_json::Error> {
        let state = message.state;
        let found = match &self.segment {
            Some(search) => search.finds(&message.segment.attributes)?,
            None => true,
        };
        Ok(found
            && self.status.is_none_or(|status| state.status() == status)
            && self.stage.is_none_or(|stage| state.stage() == Some(stage))
            && self.source.is_none_or(|source| message.source == source))
    }
}

/// A page of a campaign's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The campaign's status.
    pub status: CampaignStatus,
    /// The campaign's current run.
    pub current_run: Option<RunNumber>,
    /// Its runs, newest first.
    pub runs: Page<Run, RunNumber>,
}

/// A page of a campaign's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageList {
    /// The campaign's current run.
    pub current_run: Option<RunNumber>,
    /// The campaign's stages, which the messages' states count.
    pub approval_stages: ApprovalStages,
    /// Whether the run that was asked for exists; true when none was.
    pub run_exists: bool,
    /// The messages: within a run in the order of their segments' numbers.
    pub messages: Page<Message, MessageKey>,
}

/// A page of a comparison of two runs. Content is compared by identity: a reused message has
/// the same content, an edited or regenerated one has different content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// Whether both runs exist.
    pub runs_exist: bool,
    /// The numbers of the whole comparison: those of the page's key, or counted for the first page.
    pub counts: DiffCounts,
    /// Its segments, by number.
    pub items: Page<DiffItem, DiffKey>,
}

/// Reads what campaigns have been through.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait HistoryStore: Send + Sync {
    /// The campaign's runs, newest first; `None` when the account has no such campaign.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn history(
        &self,
        account: AccountId,
        campaign: CampaignId,
        page: PageRequest<RunNumber>,
    ) -> Result<Option<History>, StoreError>;

    /// The campaign's messages; `None` when the account has no such campaign.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
        selection: MessageSelection,
        page: PageRequest<MessageKey>,
    ) -> Result<Option<MessageList>, StoreError>;

    /// Those of the campaign's messages that the filter takes; otherwise as
    /// [`HistoryStore::messages`]. What a page costs does not grow with the messages that the filter
    /// leaves out, but for a search: that reads the values of the campaign's segments.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn filtered_messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
        selection: MessageSelection,
        filter: MessageFilter,
        page: PageRequest<MessageKey>,
    ) -> Result<Option<MessageList>, StoreError>;

    /// One message; `None` when the campaign has no such message.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_message(
        &self,
        account: AccountId,
        campaign: CampaignId,
        message: MessageId,
    ) -> Result<Option<Message>, StoreError>;

    /// Compares two runs segment by segment; `None` when the account has no such campaign.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn diff(
        &self,
        account: AccountId,
        campaign: CampaignId,
        from: RunNumber,
        to: RunNumber,
        page: PageRequest<DiffKey>,
    ) -> Result<Option<Diff>, StoreError>;
}
