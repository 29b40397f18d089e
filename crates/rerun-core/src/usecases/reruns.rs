use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::idempotency::{Once, Replayable};
use super::{Host, Listed, PageQuery, Settings, listed, naming_valued};
use crate::actor::{Actor, Person};
use crate::campaign::CampaignStatus;
use crate::error::{Action, Error, StoreError};
use crate::event::{Event, StartedRun, StatusChange};
use crate::group::CustomerGroup;
use crate::ids::{CampaignId, CustomerGroupId, JobId, MessageId, RunNumber};
use crate::message::ReusedFrom;
use crate::nearest::{KeptSuggestion, Suggestion};
use crate::page::{Contents, CursorScope, Limit, Page};
use crate::plan::{Audience, FieldCoverage, PlannedSegment, ReuseFrom, RunPlan};
use crate::ports::{
    CampaignContext, CampaignStore, CancelRun, CandidateQuery, FiringChange, IdempotencyKey,
    IdempotencyStore, IdempotentResponse, RerunStore, StartRun, WantedGroup,
};
use crate::run::{MessageCounts, Run, RunGroup, RunParts, RunStatus, SegmentCounts};
use crate::schedule::Schedule;
use crate::segment::{Segment, SegmentBy, SegmentKey};
use crate::survey::FieldReport;
use crate::timestamp::Timestamp;
use crate::usage::{Metered, Saved, TokenCounts};

/// A rerun that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RerunRequest {
    /// The campaign.
    pub campaign: CampaignId,
    /// The new customer group; `None` when the given id cannot name one.
    pub new_group: Option<CustomerGroupId>,
    /// Where to look for messages to reuse.
    pub reuse_from: ReuseFrom,
    /// Whether fields to segment by that no customer has are allowed.
    pub allow_missing_fields: bool,
}

impl RerunRequest {
    /// To this group, reusing what is published in the current run.
    #[must_use]
    pub const fn new(campaign: CampaignId, new_group: CustomerGroupId) -> Self {
        Self {
            campaign,
            new_group: Some(new_group),
            reuse_from: ReuseFrom::CurrentRun,
            allow_missing_fields: false,
        }
    }
}

/// A draft that somebody launches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchRequest {
    /// The campaign.
    pub campaign: CampaignId,
    /// Whether fields to segment by that no customer has are allowed.
    pub allow_missing_fields: bool,
}

impl From<CampaignId> for LaunchRequest {
    /// Every field to segment by must have a value somewhere.
    fn from(campaign: CampaignId) -> Self {
        Self {
            campaign,
            allow_missing_fields: false,
        }
    }
}

/// A run that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// The run's number.
    pub run_number: RunNumber,
    /// Its unique job.
    pub job_uid: JobId,
    /// `Queued`, or `Completed` when there was nothing to generate.
    pub run_status: RunStatus,
    /// The campaign's status now.
    pub campaign_status: CampaignStatus,
    /// The campaign's status when everything has been generated.
    pub resulting_status: CampaignStatus,
    /// The group.
    pub customer_group: RunGroup,
    /// Its customers.
    pub customer_count: i64,
    /// How its segments split.
    pub segments: SegmentCounts,
    /// What reuse saves.
    #[serde(default)]
    pub saved: Saved,
    /// How many messages of the previous run are archived now.
    pub archived_messages: u32,
    /// When.
    #[serde(with = "crate::timestamp")]
    pub started_at: Timestamp,
    /// When it was completed; `None` while messages are to be generated.
    #[serde(serialize_with = "crate::timestamp::option::serialize")]
    pub completed_at: Option<Timestamp>,
}

/// What a rerun would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The group.
    pub group: RunGroup,
    /// Its customers.
    pub customer_count: i64,
    /// The fields that make segments, in their order.
    pub fields: Vec<FieldPreview>,
    /// How many segments have one customer, matched ones among them.
    pub single_customer_segments: u32,
    /// How many new segments would be matched if every value were declared equal to the approved
    /// value that it looks like.
    pub needless: u32,
    /// How its segments split.
    pub segments: SegmentCounts,
    /// The campaign's status when everything has been generated.
    pub resulting_status: CampaignStatus,
    /// A page of the segments, by key.
    pub items: Listed<PreviewItem>,
}

