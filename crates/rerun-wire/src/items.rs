//! Types that occur in the responses of several endpoints.

#![expect(
    missing_docs,
    reason = "a comment at a shape becomes a text of the OpenAPI document, which says each thing once"
)]

use rerun_core::Timestamp;
use rerun_core::actor::UserName;
use rerun_core::campaign::{ApprovalStages, Campaign, CampaignStatus};
use rerun_core::generation::Saved;
use rerun_core::group::CustomerGroup;
use rerun_core::ids::{
    CampaignId, ContentId, CustomerGroupId, JobId, MessageId, RunNumber, ScheduleId, UserId,
};
use rerun_core::message::{Content, Message, Provenance, ReusedFrom, ReviewStatus, Source};
use rerun_core::nearest::KeptSuggestion;
use rerun_core::run::{Run, RunGroup, RunStatus, SegmentCounts};
use rerun_core::segment::{Segment, SegmentBy};
use rerun_core::timestamp;
use rerun_core::usecases::{MessagesChanged, RunStarted};
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::schema;

/// A customer group as it was when a run was made for it.
#[derive(Serialize, ToSchema)]
#[schema(as = CustomerGroupRef)]
pub struct GroupRef<'a> {
    /// The group.
    #[schema(value_type = Uuid)]
    pub id: CustomerGroupId,
    /// Its name then.
    pub name: &'a str,
}

impl<'a> From<&'a RunGroup> for GroupRef<'a> {
    fn from(group: &'a RunGroup) -> Self {
        Self {
            id: group.id,
            name: &group.name,
        }
    }
}

/// A customer group.
#[derive(Serialize, ToSchema)]
#[schema(as = CustomerGroup)]
pub struct GroupItem<'a> {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: CustomerGroupId,
    /// Its name.
    pub name: &'a str,
    /// How many customers it has.
    #[schema(minimum = 0)]
    pub customer_count: i64,
    /// The names of the profile fields that imports brought, in the order in which they came.
    #[schema(max_items = 10_000)]
    pub fields: &'a [String],
    /// When it was made.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// When its customers last changed.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub updated_at: Timestamp,
}

impl<'a> From<&'a CustomerGroup> for GroupItem<'a> {
    fn from(group: &'a CustomerGroup) -> Self {
        Self {
            id: group.id,
            name: &group.name,
            customer_count: group.customer_count,
            fields: &group.fields,
            created_at: group.created_at,
            updated_at: group.updated_at,
        }
    }
}

/// The texts that messages are made from.
#[derive(Serialize, ToSchema)]
#[schema(as = Template)]
pub struct TemplateItem<'a> {
    /// Subject line.
    pub subject: &'a str,
    /// Body.
    pub body: &'a str,
}

/// A campaign.
#[derive(Serialize, ToSchema)]
#[schema(as = Campaign)]
pub struct CampaignItem<'a> {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: CampaignId,
    /// Its name.
    pub name: &'a str,
    #[schema(value_type = schema::CampaignStatus)]
    pub status: CampaignStatus,
    /// The group of the current run, or of the next launch.
    #[schema(value_type = Uuid)]
    pub customer_group_id: CustomerGroupId,
    /// The profile fields that make segments, in order, with their value rules as they were declared.
    #[schema(value_type = Vec<schema::SegmentField>)]
    pub segment_by: &'a SegmentBy,
    pub template: TemplateItem<'a>,
    /// Text for a language model.
    #[schema(required)]
    pub brief: Option<&'a str>,
    /// The stages that a message passes, in order, as they were declared.
    #[schema(value_type = Vec<schema::ApprovalStage>)]
    pub approval_stages: &'a ApprovalStages,
    /// Whether each person can approve a message at one stage only.
    pub distinct_reviewers: bool,
    /// Whether the event `campaign.rerun_suggested` says when an import makes a rerun worthwhile.
    pub suggest_reruns: bool,
    /// The run that is current; `null` for a draft.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    pub current_run_number: Option<RunNumber>,
    /// Who made it.
    #[schema(value_type = Uuid)]
    pub created_by: UserId,
    /// When it was made.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub updated_at: Timestamp,
}

