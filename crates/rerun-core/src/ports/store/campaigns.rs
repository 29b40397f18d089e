//! Campaigns.

use std::collections::HashMap;

use async_trait::async_trait;

use super::groups::ImportFailure;
use super::idempotency::IdempotentResponse;
use crate::audit::AuditDraft;
use crate::campaign::{Campaign, CampaignStatus};
use crate::error::{Invalid, StoreError};
use crate::group::CustomerGroup;
use crate::ids::{AccountId, CampaignId, ContentId, CustomerGroupId, MessageId};
use crate::message::Content;
use crate::page::{CreatedKey, Page, PageRequest};
use crate::rekeying::{KnownSegment, Rekeyed, TextDigest};
use crate::run::Run;
use crate::segment::Segment;
use crate::timestamp::Timestamp;

/// A message of a campaign that is brought in from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedMessage {
    /// Its new id.
    pub id: MessageId,
    /// Its segment.
    pub segment: Segment,
    /// Its published content. If it has a placeholder, no rerun reuses it.
    pub content: Content,
}

/// Messages that are brought in, pulled one by one from a thread that may block.
pub type ImportedMessages = Box<dyn Iterator<Item = Result<ImportedMessage, Invalid>> + Send>;

/// Which customer group a decision needs besides the campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedGroup {
    /// None.
    None,
    /// The one that the campaign was made for.
    OfCampaign,
    /// This one.
    Named(CustomerGroupId),
}

/// What a decision about a campaign rests on, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignContext {
    /// The campaign.
    pub campaign: Campaign,
    /// Its current run.
    pub current_run: Option<Run>,
    /// The wanted group; `None` when the account has no such group.
    pub group: Option<CustomerGroup>,
}

/// A campaign to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateCampaign {
    /// The campaign as the decision saw it. A store commits only while its version is the same.
    pub campaign: Campaign,
    /// The campaign as it is to be, at the next version: name, template, brief, approval stages
    /// and the time of the change may differ.
    pub to: Campaign,
    /// The audit entry.
    pub audit: AuditDraft,
    /// The response to keep under an idempotency key.
    pub response: Option<IdempotentResponse>,
}

/// A campaign whose value rules change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateSegmentation {
    /// The campaign as the decision saw it. A store commits only while its version is the same.
    pub campaign: Campaign,
    /// The campaign as it is to be, at the next version: `segment_by` and the time of the change
    /// differ.
    pub to: Campaign,
    /// The segments that get another key.
    pub segments: Vec<Rekeyed>,
    /// The audit entry.
    pub audit: AuditDraft,
    /// The response to keep under an idempotency key.
    pub response: Option<IdempotentResponse>,
}

/// A campaign to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteCampaign {
    /// The campaign as the decision saw it. A store commits only while its version is the same.
    pub campaign: Campaign,
    /// The audit entry.
    pub audit: AuditDraft,
    /// The response to keep under an idempotency key.
    pub response: Option<IdempotentResponse>,
    /// When.
    pub now: Timestamp,
}

/// Keeps campaigns.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait CampaignStore: Send + Sync {
    /// Adds a draft, with its audit entry and the response to keep.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the idempotency key was used in the meantime.
    async fn create_campaign(
        &self,
        campaign: &Campaign,
        audit: AuditDraft,
        response: Option<IdempotentResponse>,
    ) -> Result<(), StoreError>;

    /// Writes the name, the template, the brief and the stages of a campaign.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the campaign is not at its version any more, or the
    /// idempotency key was used in the meantime.
    async fn update_campaign(&self, update: UpdateCampaign) -> Result<(), StoreError>;

    /// The segments that runs of a campaign have, in any order, each with its newest message that
    /// a rerun could reuse: its newest published one, or without any its newest approved one,
    /// among those whose content has no placeholder.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn known_segments(
        &self,
        account: AccountId,
        campaign: CampaignId,
    ) -> Result<Vec<KnownSegment>, StoreError>;

    /// The digests of contents of a campaign.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn text_digests(
        &self,
        account: AccountId,
        campaign: CampaignId,
        contents: Vec<ContentId>,
    ) -> Result<HashMap<ContentId, TextDigest>, StoreError>;

    /// Writes other value rules of a campaign and the keys that they give its segments. Runs that
    /// are there keep the rules that they were planned by.
    ///
    /// A segment that is displaced is shown with its key, but no other segment is matched with it,
    /// and a new segment with the key is one of its own.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the campaign is not at its version any more, or the
    /// idempotency key was used in the meantime.
    async fn update_segmentation(&self, update: UpdateSegmentation) -> Result<(), StoreError>;

    /// How many messages all runs of a campaign have.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn count_messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
    ) -> Result<u64, StoreError>;

    /// Deletes a campaign with its runs, their messages, contents and segments, and the kept
    /// responses that name it. Its audit entries stay. Afterwards no call can reach any of it. A
    /// store may leave the rest of the deletion to
    /// [`sweep_deleted`](CampaignStore::sweep_deleted).
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the campaign is not at its version any more, or the
    /// idempotency key was used in the meantime.
    async fn delete_campaign(&self, delete: DeleteCampaign) -> Result<(), StoreError>;

    /// Deletes some of what is left of deleted campaigns and customer groups, so little that others
    /// do not wait for it. Returns whether there may be more.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn sweep_deleted(&self) -> Result<bool, StoreError>;

    /// The campaign, or `None` when the account has no such campaign.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_campaign(
        &self,
        account: AccountId,
        id: CampaignId,
    ) -> Result<Option<Campaign>, StoreError>;

    /// The campaign with its current run and the wanted group; `None` when the account has no
    /// such campaign.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn campaign_context(
        &self,
        account: AccountId,
        campaign: CampaignId,
        group: WantedGroup,
    ) -> Result<Option<CampaignContext>, StoreError>;

    /// The account's campaigns, newest first; with `status`, those that have it.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_campaigns(
        &self,
        account: AccountId,
        status: Option<CampaignStatus>,
        page: PageRequest<CreatedKey>,
    ) -> Result<Page<Campaign, CreatedKey>, StoreError>;

    /// Adds a published campaign with the messages of its run 1, all published and of source
    /// `generated`, in one transaction. `run` is the synthesised entry without its numbers: the
    /// store fills in customers, segments and counts from the messages and answers the run as
    /// it stored it. Two messages for one segment are refused.
    ///
    /// # Errors
    /// [`ImportFailure`].
    async fn import_campaign(
        &self,
        campaign: &Campaign,
        run: Run,
        messages: ImportedMessages,
        audit: AuditDraft,
    ) -> Result<Run, ImportFailure>;
}