/// One field of a preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPreview {
    /// The customers that have no value in it, or one that is not of its type.
    pub coverage: FieldCoverage,
    /// Its values, and which of them no message to reuse has.
    pub values: FieldReport,
}

/// One segment of a preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewItem {
    /// The segment.
    pub segment: Segment,
    /// The message that it would reuse; `None` for a new segment.
    pub reuses: Option<ReusedFrom>,
    /// The message that is nearest to a new segment, if any could be reused.
    pub suggestion: Option<Suggestion>,
}

impl Contents for PreviewItem {
    fn bytes(&self) -> usize {
        self.segment.bytes() + self.suggestion.as_ref().map_or(0, Suggestion::bytes)
    }
}

/// A run that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCancelled {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// The cancelled run.
    pub run_number: RunNumber,
    /// The campaign's status now.
    pub campaign_status: CampaignStatus,
    /// The run that is current now.
    pub current_run_number: Option<RunNumber>,
}

/// Starts runs and takes them back.
#[derive(Clone)]
pub struct Reruns {
    store: Arc<dyn RerunStore>,
    campaigns: Arc<dyn CampaignStore>,
    responses: Arc<dyn IdempotencyStore>,
    once: Once,
    host: Host,
    settings: Settings,
}

impl Reruns {
    /// Over these ports.
    #[must_use]
    pub fn new(
        store: Arc<dyn RerunStore>,
        campaigns: Arc<dyn CampaignStore>,
        responses: Arc<dyn IdempotencyStore>,
        host: Host,
        settings: Settings,
    ) -> Self {
        Self {
            store,
            campaigns,
            once: Once::new(Arc::clone(&responses), &host),
            responses,
            host,
            settings,
        }
    }

    async fn context(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        group: WantedGroup,
    ) -> Result<CampaignContext, Error> {
        let found = self
            .campaigns
            .campaign_context(actor.account_id, campaign, group)
            .await?;
        found.ok_or(Error::CampaignNotFound)
    }

    /// The plan of a rerun, with what it was made on.
    pub(super) async fn plan(
        &self,
        actor: &Actor,
        request: RerunRequest,
    ) -> Result<Planned, Error> {
        let wanted = request
            .new_group
            .map_or(WantedGroup::None, WantedGroup::Named);
        let context = self.context(actor, request.campaign, wanted).await?;
        let CampaignContext {
            campaign,
            current_run,
            group,
        } = context;
        let group = group.ok_or(Error::CustomerGroupNotFound)?;
        self.planned(actor, request, campaign, current_run, group)
            .await
    }

    async fn planned(
        &self,
        actor: &Actor,
        request: RerunRequest,
        campaign: crate::campaign::Campaign,
        current_run: Option<Run>,
        group: CustomerGroup,
    ) -> Result<Planned, Error> {
        campaign.check_rerun(current_run.as_ref())?;
        let reuse = current_run
            .as_ref()
            .map(|run| (campaign.id, run.number, request.reuse_from));
        let candidates = self
            .store
            .segment_candidates(CandidateQuery {
                account_id: actor.account_id,
                group_id: group.id,
                segment_by: campaign.segment_by.clone(),
                reuse,
                limit: self.settings.max_segments,
            })
            .await?;
        let audience = Audience {
            group: &group,
            segments: &candidates.segments,
            fields: &candidates.fields,
            allow_missing_fields: request.allow_missing_fields,
            limit: self.settings.max_segments,
        };
        let plan = RunPlan::rerun(
            &campaign,
            current_run.as_ref(),
            request.reuse_from,
            &audience,
        );
        let plan = naming_valued(&*self.store, &group, plan).await?;
        Ok(Planned {
            campaign,
            group,
            group_version: candidates.group_version,
            plan,
            current_group: current_run.as_ref().map(|run| run.group.id),
            metered: current_run.map(|run| run.metered).unwrap_or_default(),
            reuse_from: Some(request.reuse_from),
        })
    }