impl<'a> From<&'a Campaign> for CampaignItem<'a> {
    fn from(campaign: &'a Campaign) -> Self {
        Self {
            id: campaign.id,
            name: &campaign.name,
            status: campaign.status,
            customer_group_id: campaign.customer_group_id,
            segment_by: &campaign.segment_by,
            template: TemplateItem {
                subject: &campaign.template.subject,
                body: &campaign.template.body,
            },
            brief: campaign.brief.as_deref(),
            approval_stages: &campaign.approval_stages,
            distinct_reviewers: campaign.distinct_reviewers,
            suggest_reruns: campaign.suggest_reruns,
            current_run_number: campaign.current_run,
            created_by: campaign.created_by,
            created_at: campaign.created_at,
            updated_at: campaign.updated_at,
        }
    }
}

/// How many messages of a run have which source, and which review status.
#[derive(Serialize, ToSchema)]
#[schema(as = MessageCounts)]
pub struct MessageNumbers {
    /// All messages.
    pub total: u32,
    /// Messages whose content is reused.
    pub reused: u32,
    /// Messages whose content is or will be generated.
    pub generated: u32,
    /// Messages whose content a person wrote.
    pub edited: u32,
    /// `Generating`.
    pub generating: u32,
    /// `Generation failed`.
    pub failed: u32,
    /// `Pending review`.
    pub pending: u32,
    /// `Approved`.
    pub approved: u32,
    /// `Rejected`.
    pub rejected: u32,
    /// `Published`.
    pub published: u32,
    /// All messages of a run that is not current, else none.
    pub archived: u32,
}

impl From<&Run> for MessageNumbers {
    fn from(run: &Run) -> Self {
        let counts = &run.counts;
        Self {
            total: counts.total(),
            reused: counts.reused,
            generated: counts.generated,
            edited: counts.edited,
            generating: counts.generating,
            failed: counts.failed,
            pending: counts.pending,
            approved: counts.approved,
            rejected: counts.rejected,
            published: counts.published,
            archived: run.archived(),
        }
    }
}

/// What the generator calls of a run used, as far as the endpoint of the language model reported it;
/// calls that failed are included, reused messages cost nothing. 0 for other generators.
#[derive(Serialize, ToSchema)]
#[schema(as = Usage)]
pub struct TokenNumbers {
    /// Tokens of the prompts.
    #[schema(minimum = 0)]
    pub prompt_tokens: u64,
    /// Tokens of the responses.
    #[schema(minimum = 0)]
    pub completion_tokens: u64,
}

/// What a run did not spend because it reused messages, as it was when the run started.
#[derive(Serialize, ToSchema)]
#[schema(as = Saved)]
pub struct SavedNumbers {
    /// Messages that were neither generated nor reviewed.
    pub messages: u32,
    /// Customers of their segments.
    #[schema(minimum = 0)]
    pub customers: i64,
    /// Tokens of prompts, at the mean of what the campaign's generated contents used until then. 0 if
    /// no usage was reported.
    #[schema(minimum = 0)]
    pub prompt_tokens: u64,
    /// Tokens of responses, likewise.
    #[schema(minimum = 0)]
    pub completion_tokens: u64,
}

impl From<Saved> for SavedNumbers {
    fn from(saved: Saved) -> Self {
        Self {
            messages: saved.messages,
            customers: saved.customers,
            prompt_tokens: saved.tokens.prompt_tokens,
            completion_tokens: saved.tokens.completion_tokens,
        }
    }
}

