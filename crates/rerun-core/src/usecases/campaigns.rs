mod segmentation;
mod trial;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use segmentation::{NewRules, SegmentationUpdated};
pub use trial::{FilledSegment, FilledTemplate, TemplateTrial};

use super::groups::import_error;
use super::idempotency::{Once, Replayable};
use super::{Host, Listed, PageQuery, Settings, listed, naming_valued};
use crate::actor::Actor;
use crate::campaign::{ApprovalStages, Campaign, CampaignParts, CampaignStatus, Stage, Template};
use crate::error::{Action, Error, Invalid, StoreError};
use crate::event::{CampaignUpdate, Event};
use crate::group::CustomerGroup;
use crate::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber, UserId};
use crate::message::Content;
use crate::page::CursorScope;
use crate::plan::Audience;
use crate::ports::{
    CampaignStore, CandidateQuery, CustomerGroupStore, DeleteCampaign, IdempotencyKey,
    IdempotencyStore, ImportedMessages, RerunStore, SegmentCandidates, TemplateChecker,
    UpdateCampaign,
};
use crate::rules::FieldDeclaration;
use crate::run::{MessageCounts, Run, RunGroup, RunParts, RunStatus, SegmentCounts};
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
    /// The stages of an approval; one stage, `Review`, when not given.
    pub approval_stages: Option<Vec<Stage>>,
    /// Whether each person can approve a message at one stage only.
    pub distinct_reviewers: bool,
    /// Whether reruns are suggested; they are when not given.
    pub suggest_reruns: Option<bool>,
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    distinct_reviewers: bool,
    /// Only when it is not the default: requests of before are the same.
    #[serde(skip_serializing_if = "std::clone::Clone::clone")]
    suggest_reruns: bool,
    allow_missing_fields: bool,
}

/// What to change of a campaign; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CampaignChanges {
    /// Another name.
    pub name: Option<String>,
    /// Another template, for everything that is generated from now on.
    pub template: Option<Template>,
    /// Another brief, likewise.
    pub brief: Option<String>,
    /// Other approval stages.
    pub approval_stages: Option<ApprovalStages>,
    /// Whether each person can approve a message at one stage only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct_reviewers: Option<bool>,
    /// Whether reruns are suggested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggest_reruns: Option<bool>,
}

impl CampaignChanges {
    /// The changes with the rules that depend on nothing else checked.
    fn checked(mut self) -> Result<Self, Error> {
        if self == Self::default() {
            return Err(Invalid::new(
                "name something to change: `name`, `template`, `brief`, `approval_stages`, \
                 `distinct_reviewers` or `suggest_reruns`",
            )
            .into());
        }
        if let Some(name) = &self.name {
            self.name = Some(text::name("name", name, Campaign::MAX_NAME_LENGTH)?);
        }
        if let Some(template) = &self.template {
            check_texts(template)?;
        }
        if let Some(brief) = &self.brief {
            check_brief(brief)?;
        }
        Ok(self)
    }

    /// The campaign with the changes made.
    fn made(&self, campaign: &Campaign, at: Timestamp) -> Result<Campaign, StoreError> {
        let mut to = campaign.clone().into_parts();
        if let Some(name) = &self.name {
            to.name.clone_from(name);
        }
        if let Some(template) = &self.template {
            to.template.clone_from(template);
        }
        if let Some(brief) = &self.brief {
            to.brief = Some(brief.clone());
        }
        if let Some(stages) = &self.approval_stages {
            to.approval_stages.clone_from(stages);
        }
        to.distinct_reviewers = self.distinct_reviewers.unwrap_or(to.distinct_reviewers);
        to.suggest_reruns = self.suggest_reruns.unwrap_or(to.suggest_reruns);
        if to != **campaign {
            to.version += 1;
            to.updated_at = at;
        }
        Campaign::from_parts(to)
    }
}

/// The outcome of an update, without the texts that are in the request.
#[derive(Clone, Serialize, Deserialize)]
struct Updated {
    name: String,
    approval_stages: ApprovalStages,
    /// Responses that were kept before do not have it.
    #[serde(default)]
    distinct_reviewers: Option<bool>,
    /// Likewise.
    #[serde(default)]
    suggest_reruns: Option<bool>,
    status: CampaignStatus,
    current_run: Option<RunNumber>,
    #[serde(with = "crate::timestamp")]
    at: Timestamp,
}