    async fn plan_launch(&self, actor: &Actor, request: LaunchRequest) -> Result<Planned, Error> {
        let context = self
            .context(actor, request.campaign, WantedGroup::OfCampaign)
            .await?;
        let CampaignContext {
            campaign, group, ..
        } = context;
        let group = group.ok_or(Error::CustomerGroupNotFound)?;
        campaign.check(Action::Launch)?;
        let candidates = self
            .store
            .segment_candidates(CandidateQuery {
                account_id: actor.account_id,
                group_id: group.id,
                segment_by: campaign.segment_by.clone(),
                reuse: None,
                limit: self.settings.max_segments,
            })
            .await?;
        let audience = Audience {
            group: &group,
            segments: &candidates.segments,
            fields: &candidates.fields,
            allow_missing_fields: request.allow_missing_fields,
            limit: self.settings.max_segments,
        };
        let plan = RunPlan::launch(&campaign, &audience);
        let plan = naming_valued(&*self.store, &group, plan).await?;
        Ok(Planned {
            campaign,
            group,
            group_version: candidates.group_version,
            plan,
            current_group: None,
            metered: Metered::default(),
            reuse_from: None,
        })
    }

    fn start(
        &self,
        actor: &Actor,
        event: fn(StartedRun) -> Event,
        planned: Planned,
        suggestions: HashMap<SegmentKey, KeptSuggestion>,
        cause: Cause<'_>,
    ) -> Result<(StartRun, RunStarted), Error> {
        let Planned {
            campaign,
            group,
            group_version,
            plan,
            metered,
            current_group: _,
            reuse_from: _,
        } = planned;
        let now = self.host.clock.now();
        let job_uid = JobId::new(self.host.ids.next());
        let schedule_id = cause.schedule().map(|schedule| schedule.id);
        let initiator = cause.initiator(actor);
        let counts = plan.counts();
        let run = Run::from_parts(RunParts {
            number: plan.run_number,
            job_uid: Some(job_uid),
            status: RunStatus::Queued,
            synthesised: false,
            group: RunGroup {
                id: group.id,
                name: group.name,
            },
            customer_count: plan.customer_count,
            segments: plan.segments,
            counts,
            resulting_status: plan.resulting_status,
            initiated_by: initiator.as_ref().map(|person| person.user_id),
            initiated_by_name: initiator.and_then(|person| person.user_name),
            schedule_id,
            previous_run: plan.previous_run,
            error: None,
            cancel_reason: None,
            started_at: now,
            completed_at: None,
            archived_at: None,
            usage: TokenCounts::default(),
            saved: plan.saved(metered),
            metered,
        })?
        .recounted(counts, now, None);
        let standing = campaign.with_started(&run);
        let started = RunStarted {
            campaign_id: campaign.id,
            run_number: run.number,
            job_uid,
            run_status: run.status,
            campaign_status: standing.status,
            resulting_status: run.resulting_status,
            customer_group: run.group.clone(),
            customer_count: run.customer_count,
            segments: run.segments,
            saved: run.saved,
            archived_messages: plan.archived_messages,
            started_at: run.started_at,
            completed_at: run.completed_at,
        };
        let event = event(StartedRun {
            status: StatusChange {
                campaign_id: campaign.id,
                run_number: run.number,
                before: campaign.status,
                after: standing.status,
            },
            job_uid,
            customer_group_id: group.id,
            matched: plan.segments.matched,
            new: plan.segments.new,
            archived_messages: plan.archived_messages,
            schedule_id,
        });
        let audit = self.host.author(actor, now).of(event);
        let (firing, response) = cause.recorded(&started)?;
        let start = StartRun {
            campaign,
            group_version,
            message_ids: plan
                .items
                .iter()
                .map(|_| MessageId::new(self.host.ids.next()))
                .collect(),
            plan,
            suggestions,
            run,
            standing,
            initiated_ip: actor.as_person().and_then(|person| person.ip),
            firing,
            audit,
            response,
            now,
        };
        Ok((start, started))
    }