/// An entry of a campaign's history.
#[derive(Serialize, ToSchema)]
#[schema(as = Run)]
pub struct RunItem<'a> {
    #[schema(value_type = schema::RunNumber)]
    pub run_number: RunNumber,
    /// Its job; `null` when synthesised.
    #[schema(value_type = Option<Uuid>, required)]
    pub job_uid: Option<JobId>,
    #[schema(value_type = schema::RunStatus)]
    pub status: RunStatus,
    /// Whether it is the current run.
    pub is_current: bool,
    /// Whether there is no record of it, only its messages, which were brought in from elsewhere.
    pub synthesised: bool,
    pub customer_group: GroupRef<'a>,
    /// How many customers its segments have.
    #[schema(minimum = 0)]
    pub customer_count: i64,
    #[schema(value_type = schema::SegmentCounts)]
    pub segments: SegmentCounts,
    pub messages: MessageNumbers,
    pub usage: TokenNumbers,
    pub saved: SavedNumbers,
    /// The campaign's status once generation was done.
    #[schema(value_type = schema::CampaignStatus)]
    pub resulting_status: CampaignStatus,
    /// Who started it.
    #[schema(value_type = Option<Uuid>, required)]
    pub initiated_by: Option<UserId>,
    /// That person's name at that time; `null` when the token did not have it.
    #[schema(required, min_length = 1, max_length = 200)]
    pub initiated_by_name: Option<&'a str>,
    /// The schedule that started it; `null` if a person did.
    #[schema(value_type = Option<Uuid>, required)]
    pub schedule_id: Option<ScheduleId>,
    /// How many messages failed, and why the last did.
    #[schema(required)]
    pub error: Option<&'a str>,
    /// Why it was cancelled, if somebody said.
    #[schema(required)]
    pub cancel_reason: Option<&'a str>,
    /// When it was started.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub started_at: Timestamp,
    /// When it was `Completed`, `Failed` or `Cancelled`.
    #[serde(serialize_with = "timestamp::option::serialize")]
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub completed_at: Option<Timestamp>,
}

impl<'a> RunItem<'a> {
    /// The entry of a run, where the campaign's current run is known.
    #[must_use]
    pub fn new(current_run: Option<RunNumber>, run: &'a Run) -> Self {
        Self {
            run_number: run.number,
            job_uid: run.job_uid,
            status: run.status,
            is_current: current_run == Some(run.number),
            synthesised: run.synthesised,
            customer_group: (&run.group).into(),
            customer_count: run.customer_count,
            segments: run.segments,
            messages: run.into(),
            usage: TokenNumbers {
                prompt_tokens: run.usage.prompt_tokens,
                completion_tokens: run.usage.completion_tokens,
            },
            saved: run.saved.into(),
            resulting_status: run.resulting_status,
            initiated_by: run.initiated_by,
            initiated_by_name: run.initiated_by_name.as_ref().map(UserName::as_str),
            schedule_id: run.schedule_id,
            error: run.error.as_deref(),
            cancel_reason: run.cancel_reason.as_deref(),
            started_at: run.started_at,
            completed_at: run.completed_at,
        }
    }
}

/// A message.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
pub struct MessageItem<'a> {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: MessageId,
    #[schema(value_type = schema::RunNumber)]
    pub run_number: RunNumber,
    #[schema(value_type = schema::Segment)]
    pub segment: &'a Segment,
    /// The id of the content. The content with an id never changes, so a decision can name the text
    /// that it is about. `null` before the first content.
    #[schema(value_type = Option<Uuid>, required)]
    pub content_id: Option<ContentId>,
    /// What it says; `null` until it is generated.
    #[schema(value_type = Option<schema::Content>, required)]
    pub content: Option<&'a Content>,
    #[schema(value_type = schema::ReviewStatus)]
    pub review_status: ReviewStatus,
    /// The stage that it waits for; `null` when it waits for none.
    #[schema(required)]
    pub approval_stage: Option<&'a str>,
    #[schema(value_type = schema::Source)]
    pub source: Source,
    /// The message whose content it reuses.
    #[schema(value_type = Option<schema::ReusedFrom>, required)]
    pub reused_from: Option<ReusedFrom>,
    /// Where its content was made and who approved it.
    #[schema(value_type = Option<schema::Provenance>, required)]
    pub provenance: Option<&'a Provenance>,
    /// Whether its run is no longer current.
    pub archived: bool,
    /// Since when.
    #[serde(serialize_with = "timestamp::option::serialize")]
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub archived_at: Option<Timestamp>,
    /// Why it was rejected, while it is.
    #[schema(required)]
    pub rejection_reason: Option<&'a str>,
    /// Why it could not be generated.
    #[schema(required)]
    pub error: Option<&'a str>,
    /// The approved message that is nearest to its segment, while it is generated or waits for a
    /// reviewer.
    #[schema(value_type = Option<schema::Suggestion>, required)]
    pub suggestion: Option<&'a KeptSuggestion>,
    /// When it was made.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub updated_at: Timestamp,
}

