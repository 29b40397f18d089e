//! Shapes that several endpoints answer, and how answers are written.

use actix_web::HttpResponse;
use actix_web::http::header::{ContentType, HeaderName, HeaderValue};
use rerun_core::Timestamp;
use rerun_core::campaign::{ApprovalStages, Campaign, CampaignStatus};
use rerun_core::group::CustomerGroup;
use rerun_core::ids::{CampaignId, CustomerGroupId, JobId, MessageId, RunNumber, UserId};
use rerun_core::message::{Content, Message, Provenance, ReusedFrom, ReviewStatus, Source};
use rerun_core::run::{Run, RunGroup, RunStatus, SegmentCounts};
use rerun_core::segment::Segment;
use rerun_core::timestamp;
use rerun_core::usecases::{Answered, MessagesChanged, RunStarted};
use serde::Serialize;

use crate::error::ApiError;

/// What a handler answers.
pub(crate) type Answer = Result<HttpResponse, ApiError>;

/// 200 with a JSON body.
pub(crate) fn json(body: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(body).map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok()
        .insert_header(ContentType::json())
        .body(bytes))
}

/// The same, marked when it is the kept answer of an earlier request.
pub(crate) fn answered<'a, T, B>(answered: &'a Answered<T>, body: impl FnOnce(&'a T) -> B) -> Answer
where
    B: Serialize,
{
    let mut response = json(&body(&answered.outcome))?;
    if answered.replayed {
        let name = HeaderName::from_static("idempotent-replay");
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// A customer group as it was when a run was made for it.
#[derive(Serialize)]
pub(crate) struct GroupRef<'a> {
    id: CustomerGroupId,
    name: &'a str,
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
#[derive(Serialize)]
pub(crate) struct GroupItem<'a> {
    id: CustomerGroupId,
    name: &'a str,
    customer_count: i64,
    #[serde(with = "timestamp")]
    created_at: Timestamp,
    #[serde(with = "timestamp")]
    updated_at: Timestamp,
}

impl<'a> From<&'a CustomerGroup> for GroupItem<'a> {
    fn from(group: &'a CustomerGroup) -> Self {
        Self {
            id: group.id,
            name: &group.name,
            customer_count: group.customer_count,
            created_at: group.created_at,
            updated_at: group.updated_at,
        }
    }
}

#[derive(Serialize)]
struct TemplateItem<'a> {
    subject: &'a str,
    body: &'a str,
}

/// A campaign.
#[derive(Serialize)]
pub(crate) struct CampaignItem<'a> {
    id: CampaignId,
    name: &'a str,
    status: CampaignStatus,
    customer_group_id: CustomerGroupId,
    segment_by: &'a [String],
    template: TemplateItem<'a>,
    brief: Option<&'a str>,
    approval_stages: &'a [String],
    current_run_number: Option<RunNumber>,
    created_by: UserId,
    #[serde(with = "timestamp")]
    created_at: Timestamp,
    #[serde(with = "timestamp")]
    updated_at: Timestamp,
}

impl<'a> From<&'a Campaign> for CampaignItem<'a> {
    fn from(campaign: &'a Campaign) -> Self {
        Self {
            id: campaign.id,
            name: &campaign.name,
            status: campaign.status,
            customer_group_id: campaign.customer_group_id,
            segment_by: campaign.segment_by.fields(),
            template: TemplateItem {
                subject: &campaign.template.subject,
                body: &campaign.template.body,
            },
            brief: campaign.brief.as_deref(),
            approval_stages: campaign.approval_stages.names(),
            current_run_number: campaign.current_run,
            created_by: campaign.created_by,
            created_at: campaign.created_at,
            updated_at: campaign.updated_at,
        }
    }
}

#[derive(Serialize)]
struct MessageNumbers {
    total: u32,
    reused: u32,
    generated: u32,
    edited: u32,
    generating: u32,
    failed: u32,
    pending: u32,
    approved: u32,
    rejected: u32,
    published: u32,
    archived: u32,
}

/// An entry of a campaign's history.
#[derive(Serialize)]
pub(crate) struct RunItem<'a> {
    run_number: RunNumber,
    job_uid: Option<JobId>,
    status: RunStatus,
    is_current: bool,
    synthesised: bool,
    customer_group: GroupRef<'a>,
    customer_count: i64,
    segments: SegmentCounts,
    messages: MessageNumbers,
    resulting_status: CampaignStatus,
    initiated_by: Option<UserId>,
    error: Option<&'a str>,
    cancel_reason: Option<&'a str>,
    #[serde(with = "timestamp")]
    started_at: Timestamp,
    #[serde(serialize_with = "timestamp::option::serialize")]
    completed_at: Option<Timestamp>,
}

impl<'a> RunItem<'a> {
    pub(crate) fn new(current_run: Option<RunNumber>, run: &'a Run) -> Self {
        let counts = &run.counts;
        Self {
            run_number: run.number,
            job_uid: run.job_uid,
            status: run.status,
            is_current: current_run == Some(run.number),
            synthesised: run.synthesised,
            customer_group: (&run.group).into(),
            customer_count: run.customer_count,
            segments: run.segments,
            messages: MessageNumbers {
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
            },
            resulting_status: run.resulting_status,
            initiated_by: run.initiated_by,
            error: run.error.as_deref(),
            cancel_reason: run.cancel_reason.as_deref(),
            started_at: run.started_at,
            completed_at: run.completed_at,
        }
    }
}

/// A message.
#[derive(Serialize)]
pub(crate) struct MessageItem<'a> {
    id: MessageId,
    run_number: RunNumber,
    segment: &'a Segment,
    content: Option<&'a Content>,
    review_status: ReviewStatus,
    approval_stage: Option<&'a str>,
    source: Source,
    reused_from: Option<ReusedFrom>,
    provenance: Option<&'a Provenance>,
    archived: bool,
    #[serde(serialize_with = "timestamp::option::serialize")]
    archived_at: Option<Timestamp>,
    rejection_reason: Option<&'a str>,
    error: Option<&'a str>,
    #[serde(with = "timestamp")]
    created_at: Timestamp,
    #[serde(with = "timestamp")]
    updated_at: Timestamp,
}

/// The name of the stage that a message waits for.
pub(crate) fn approval_stage<'a>(stages: &'a ApprovalStages, message: &Message) -> Option<&'a str> {
    message.state.stage().and_then(|stage| stages.name(stage))
}

impl<'a> MessageItem<'a> {
    pub(crate) fn new(stages: &'a ApprovalStages, message: &'a Message) -> Self {
        Self {
            id: message.id,
            run_number: message.run_number,
            segment: &message.segment,
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
            created_at: message.created_at,
            updated_at: message.updated_at,
        }
    }
}

/// A run that was started, by a launch or a rerun.
#[derive(Serialize)]
pub(crate) struct RunStartedItem<'a> {
    campaign_id: CampaignId,
    run_number: RunNumber,
    job_uid: JobId,
    run_status: RunStatus,
    campaign_status: CampaignStatus,
    resulting_status: CampaignStatus,
    customer_group: GroupRef<'a>,
    customer_count: i64,
    segments: SegmentCounts,
    archived_messages: u32,
    #[serde(with = "timestamp")]
    started_at: Timestamp,
    #[serde(serialize_with = "timestamp::option::serialize")]
    completed_at: Option<Timestamp>,
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
#[derive(Serialize)]
pub(crate) struct QueuedItem {
    campaign_id: CampaignId,
    run_number: RunNumber,
    campaign_status: CampaignStatus,
    queued_messages: u32,
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
