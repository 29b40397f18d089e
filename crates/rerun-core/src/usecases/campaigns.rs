use std::sync::Arc;

use super::groups::import_error;
use super::{Listed, PageQuery, Stamps, listed};
use crate::audit::{AuditAction, Caller};
use crate::campaign::{ApprovalStages, Campaign, CampaignStatus, Template};
use crate::error::{Error, Invalid};
use crate::ids::{CampaignId, CustomerGroupId, RunNumber};
use crate::message::Content;
use crate::page::CursorScope;
use crate::ports::{CampaignStore, CustomerGroupStore, ImportedMessages, TemplateChecker};
use crate::run::{MessageCounts, Run, RunGroup, RunStatus, SegmentCounts};
use crate::segment::SegmentBy;
use crate::text;

/// A campaign to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCampaign {
    /// Its name.
    pub name: String,
    /// Its group; `None` when the given id cannot name one.
    pub customer_group_id: Option<CustomerGroupId>,
    /// The fields that split groups into segments.
    pub segment_by: Vec<String>,
    /// What messages are generated from.
    pub template: Template,
    /// What a language model is told besides.
    pub brief: Option<String>,
    /// The stages of an approval; the default when not given.
    pub approval_stages: Option<Vec<String>>,
}

/// Campaigns, before and between their runs.
#[derive(Clone)]
pub struct Campaigns {
    store: Arc<dyn CampaignStore>,
    groups: Arc<dyn CustomerGroupStore>,
    templates: Arc<dyn TemplateChecker>,
    stamps: Stamps,
}

impl Campaigns {
    /// The longest brief, in characters.
    pub const MAX_BRIEF_LENGTH: usize = 20_000;

    /// Over these ports.
    #[must_use]
    pub fn new(
        store: Arc<dyn CampaignStore>,
        groups: Arc<dyn CustomerGroupStore>,
        templates: Arc<dyn TemplateChecker>,
        stamps: Stamps,
    ) -> Self {
        Self {
            store,
            groups,
            templates,
            stamps,
        }
    }

    async fn draft(&self, caller: &Caller, new: NewCampaign) -> Result<(Campaign, String), Error> {
        let name = text::name("name", &new.name, Campaign::MAX_NAME_LENGTH)?;
        let segment_by = SegmentBy::new(&new.segment_by)?;
        let approval_stages = match &new.approval_stages {
            Some(names) => ApprovalStages::new(names)?,
            None => ApprovalStages::default(),
        };
        // What is generated has the bounds of content, so a template that breaks them already
        // could never lead to a message.
        Content {
            subject: new.template.subject.clone(),
            body: new.template.body.clone(),
        }
        .check()
        .map_err(|invalid| Invalid::new(format!("`template`: {invalid}")))?;
        self.templates.check(&new.template, &segment_by)?;
        if let Some(brief) = &new.brief {
            text::check("brief", brief)?;
            if brief.chars().nth(Self::MAX_BRIEF_LENGTH).is_some() {
                return Err(Error::Invalid(Invalid::new(format!(
                    "`brief` may have at most {} characters",
                    Self::MAX_BRIEF_LENGTH
                ))));
            }
        }
        let group_id = new.customer_group_id.ok_or(Error::CustomerGroupNotFound)?;
        let group = self.groups.find_group(caller.account_id, group_id).await?;
        let group = group.ok_or(Error::CustomerGroupNotFound)?;
        let now = self.stamps.clock.now();
        let campaign = Campaign {
            account_id: caller.account_id,
            id: CampaignId::new(self.stamps.ids.next()),
            name,
            customer_group_id: group.id,
            segment_by,
            template: new.template,
            brief: new.brief,
            approval_stages,
            status: CampaignStatus::Draft,
            current_run: None,
            last_run: None,
            version: 1,
            created_by: caller.user_id,
            created_at: now,
            updated_at: now,
        };
        Ok((campaign, group.name))
    }

    /// Makes a draft.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name, segmentation, template, brief or stages that break a rule;
    /// [`Error::CustomerGroupNotFound`]; [`Error::Store`].
    pub async fn create(&self, caller: &Caller, new: NewCampaign) -> Result<Campaign, Error> {
        let (campaign, _) = self.draft(caller, new).await?;
        let audit = self
            .stamps
            .audit(caller, AuditAction::CampaignCreated, campaign.created_at)
            .about(campaign.id, None)
            .with("name", campaign.name.as_str())
            .with("after", campaign.status.as_str());
        self.store.create_campaign(&campaign, audit).await?;
        Ok(campaign)
    }

    /// Brings in a campaign that was published elsewhere: its messages become those of run 1,
    /// for which the history has a synthesised entry.
    ///
    /// # Errors
    /// As [`Campaigns::create`]; [`Error::Invalid`] also for the first message that breaks a
    /// rule, for two messages of one segment, and when there is no message.
    pub async fn import(
        &self,
        caller: &Caller,
        new: NewCampaign,
        messages: impl FnOnce(&SegmentBy) -> ImportedMessages,
    ) -> Result<(Campaign, Run), Error> {
        let (mut campaign, group_name) = self.draft(caller, new).await?;
        campaign.status = CampaignStatus::Published;
        campaign.current_run = Some(RunNumber::FIRST);
        campaign.last_run = Some(RunNumber::FIRST);
        let run = Run {
            number: RunNumber::FIRST,
            job_uid: None,
            status: RunStatus::Completed,
            synthesised: true,
            group: RunGroup {
                id: campaign.customer_group_id,
                name: group_name,
            },
            customer_count: 0,
            segments: SegmentCounts {
                total: 0,
                matched: 0,
                new: 0,
            },
            counts: MessageCounts::default(),
            resulting_status: CampaignStatus::ReadyForReview,
            initiated_by: None,
            previous_run: None,
            error: None,
            cancel_reason: None,
            started_at: campaign.created_at,
            completed_at: Some(campaign.created_at),
            archived_at: None,
        };
        let audit = self
            .stamps
            .audit(caller, AuditAction::CampaignCreated, campaign.created_at)
            .about(campaign.id, Some(run.number))
            .with("name", campaign.name.as_str())
            .with("imported", true)
            .with("after", campaign.status.as_str());
        let messages = messages(&campaign.segment_by);
        let run = self
            .store
            .import_campaign(&campaign, run, messages, audit)
            .await
            .map_err(|failure| import_error(failure, Error::CustomerGroupNotFound))?;
        Ok((campaign, run))
    }

    /// The campaign.
    ///
    /// # Errors
    /// [`Error::CampaignNotFound`], [`Error::Store`].
    pub async fn get(&self, caller: &Caller, id: CampaignId) -> Result<Campaign, Error> {
        let found = self.store.find_campaign(caller.account_id, id).await?;
        found.ok_or(Error::CampaignNotFound)
    }

    /// The account's campaigns, newest first; with `status`, those that have it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is none; [`Error::Store`].
    pub async fn list(
        &self,
        caller: &Caller,
        status: Option<CampaignStatus>,
        page: &PageQuery,
    ) -> Result<Listed<Campaign>, Error> {
        let scope = CursorScope {
            list: "campaigns",
            account: caller.account_id,
            narrowed_by: status.map_or("", CampaignStatus::as_str),
        };
        let page = self
            .store
            .list_campaigns(caller.account_id, status, page.resolve(scope)?)
            .await?;
        listed(page, scope)
    }
}