impl Updated {
    fn of(campaign: &Campaign) -> Self {
        Self {
            name: campaign.name.clone(),
            approval_stages: campaign.approval_stages.clone(),
            distinct_reviewers: Some(campaign.distinct_reviewers),
            suggest_reruns: Some(campaign.suggest_reruns),
            status: campaign.status,
            current_run: campaign.current_run,
            at: campaign.updated_at,
        }
    }

    /// The campaign as it was after the update, as far as that is known.
    fn campaign(self, now: Campaign, changes: &CampaignChanges) -> Result<Campaign, StoreError> {
        let now = now.into_parts();
        Campaign::from_parts(CampaignParts {
            name: self.name,
            approval_stages: self.approval_stages,
            distinct_reviewers: self.distinct_reviewers.unwrap_or(now.distinct_reviewers),
            suggest_reruns: self.suggest_reruns.unwrap_or(now.suggest_reruns),
            status: self.status,
            current_run: self.current_run,
            updated_at: self.at,
            template: changes.template.clone().unwrap_or(now.template),
            brief: changes.brief.clone().or(now.brief),
            ..now
        })
    }
}

/// Checks the bounds of a template's texts. What is generated has the bounds of content, so a
/// template that breaks them already could never lead to a message.
fn check_texts(template: &Template) -> Result<(), Invalid> {
    Content {
        subject: template.subject.clone(),
        body: template.body.clone(),
    }
    .check()
    .map_err(|invalid| Invalid::new(format!("`template`: {invalid}")))
}

fn check_brief(brief: &str) -> Result<(), Invalid> {
    text::check("brief", brief)?;
    if brief.chars().nth(Campaigns::MAX_BRIEF_LENGTH).is_some() {
        return Err(Invalid::new(format!(
            "`brief` may have at most {} characters",
            Campaigns::MAX_BRIEF_LENGTH
        )));
    }
    Ok(())
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
    fn campaign(self, account_id: AccountId, made: Made) -> Result<Campaign, StoreError> {
        Campaign::from_parts(CampaignParts {
            account_id,
            id: made.id,
            name: self.name,
            customer_group_id: made.customer_group_id,
            segment_by: self.segment_by,
            template: self.template,
            brief: self.brief,
            approval_stages: self.approval_stages,
            distinct_reviewers: self.distinct_reviewers,
            suggest_reruns: self.suggest_reruns,
            status: CampaignStatus::Draft,
            current_run: None,
            last_run: None,
            version: 1,
            created_by: made.by,
            created_at: made.at,
            updated_at: made.at,
        })
    }
}