    /// Takes a published campaign to a new customer group, in one atomic step.
    ///
    /// # Errors
    /// In this order: [`Error::Invalid`] and [`Error::IdempotencyKeyReused`] for the key;
    /// [`Error::CampaignNotFound`]; [`Error::CustomerGroupNotFound`];
    /// [`Error::CampaignNotPublished`]; [`Error::MessagesNotPublished`];
    /// [`Error::EmptyCustomerGroup`]; [`Error::UnknownSegmentField`];
    /// [`Error::TooManySegments`]; [`Error::Invalid`] for a value to segment by that is too long;
    /// [`Error::Store`].
    pub async fn initiate(
        &self,
        actor: &Actor,
        request: RerunRequest,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<RunStarted>, Error> {
        let RerunRequest {
            campaign,
            new_group,
            reuse_from,
            allow_missing_fields,
        } = request;
        // Without the flag it is the request that it was before there was one, so that keys which
        // were used then are still good.
        let body = if allow_missing_fields {
            json!([campaign, new_group, reuse_from, true])
        } else {
            json!([campaign, new_group, reuse_from])
        };
        self.once
            .run(actor, "rerun.initiate", idempotency_key, &body, |key| {
                self.begin(actor, RunRequest::Rerun(request), key)
            })
            .await
    }

    /// Starts the first run of a draft, with every message to be generated. It returns before one
    /// is made: a worker makes them, and [`Histories::run`](super::Histories::run) tells when the
    /// run's status [has ended](crate::run::RunStatus::is_ended), and its error, if it has one.
    ///
    /// # Errors
    /// In this order: [`Error::Invalid`] and [`Error::IdempotencyKeyReused`] for the key;
    /// [`Error::CampaignNotFound`]; [`Error::IllegalTransition`]; [`Error::EmptyCustomerGroup`];
    /// [`Error::UnknownSegmentField`]; [`Error::TooManySegments`]; [`Error::Invalid`] for a value
    /// to segment by that is too long; [`Error::Store`].
    pub async fn launch(
        &self,
        actor: &Actor,
        request: impl Into<LaunchRequest>,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<RunStarted>, Error> {
        let request = request.into();
        let LaunchRequest {
            campaign,
            allow_missing_fields,
        } = request;
        // As for a rerun.
        let body = if allow_missing_fields {
            json!([campaign, true])
        } else {
            json!(campaign)
        };
        self.once
            .run(actor, "campaign.launch", idempotency_key, &body, |key| {
                self.begin(actor, RunRequest::Launch(request), key)
            })
            .await
    }

    /// The messages that are nearest to new segments of a rerun; `None` when the group changed.
    async fn suggestions(
        &self,
        actor: &Actor,
        planned: &Planned,
        new: Vec<SegmentKey>,
    ) -> Result<Option<HashMap<SegmentKey, Suggestion>>, Error> {
        let query = self.query(actor, planned);
        if new.is_empty() || query.reuse.is_none() {
            return Ok(Some(HashMap::new()));
        }
        let version = planned.group_version;
        Ok(self.store.suggestions(query, version, new).await?)
    }

    /// Asks for what a plan was made on.
    fn query(&self, actor: &Actor, planned: &Planned) -> CandidateQuery {
        let Planned { campaign, plan, .. } = planned;
        let reuse = planned.reuse_from.zip(plan.previous_run);
        CandidateQuery {
            account_id: actor.account_id,
            group_id: planned.group.id,
            segment_by: campaign.segment_by.clone(),
            reuse: reuse.map(|(from, run)| (campaign.id, run, from)),
            limit: self.settings.max_segments,
        }
    }

    /// Plans on fresh state, and has the plan made true.
    async fn begin(
        &self,
        actor: &Actor,
        request: RunRequest,
        key: Option<IdempotencyKey>,
    ) -> Result<RunStarted, Error> {
        let (planned, event): (_, fn(StartedRun) -> Event) = match request {
            RunRequest::Rerun(request) => (self.plan(actor, request).await?, Event::RerunInitiated),
            RunRequest::Launch(request) => (
                self.plan_launch(actor, request).await?,
                Event::CampaignLaunched,
            ),
        };
        self.carry_out(actor, event, planned, Cause::Request(key))
            .await
    }

    /// Starts the rerun of a schedule, in the transaction that writes down its firing. `None` when there
    /// had to be new segments and are none.
    pub(super) async fn begin_scheduled(
        &self,
        actor: &Actor,
        request: RerunRequest,
        scheduled: Scheduled<'_>,
    ) -> Result<Option<RunStarted>, Error> {
        let planned = self.plan(actor, request).await?;
        if scheduled.only_new && planned.plan.segments.new == 0 {
            return Ok(None);
        }
        let cause = Cause::Schedule(scheduled);
        let started = self.carry_out(actor, Event::RerunInitiated, planned, cause);
        started.await.map(Some)
    }

    /// How many new segments a rerun would have if the current run were cancelled first, with the
    /// refusals that it would meet.
    pub(super) async fn new_after_cancel(
        &self,
        actor: &Actor,
        request: RerunRequest,
    ) -> Result<u32, Error> {
        let wanted = request
            .new_group
            .map_or(WantedGroup::None, WantedGroup::Named);
        let context = self.context(actor, request.campaign, wanted).await?;
        let (campaign, run, group) = (context.campaign, context.current_run, context.group);
        let group = group.ok_or(Error::CustomerGroupNotFound)?;
        campaign.check(Action::Cancel)?;
        let previous = run.as_ref().and_then(|run| run.previous_run);
        let (Some(run), Some(previous)) = (run, previous) else {
            return Err(Error::CampaignNotPublished(campaign.status));
        };
        // The previous run was published, or this one could not have been started.
        let run = run.with(|run| {
            run.number = previous;
            run.previous_run = None;
            run.segments = SegmentCounts::default();
            run.counts = MessageCounts::default();
        })?;
        let campaign = campaign.with(|campaign| {
            campaign.status = CampaignStatus::Published;
            campaign.current_run = Some(previous);
        })?;
        let planned = self.planned(actor, request, campaign, Some(run), group);
        Ok(planned.await?.plan.segments.new)
    }

    /// Has a plan made true.
    async fn carry_out(
        &self,
        actor: &Actor,
        event: fn(StartedRun) -> Event,
        planned: Planned,
        cause: Cause<'_>,
    ) -> Result<RunStarted, Error> {
        let new = planned
            .plan
            .items
            .iter()
            .filter(|item| item.reuses.is_none());
        let new = new.map(|item| item.key).collect();
        // The group changed in the meantime: plan again with its segments of now.
        let suggestions = self.suggestions(actor, &planned, new).await?;
        let suggestions = suggestions.ok_or(StoreError::Conflict)?;
        let suggestions = suggestions
            .iter()
            .map(|(key, suggestion)| Ok((*key, KeptSuggestion::try_from(suggestion)?)))
            .collect::<Result<_, StoreError>>()?;
        let (start, started) = self.start(actor, event, planned, suggestions, cause)?;
        self.store.start_run(start).await?;
        Ok(started)
    }

    /// What [`Reruns::initiate`] would do now, with the same refusals. It changes nothing.
    ///
    /// # Errors
    /// As [`Reruns::initiate`]; [`Error::Invalid`] for a limit or cursor that is not valid.
    pub async fn preview(
        &self,
        actor: &Actor,
        request: RerunRequest,
        page: &PageQuery,
    ) -> Result<Preview, Error> {
        let narrowed_by = format!(
            "{} {} {}",
            request.campaign,
            request
                .new_group
                .map(|id| id.to_string())
                .unwrap_or_default(),
            request.reuse_from,
        );
        let scope = CursorScope {
            key: self.settings.cursors,
            list: "preview",
            account: actor.account_id,
            narrowed_by: &narrowed_by,
        };
        let page = page.resolve::<String>(scope)?;
        let mut conflicts = 0;
        let planned = loop {
            match self.plan(actor, request).await {
                Ok(planned) => break planned,
                Err(Error::Store(error)) => self.host.decide_again(error, &mut conflicts).await?,
                Err(refusal) => return Err(refusal),
            }
        };
        let query = self.query(actor, &planned);
        let survey = self.store.survey(query, planned.group_version).await?;
        let survey = survey.ok_or_else(group_changed)?;
        let rows = preview_rows(&planned.plan, page.after.as_deref(), page.limit);
        let new = rows.iter().filter(|item| item.reuses.is_none());
        let new = new.map(|item| item.key).collect();
        let suggestions = self.suggestions(actor, &planned, new).await?;
        let mut suggestions = suggestions.ok_or_else(group_changed)?;
        let Planned {
            campaign, group, ..
        } = &planned;
        let keys = rows.iter().map(|item| item.key).collect();
        let segments = self
            .store
            .segments(actor.account_id, group.id, &campaign.segment_by, keys)
            .await?;
        let read = segments.len();
        let items = rows.iter().zip(segments).map(|(item, segment)| {
            // The group may change between planning and reading the page's attributes.
            if segment.key == item.key {
                Ok(PreviewItem {
                    segment,
                    reuses: item.reuses,
                    suggestion: suggestions.remove(&item.key),
                })
            } else {
                Err(group_changed())
            }
        });
        let items = Page::read(items, page.limit, |item| item.segment.key.to_string())?;
        // The store reads no more than fills a page.
        if read < rows.len() && items.next.is_none() {
            return Err(group_changed());
        }
        let Planned {
            campaign,
            group,
            plan,
            ..
        } = planned;
        Ok(Preview {
            group: RunGroup {
                id: group.id,
                name: group.name,
            },
            customer_count: plan.customer_count,
            fields: field_previews(&campaign.segment_by, plan.fields, survey.fields),
            single_customer_segments: survey.single_customer_segments,
            needless: survey.needless,
            segments: plan.segments,
            resulting_status: plan.resulting_status,
            items: listed(items, scope)?,
        })
    }

    /// Takes the current run back before it is published: the previous run is current again.
    /// `reason` is kept on the run.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a reason that is too long, and with
    /// [`Error::IdempotencyKeyReused`] for the key; [`Error::CampaignNotFound`];
    /// [`Error::IllegalTransition`]; [`Error::Store`].
    pub async fn cancel(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        reason: Option<&str>,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<RunCancelled>, Error> {
        let reason = reason
            .map(|reason| crate::text::name("reason", reason, super::MAX_REASON_LENGTH))
            .transpose()?;
        let body = (campaign, &reason);
        self.once
            .run(actor, "rerun.cancel", idempotency_key, &body, |key| {
                self.take_back(actor, campaign, reason.clone(), key)
            })
            .await
    }

    pub(super) async fn take_back(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        reason: Option<String>,
        key: Option<IdempotencyKey>,
    ) -> Result<RunCancelled, Error> {
        let context = self.context(actor, campaign, WantedGroup::None).await?;
        let CampaignContext {
            campaign,
            current_run,
            ..
        } = context;
        campaign.check(Action::Cancel)?;
        let run = current_run.ok_or_else(|| {
            StoreError::corrupt(format!("campaigns: `{}` without a run", campaign.status))
        })?;
        let now = self.host.clock.now();
        let run = run.cancelled(now, reason.clone());
        let standing = campaign.without_cancelled(&run);
        let event = Event::RerunCancelled {
            status: StatusChange {
                campaign_id: campaign.id,
                run_number: run.number,
                before: campaign.status,
                after: standing.status,
            },
            reason,
        };
        let audit = self.host.author(actor, now).of(event);
        let cancelled = RunCancelled {
            campaign_id: campaign.id,
            run_number: run.number,
            campaign_status: standing.status,
            current_run_number: standing.current_run,
        };
        let cancel = CancelRun {
            campaign,
            run,
            standing,
            audit,
            response: key.map(|key| key.answered(&cancelled)).transpose()?,
            now,
        };
        self.store.cancel_run(cancel).await?;
        Ok(cancelled)
    }

    /// Archives what is still active of a past run; returns how many messages that were: none.
    /// Archiving is a fact of the run, and whatever makes another run current states it.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::IdempotencyKeyReused`] for the key;
    /// [`Error::CampaignNotFound`], [`Error::RunNotFound`], [`Error::CurrentRunArchive`],
    /// [`Error::Store`].
    pub async fn archive(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        run: Option<RunNumber>,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<u32>, Error> {
        let body = (campaign, run);
        self.once
            .run(actor, "rerun.archive", idempotency_key, &body, |key| {
                self.put_away(actor, campaign, run, key)
            })
            .await
    }

    async fn put_away(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        run: Option<RunNumber>,
        key: Option<IdempotencyKey>,
    ) -> Result<u32, Error> {
        let context = self.context(actor, campaign, WantedGroup::None).await?;
        context
            .campaign
            .check_past(run.ok_or(Error::RunNotFound)?)?;
        let response = key.map(|key| key.answered(&NOTHING_ARCHIVED)).transpose()?;
        if let Some(response) = response {
            let now = self.host.clock.now();
            self.responses
                .keep_response(actor.account_id, response, now)
                .await?;
        }
        Ok(NOTHING_ARCHIVED)
    }
}

/// A run to begin.
#[derive(Debug, Clone, Copy)]
enum RunRequest {
    Launch(LaunchRequest),
    Rerun(RerunRequest),
}

/// How many messages of a past run can still be archived.
const NOTHING_ARCHIVED: u32 = 0;

/// What makes a run start.
enum Cause<'a> {
    /// A person's request, perhaps with an idempotency key.
    Request(Option<IdempotencyKey>),
    /// A time of a schedule.
    Schedule(Scheduled<'a>),
}

impl Cause<'_> {
    fn schedule(&self) -> Option<&Schedule> {
        match self {
            Self::Request(_) => None,
            Self::Schedule(scheduled) => Some(scheduled.schedule),
        }
    }

    /// Who initiates the run. For a schedule it is the creator, even if somebody else triggers it.
    fn initiator(&self, actor: &Actor) -> Option<Person> {
        match self.schedule() {
            Some(schedule) => Some(schedule.creator()),
            None => actor.as_person().cloned(),
        }
    }

    /// What is written down with the run: the firing, and a response to keep.
    fn recorded(self, started: &RunStarted) -> Result<Recorded, StoreError> {
        Ok(match self {
            Self::Request(key) => (None, key.map(|key| key.answered(started)).transpose()?),
            Self::Schedule(scheduled) => {
                let (change, response) = (scheduled.commit)(started)?;
                (Some(Box::new(change)), response)
            }
        })
    }
}

/// A time of a schedule at which a rerun is to start.
pub(super) struct Scheduled<'a> {
    pub(super) schedule: &'a Schedule,
    /// Whether there must be new segments.
    pub(super) only_new: bool,
    /// What is written down in the run's transaction.
    pub(super) commit: &'a (dyn Fn(&RunStarted) -> Result<Committed, StoreError> + Sync),
}

/// What is written down about a schedule, and a response to keep.
type Committed = (FiringChange, Option<IdempotentResponse>);

/// The firing of a run that a schedule starts, and a response to keep.
type Recorded = (Option<Box<FiringChange>>, Option<IdempotentResponse>);

/// A run to start, with what its plan was made on.
pub(super) struct Planned {
    pub(super) campaign: crate::campaign::Campaign,
    group: CustomerGroup,
    group_version: i64,
    pub(super) plan: RunPlan,
    /// The group of the current run.
    current_group: Option<CustomerGroupId>,
    /// What the campaign's generated contents used so far.
    metered: Metered,
    /// Where a rerun looks for messages to reuse.
    reuse_from: Option<ReuseFrom>,
}

impl Planned {
    /// The number of the current run, if it is for this group.
    pub(super) fn current_of(&self, group: CustomerGroupId) -> Option<RunNumber> {
        self.plan
            .previous_run
            .filter(|_| self.current_group == Some(group))
    }
}

fn group_changed() -> Error {
    Error::Store(StoreError::Unavailable(
        "the customer group changed while it was read".into(),
    ))
}

/// The fields in their order, with what the survey found about them in the order of
/// [`SegmentBy::sorted`].
fn field_previews(
    segment_by: &SegmentBy,
    fields: Vec<FieldCoverage>,
    mut reports: Vec<FieldReport>,
) -> Vec<FieldPreview> {
    let sorted = segment_by.sorted();
    let fields = fields.into_iter().map(|coverage| {
        let place = sorted.binary_search(&coverage.name.as_str()).ok();
        let values = place
            .and_then(|place| reports.get_mut(place))
            .map(std::mem::take);
        FieldPreview {
            coverage,
            values: values.unwrap_or_default(),
        }
    });
    fields.collect()
}

/// The segments of a page of a preview, with the one after them.
fn preview_rows<'a>(plan: &'a RunPlan, after: Option<&str>, limit: Limit) -> &'a [PlannedSegment] {
    let start = after.map_or(0, |after| {
        plan.items
            .partition_point(|item| item.key.to_string().as_str() <= after)
    });
    let rest = plan.items.get(start..).unwrap_or_default();
    let surplus = usize::from(limit.get()) + 1;
    rest.get(..surplus).unwrap_or(rest)
}
