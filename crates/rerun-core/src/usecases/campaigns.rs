use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::groups::import_error;
use super::idempotency::{Answered, Once};
use super::{Listed, PageQuery, Settings, Stamps, listed, naming_valued};
use crate::actor::Actor;
use crate::campaign::{ApprovalStages, Campaign, CampaignStatus, Template};
use crate::error::{Error, Invalid};
use crate::event::Event;
use crate::group::CustomerGroup;
use crate::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber, UserId};
use crate::message::Content;
use crate::page::CursorScope;
use crate::plan::Audience;
use crate::ports::{
    CampaignStore, CandidateQuery, CustomerGroupStore, IdempotencyKey, IdempotencyStore,
    ImportedMessages, RerunStore, TemplateChecker,
};
use crate::rules::FieldDeclaration;
use crate::run::{MessageCounts, Run, RunGroup, RunStatus, SegmentCounts};
use crate::segment::SegmentBy;
use crate::text;
use crate::timestamp::Timestamp;

/// A campaign to make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewCampaign {
    /// Its name.
    pub name: String,
    /// Its group; `None` when the given id cannot name one.
    pub customer_group_id: Option<CustomerGroupId>,
    /// The fields that split groups into segments, with their value rules.
    pub segment_by: Vec<FieldDeclaration>,
    /// What messages are generated from.
    pub template: Template,
    /// What a language model is told besides.
    pub brief: Option<String>,
    /// The stages of an approval; the default when not given.
    pub approval_stages: Option<Vec<String>>,
    /// Whether fields of `segment_by` that no customer of the group has are allowed.
    pub allow_missing_fields: bool,
}

impl NewCampaign {
    /// One with the default stages, no brief, and fields of `segment_by` that customers have.
    pub fn new<F: Into<FieldDeclaration>>(
        name: impl Into<String>,
        group: CustomerGroupId,
        segment_by: impl IntoIterator<Item = F>,
        template: Template,
    ) -> Self {
        Self {
            name: name.into(),
            customer_group_id: Some(group),
            segment_by: segment_by.into_iter().map(Into::into).collect(),
            template,
            ..Self::default()
        }
    }
}

/// A campaign to make, checked and with defaults filled in. Two requests for the same campaign are
/// equal here.
#[derive(Clone, Serialize)]
struct Draft {
    name: String,
    customer_group_id: Option<CustomerGroupId>,
    #[serde(serialize_with = "SegmentBy::effective")]
    segment_by: SegmentBy,
    template: Template,
    brief: Option<String>,
    approval_stages: ApprovalStages,
    allow_missing_fields: bool,
}

/// What a creation made, without what its request says.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Made {
    id: CampaignId,
    customer_group_id: CustomerGroupId,
    by: UserId,
    #[serde(with = "crate::timestamp")]
    at: Timestamp,
}

impl Draft {
    /// The campaign as it was when it had just been made.
    fn campaign(self, account_id: AccountId, made: Made) -> Campaign {
        Campaign {
            account_id,
            id: made.id,
            name: self.name,
            customer_group_id: made.customer_group_id,
            segment_by: self.segment_by,
            template: self.template,
            brief: self.brief,
            approval_stages: self.approval_stages,
            status: CampaignStatus::Draft,
            current_run: None,
            last_run: None,
            version: 1,
            created_by: made.by,
            created_at: made.at,
            updated_at: made.at,
        }
    }
}

/// Campaigns, before and between their runs.
#[derive(Clone)]
pub struct Campaigns {
    store: Arc<dyn CampaignStore>,
    groups: Arc<dyn CustomerGroupStore>,
    segments: Arc<dyn RerunStore>,
    templates: Arc<dyn TemplateChecker>,
    once: Once,
    stamps: Stamps,
    settings: Settings,
}

impl Campaigns {
    /// The longest brief, in characters.
    pub const MAX_BRIEF_LENGTH: usize = 20_000;

    /// Over these ports.
    #[must_use]
    pub fn new(
        store: Arc<dyn CampaignStore>,
        groups: Arc<dyn CustomerGroupStore>,
        segments: Arc<dyn RerunStore>,
        templates: Arc<dyn TemplateChecker>,
        responses: Arc<dyn IdempotencyStore>,
        stamps: Stamps,
        settings: Settings,
    ) -> Self {
        Self {
            store,
            groups,
            segments,
            templates,
            once: Once::new(responses, &stamps),
            stamps,
            settings,
        }
    }

    /// What the request says, checked by the rules that depend on nothing else.
    fn draft(&self, new: NewCampaign) -> Result<Draft, Error> {
        let name = text::name("name", &new.name, Campaign::MAX_NAME_LENGTH)?;
        let segment_by = SegmentBy::declare(new.segment_by)?;
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
        Ok(Draft {
            name,
            customer_group_id: new.customer_group_id,
            segment_by,
            template: new.template,
            brief: new.brief,
            approval_stages,
            allow_missing_fields: new.allow_missing_fields,
        })
    }

    async fn group(&self, actor: &Actor, draft: &Draft) -> Result<CustomerGroup, Error> {
        let id = draft
            .customer_group_id
            .ok_or(Error::CustomerGroupNotFound)?;
        let group = self.groups.find_group(actor.account_id, id).await?;
        group.ok_or(Error::CustomerGroupNotFound)
    }