/// Campaigns, before and between their runs.
#[derive(Clone)]
pub struct Campaigns {
    store: Arc<dyn CampaignStore>,
    groups: Arc<dyn CustomerGroupStore>,
    segments: Arc<dyn RerunStore>,
    templates: Arc<dyn TemplateChecker>,
    responses: Arc<dyn IdempotencyStore>,
    once: Once,
    host: Host,
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
        host: Host,
        settings: Settings,
    ) -> Self {
        Self {
            store,
            groups,
            segments,
            templates,
            once: Once::new(Arc::clone(&responses), &host),
            responses,
            host,
            settings,
        }
    }

    /// What the request says, checked by the rules that depend on nothing else.
    fn draft(&self, new: NewCampaign) -> Result<Draft, Error> {
        let name = text::name("name", &new.name, Campaign::MAX_NAME_LENGTH)?;
        let segment_by = SegmentBy::declare(new.segment_by)?;
        let approval_stages = match new.approval_stages {
            Some(stages) => ApprovalStages::declare(stages)?,
            None => ApprovalStages::default(),
        };
        check_texts(&new.template)?;
        self.templates.check(&new.template, &segment_by)?;
        if let Some(brief) = &new.brief {
            check_brief(brief)?;
        }
        Ok(Draft {
            name,
            customer_group_id: new.customer_group_id,
            segment_by,
            template: new.template,
            brief: new.brief,
            approval_stages,
            distinct_reviewers: new.distinct_reviewers,
            suggest_reruns: new.suggest_reruns.unwrap_or(true),
            allow_missing_fields: new.allow_missing_fields,
        })
    }

    async fn group(
        &self,
        actor: &Actor,
        id: Option<CustomerGroupId>,
    ) -> Result<CustomerGroup, Error> {
        let id = id.ok_or(Error::CustomerGroupNotFound)?;
        let group = self.groups.find_group(actor.account_id, id).await?;
        group.ok_or(Error::CustomerGroupNotFound)
    }

    fn made(&self, actor: &Actor, group: &CustomerGroup) -> Result<Made, Invalid> {
        let person = actor.required_person("create a campaign")?;
        Ok(Made {
            id: CampaignId::new(self.host.ids.next()),
            customer_group_id: group.id,
            by: person.user_id,
            at: self.host.clock.now(),
        })
    }

    /// The group's segments. The counts are kept for the launch.
    async fn candidates(
        &self,
        segment_by: &SegmentBy,
        group: &CustomerGroup,
    ) -> Result<SegmentCandidates, Error> {
        let query = CandidateQuery {
            account_id: group.account_id,
            group_id: group.id,
            segment_by: segment_by.clone(),
            reuse: None,
            limit: self.settings.max_segments,
        };
        let mut conflicts = 0;
        loop {
            match self.segments.segment_candidates(query.clone()).await {
                Ok(candidates) => return Ok(candidates),
                Err(error) => self.host.decide_again(error, &mut conflicts).await?,
            }
        }
    }

    /// Refuses fields that no customer of the group has, so that a misspelt name is found before
    /// a message has been made with it.
    async fn check_fields(
        &self,
        segment_by: &SegmentBy,
        group: &CustomerGroup,
    ) -> Result<(), Error> {
        if group.customer_count == 0 {
            return Ok(());
        }
        let candidates = self.candidates(segment_by, group).await?;
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
    ) -> Result<Replayable<Campaign>, Error> {
        let draft = self.draft(new)?;
        let made = self
            .once
            .run(actor, "campaign.create", idempotency_key, &draft, |key| {
                self.make(actor, &draft, key)
            })
            .await?;
        made.try_map(|made| draft.campaign(actor.account_id, made))
    }

    async fn make(
        &self,
        actor: &Actor,
        draft: &Draft,
        key: Option<IdempotencyKey>,
    ) -> Result<Made, Error> {
        let group = self.group(actor, draft.customer_group_id).await?;
        if !draft.allow_missing_fields {
            self.check_fields(&draft.segment_by, &group).await?;
        }
        let made = self.made(actor, &group)?;
        let campaign = draft.clone().campaign(actor.account_id, made)?;
        let event = Event::CampaignCreated {
            campaign_id: campaign.id,
            name: campaign.name.clone(),
        };
        let audit = self.host.author(actor, campaign.created_at).of(event);
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
        let group = self.group(actor, draft.customer_group_id).await?;
        let campaign = draft.campaign(actor.account_id, self.made(actor, &group)?)?;
        let campaign = campaign.with(|campaign| {
            campaign.status = CampaignStatus::Published;
            campaign.current_run = Some(RunNumber::FIRST);
            campaign.last_run = Some(RunNumber::FIRST);
        })?;
        let run = Run::from_parts(RunParts {
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
            schedule_id: None,
            previous_run: None,
            error: None,
            cancel_reason: None,
            started_at: campaign.created_at,
            completed_at: Some(campaign.created_at),
            archived_at: None,
            usage: crate::generation::TokenCounts::default(),
            saved: crate::generation::Saved::default(),
            metered: crate::generation::Metered::default(),
        })?;
        let event = Event::CampaignImported {
            campaign_id: campaign.id,
            run_number: run.number,
            name: campaign.name.clone(),
        };
        let audit = self.host.author(actor, campaign.created_at).of(event);
        let messages = messages(&campaign.segment_by);
        let run = self
            .store
            .import_campaign(&campaign, run, messages, audit)
            .await
            .map_err(|failure| import_error(failure, Error::CustomerGroupNotFound))?;
        Ok((campaign, run))
    }

    /// Changes what is named. Content that is there stays; everything that is generated from then
    /// on follows the change. An update that changes nothing writes nothing.
    ///
    /// # Errors
    /// In this order: [`Error::Invalid`] for changes that break a rule or name nothing, and with
    /// [`Error::IdempotencyKeyReused`] for the key; [`Error::CampaignNotFound`];
    /// [`Error::Invalid`] for a template that names another field; [`Error::IllegalTransition`]
    /// while the campaign is generated, and for stages of a run that is under review;
    /// [`Error::Store`].
    pub async fn update(
        &self,
        actor: &Actor,
        id: CampaignId,
        changes: CampaignChanges,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<Campaign>, Error> {
        let changes = changes.checked()?;
        let request = (id, &changes);
        let updated = self
            .once
            .run(actor, "campaign.update", idempotency_key, &request, |key| {
                self.change(actor, id, &changes, key)
            })
            .await?;
        let now = self.get(actor, id).await?;
        updated.try_map(|updated| updated.campaign(now, &changes))
    }

    async fn change(
        &self,
        actor: &Actor,
        id: CampaignId,
        changes: &CampaignChanges,
        key: Option<IdempotencyKey>,
    ) -> Result<Updated, Error> {
        let campaign = self.get(actor, id).await?;
        if let Some(template) = &changes.template {
            self.templates.check(template, &campaign.segment_by)?;
        }
        let now = self.host.clock.now();
        let to = changes.made(&campaign, now)?;
        campaign.check(Action::Update)?;
        if to.approval_stages != campaign.approval_stages {
            campaign.check(Action::ChangeStages)?;
        }
        let updated = Updated::of(&to);
        let response = key.map(|key| key.answered(&updated)).transpose()?;
        if to == campaign {
            if let Some(response) = response {
                let account = actor.account_id;
                self.responses.keep_response(account, response, now).await?;
            }
            return Ok(updated);
        }
        let event = Event::CampaignUpdated(CampaignUpdate {
            campaign_id: id,
            name: (to.name != campaign.name).then(|| to.name.clone()),
            template: to.template != campaign.template,
            brief: to.brief != campaign.brief,
            approval_stages: (to.approval_stages != campaign.approval_stages)
                .then(|| to.approval_stages.clone()),
            distinct_reviewers: (to.distinct_reviewers != campaign.distinct_reviewers)
                .then_some(to.distinct_reviewers),
            suggest_reruns: (to.suggest_reruns != campaign.suggest_reruns)
                .then_some(to.suggest_reruns),
            segmentation: None,
        });
        let audit = self.host.author(actor, now).of(event);
        self.store
            .update_campaign(UpdateCampaign {
                campaign,
                to,
                audit,
                response,
            })
            .await?;
        Ok(updated)
    }

    /// Deletes a campaign with all its runs and what they have; returns how many messages those
    /// are. Its audit entries stay.
    ///
    /// # Errors
    /// In this order: [`Error::Invalid`] and [`Error::IdempotencyKeyReused`] for the key;
    /// [`Error::CampaignNotFound`]; [`Error::IllegalTransition`] while the campaign is generated;
    /// [`Error::Store`].
    pub async fn delete(
        &self,
        actor: &Actor,
        id: CampaignId,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<u64>, Error> {
        self.once
            .run(actor, "campaign.delete", idempotency_key, &id, |key| {
                self.delete_now(actor, id, key)
            })
            .await
    }

    async fn delete_now(
        &self,
        actor: &Actor,
        id: CampaignId,
        key: Option<IdempotencyKey>,
    ) -> Result<u64, Error> {
        let campaign = self.get(actor, id).await?;
        campaign.check(Action::Delete)?;
        // Runs come and go with the campaign's version.
        let messages = self.store.count_messages(actor.account_id, id).await?;
        let now = self.host.clock.now();
        let audit = self.host.author(actor, now).of(Event::CampaignDeleted {
            campaign_id: id,
            name: campaign.name.clone(),
            before: campaign.status,
            messages,
        });
        self.store
            .delete_campaign(DeleteCampaign {
                campaign,
                audit,
                response: key.map(|key| key.answered(&messages)).transpose()?,
                now,
            })
            .await?;
        Ok(messages)
    }

    /// Deletes what is left of deleted campaigns and customer groups, bit by bit.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sweep_deleted(&self) -> Result<(), StoreError> {
        while self.store.sweep_deleted().await? {}
        Ok(())
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
    /// [`Error::Invalid`] for a limit or cursor that is not valid; [`Error::Store`].
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