/// The name of the stage that a message waits for.
#[must_use]
pub fn approval_stage<'a>(stages: &'a ApprovalStages, message: &Message) -> Option<&'a str> {
    message.state.stage().and_then(|stage| stages.name(stage))
}

impl<'a> MessageItem<'a> {
    /// The message of a campaign with these stages.
    #[must_use]
    pub fn new(stages: &'a ApprovalStages, message: &'a Message) -> Self {
        Self {
            id: message.id,
            run_number: message.run_number,
            segment: &message.segment,
            content_id: message.content_id,
            content: message.content.as_ref(),
            review_status: message.state.status(),
            approval_stage: approval_stage(stages, message),
            source: message.source,
            reused_from: message.reused_from,
            provenance: message.provenance.as_ref(),
            archived: message.archived_at.is_some(),
            archived_at: message.archived_at,
            rejection_reason: message.rejection_reason.as_deref(),
            error: message.error.as_deref(),
            suggestion: message.suggestion.as_ref(),
            created_at: message.created_at,
            updated_at: message.updated_at,
        }
    }
}

/// A run that was started, by a launch or a rerun.
#[derive(Serialize, ToSchema)]
#[schema(as = RunStarted)]
pub struct RunStartedItem<'a> {
    /// The campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    #[schema(value_type = schema::RunNumber)]
    pub run_number: RunNumber,
    /// The job of the run.
    #[schema(value_type = Uuid)]
    pub job_uid: JobId,
    #[schema(value_type = schema::RunStatus)]
    pub run_status: RunStatus,
    #[schema(value_type = schema::CampaignStatus)]
    pub campaign_status: CampaignStatus,
    /// The campaign's status once generation is done.
    #[schema(value_type = schema::CampaignStatus)]
    pub resulting_status: CampaignStatus,
    pub customer_group: GroupRef<'a>,
    /// How many customers the segments have.
    #[schema(minimum = 0)]
    pub customer_count: i64,
    #[schema(value_type = schema::SegmentCounts)]
    pub segments: SegmentCounts,
    /// How many messages of the run before were archived.
    pub archived_messages: u32,
    /// When it was started.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub started_at: Timestamp,
    /// When it was completed: at once, if nothing is new.
    #[serde(serialize_with = "timestamp::option::serialize")]
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub completed_at: Option<Timestamp>,
}

impl<'a> From<&'a RunStarted> for RunStartedItem<'a> {
    fn from(started: &'a RunStarted) -> Self {
        Self {
            campaign_id: started.campaign_id,
            run_number: started.run_number,
            job_uid: started.job_uid,
            run_status: started.run_status,
            campaign_status: started.campaign_status,
            resulting_status: started.resulting_status,
            customer_group: (&started.customer_group).into(),
            customer_count: started.customer_count,
            segments: started.segments,
            archived_messages: started.archived_messages,
            started_at: started.started_at,
            completed_at: started.completed_at,
        }
    }
}

/// Messages that were queued for generation.
#[derive(Serialize, ToSchema)]
#[schema(as = QueuedMessages)]
pub struct QueuedItem {
    /// The campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    #[schema(value_type = schema::RunNumber)]
    pub run_number: RunNumber,
    #[schema(value_type = schema::CampaignStatus)]
    pub campaign_status: CampaignStatus,
    /// How many messages are generated again.
    pub queued_messages: u32,
}

impl From<&MessagesChanged> for QueuedItem {
    fn from(changed: &MessagesChanged) -> Self {
        Self {
            campaign_id: changed.campaign_id,
            run_number: changed.run_number,
            campaign_status: changed.campaign_status,
            queued_messages: changed.messages,
        }
    }
}