    fn made(&self, actor: &Actor, group: &CustomerGroup) -> Result<Made, Invalid> {
        let person = actor.required_person("create a campaign")?;
        Ok(Made {
            id: CampaignId::new(self.stamps.ids.next()),
            customer_group_id: group.id,
            by: person.user_id,
            at: self.stamps.clock.now(),
        })
    }

    /// Refuses fields that no customer of the group has, so that a misspelt name is found before
    /// a message has been made with it. The counts are kept for the launch.
    async fn check_fields(
        &self,
        segment_by: &SegmentBy,
        group: &CustomerGroup,
    ) -> Result<(), Error> {
        if group.customer_count == 0 {
            return Ok(());
        }
        let query = CandidateQuery {
            account_id: group.account_id,
            group_id: group.id,
            segment_by: segment_by.clone(),
            reuse: None,
            limit: self.settings.max_segments,
        };
        let mut conflicts = 0;
        let candidates = loop {
            match self.segments.segment_candidates(query.clone()).await {
                Ok(candidates) => break candidates,
                Err(error) => self.stamps.decide_again(error, &mut conflicts).await?,
            }
        };
        let audience = Audience {
            group,
            segments: &candidates.segments,
            fields: &candidates.fields,
            allow_missing_fields: false,
            limit: self.settings.max_segments,
        };
        let checked = audience.check_fields(segment_by);
        naming_valued(&*self.segments, group, checked).await
    }

    /// Makes a draft. Its group may still be empty.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name, segmentation, template, brief or stages break a rule, if the
    /// actor is the system, or if the key is malformed; [`Error::IdempotencyKeyReused`] if the key
    /// was used for another request; [`Error::CustomerGroupNotFound`];
    /// [`Error::UnknownSegmentField`]; [`Error::Store`].
    pub async fn create(
        &self,
        actor: &Actor,
        new: NewCampaign,
        idempotency_key: Option<&str>,
    ) -> Result<Answered<Campaign>, Error> {
        let draft = self.draft(new)?;
        let made = self
            .once
            .run(actor, "campaign.create", idempotency_key, &draft, |key| {
                self.make(actor, &draft, key)
            })
            .await?;
        Ok(made.map(|made| draft.campaign(actor.account_id, made)))
    }

    async fn make(
        &self,
        actor: &Actor,
        draft: &Draft,
        key: Option<IdempotencyKey>,
    ) -> Result<Made, Error> {
        let group = self.group(actor, draft).await?;
        if !draft.allow_missing_fields {
            self.check_fields(&draft.segment_by, &group).await?;
        }
        let made = self.made(actor, &group)?;
        let campaign = draft.clone().campaign(actor.account_id, made);
        let event = Event::CampaignCreated {
            campaign_id: campaign.id,
            name: campaign.name.clone(),
        };
        let audit = self.stamps.author(actor, campaign.created_at).of(event);
        let response = key.map(|key| key.answered(&made)).transpose()?;
        self.store
            .create_campaign(&campaign, audit, response)
            .await?;
        Ok(made)
    }

    /// Brings in a campaign that was published elsewhere: its messages become those of run 1,
    /// for which the history has a synthesised entry. What the group's customers have is not
    /// looked at: the messages were made for others.
    ///
    /// # Errors
    /// As [`Campaigns::create`], but for unknown fields; [`Error::Invalid`] also for the first message that breaks a
    /// rule, for two messages of one segment, and when there is no message.
    pub async fn import(
        &self,
        actor: &Actor,
        new: NewCampaign,
        messages: impl FnOnce(&SegmentBy) -> ImportedMessages,
    ) -> Result<(Campaign, Run), Error> {
        let draft = self.draft(new)?;
        let group = self.group(actor, &draft).await?;
        let mut campaign = draft.campaign(actor.account_id, self.made(actor, &group)?);
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
                name: group.name,
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
            initiated_by_name: None,
            previous_run: None,
            error: None,
            cancel_reason: None,
            started_at: campaign.created_at,
            completed_at: Some(campaign.created_at),
            archived_at: None,
            usage: crate::generation::TokenCounts::default(),
        };
        let event = Event::CampaignImported {
            campaign_id: campaign.id,
            run_number: run.number,
            name: campaign.name.clone(),
        };
        let audit = self.stamps.author(actor, campaign.created_at).of(event);
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
    pub async fn get(&self, actor: &Actor, id: CampaignId) -> Result<Campaign, Error> {
        let found = self.store.find_campaign(actor.account_id, id).await?;
        found.ok_or(Error::CampaignNotFound)
    }

    /// The account's campaigns, newest first; with `status`, those that have it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is none; [`Error::Store`].
    pub async fn list(
        &self,
        actor: &Actor,
        status: Option<CampaignStatus>,
        page: &PageQuery,
    ) -> Result<Listed<Campaign>, Error> {
        let scope = CursorScope {
            key: self.settings.cursors,
            list: "campaigns",
            account: actor.account_id,
            narrowed_by: status.map_or("", CampaignStatus::as_str),
        };
        let page = self
            .store
            .list_campaigns(actor.account_id, status, page.resolve(scope)?)
            .await?;
        listed(page, scope)
    }
}
