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

/// The customer group of a run, with the name that it had when the run started.
#[derive(Serialize, ToSchema)]
#[schema(as = CustomerGroupRef)]
pub struct GroupRef<'a> {
    /// The id of the group.
    #[schema(value_type = Uuid)]
    pub id: CustomerGroupId,
    /// The name of the group when the run started.
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
    /// The id of the customer group.
    #[schema(value_type = Uuid)]
    pub id: CustomerGroupId,
    /// The name of the customer group.
    pub name: &'a str,
    /// How many customers it has.
    #[schema(minimum = 0)]
    pub customer_count: i64,
    /// The names of the profile fields that imports added, in the order in which they were added.
    #[schema(max_items = 10_000)]
    pub fields: &'a [String],
    /// When it was created.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// When its customers were last changed.
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

/// The texts that messages are created from.
#[derive(Serialize, ToSchema)]
#[schema(as = Template)]
pub struct TemplateItem<'a> {
    /// The subject line.
    pub subject: &'a str,
    /// The body.
    pub body: &'a str,
}

/// A campaign.
#[derive(Serialize, ToSchema)]
#[schema(as = Campaign)]
pub struct CampaignItem<'a> {
    /// The id of the campaign.
    #[schema(value_type = Uuid)]
    pub id: CampaignId,
    /// The name of the campaign.
    pub name: &'a str,
    #[schema(value_type = schema::CampaignStatus)]
    pub status: CampaignStatus,
    /// The id of the current run's customer group; for a draft, of the group that its launch uses.
    #[schema(value_type = Uuid)]
    pub customer_group_id: CustomerGroupId,
    /// The profile fields to segment by, in order, with their value rules as they were declared.
    #[schema(value_type = Vec<schema::SegmentField>)]
    pub segment_by: &'a SegmentBy,
    pub template: TemplateItem<'a>,
    /// Instructions for a language model.
    #[schema(required)]
    pub brief: Option<&'a str>,
    /// The approval stages that a message must pass, in order, as they were declared.
    #[schema(value_type = Vec<schema::ApprovalStage>)]
    pub approval_stages: &'a ApprovalStages,
    /// Whether each person can approve a message at one stage only.
    pub distinct_reviewers: bool,
    /// Whether the event `campaign.rerun_suggested` is written if a rerun would change something
    /// after an import.
    pub suggest_reruns: bool,
    /// The number of the current run; `null` for a draft.
    #[schema(value_type = Option<schema::RunNumber>, required)]
    pub current_run_number: Option<RunNumber>,
    /// The id of the person who created it.
    #[schema(value_type = Uuid)]
    pub created_by: UserId,
    /// When it was created.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// When it was last changed.
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

/// How many messages a run has, by their source and by their review status.
#[derive(Serialize, ToSchema)]
#[schema(as = MessageCounts)]
pub struct MessageNumbers {
    /// The number of all messages.
    pub total: u32,
    /// The number of messages whose content is reused.
    pub reused: u32,
    /// The number of messages whose content was or will be generated.
    pub generated: u32,
    /// The number of messages whose content a person wrote.
    pub edited: u32,
    /// The number of messages that are `Generating`.
    pub generating: u32,
    /// The number of messages that are `Generation failed`.
    pub failed: u32,
    /// The number of messages that are `Pending review`.
    pub pending: u32,
    /// The number of messages that are `Approved`.
    pub approved: u32,
    /// The number of messages that are `Rejected`.
    pub rejected: u32,
    /// The number of messages that are `Published`.
    pub published: u32,
    /// The number of messages that are archived: all if the run is not current, else 0.
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

/// How many tokens the generator calls of a run used, as reported by the endpoint of the language
/// model. Calls that failed are included. The numbers are 0 for generators without a language
/// model.
#[derive(Serialize, ToSchema)]
#[schema(as = Usage)]
pub struct TokenNumbers {
    /// The number of tokens of the prompts.
    #[schema(minimum = 0)]
    pub prompt_tokens: u64,
    /// The number of tokens of the responses.
    #[schema(minimum = 0)]
    pub completion_tokens: u64,
}

/// What a run saved because it reused messages, computed when the run started.
#[derive(Serialize, ToSchema)]
#[schema(as = Saved)]
pub struct SavedNumbers {
    /// The number of messages that were neither generated nor reviewed.
    pub messages: u32,
    /// The number of customers in the segments of these messages.
    #[schema(minimum = 0)]
    pub customers: i64,
    /// The number of prompt tokens saved: for each message, the mean that the campaign's generated
    /// contents had used until then. It is 0 if no usage was reported.
    #[schema(minimum = 0)]
    pub prompt_tokens: u64,
    /// The number of response tokens saved, computed in the same way.
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
    /// The id of its job; `null` if the run is synthesised.
    #[schema(value_type = Option<Uuid>, required)]
    pub job_uid: Option<JobId>,
    #[schema(value_type = schema::RunStatus)]
    pub status: RunStatus,
    /// Whether it is the current run.
    pub is_current: bool,
    /// Whether the run was not made here: its messages were imported, and this entry is derived
    /// from them.
    pub synthesised: bool,
    pub customer_group: GroupRef<'a>,
    /// How many customers are in its segments.
    #[schema(minimum = 0)]
    pub customer_count: i64,
    #[schema(value_type = schema::SegmentCounts)]
    pub segments: SegmentCounts,
    pub messages: MessageNumbers,
    pub usage: TokenNumbers,
    pub saved: SavedNumbers,
    /// The status that the campaign has once generation is done.
    #[schema(value_type = schema::CampaignStatus)]
    pub resulting_status: CampaignStatus,
    /// The id of the person who started it. If a schedule started it, this is the person who
    /// created the schedule.
    #[schema(value_type = Option<Uuid>, required)]
    pub initiated_by: Option<UserId>,
    /// The person's name at that time; `null` if the token did not contain a name.
    #[schema(required, min_length = 1, max_length = 200)]
    pub initiated_by_name: Option<&'a str>,
    /// The id of the schedule that started it; `null` if a person started it.
    #[schema(value_type = Option<Uuid>, required)]
    pub schedule_id: Option<ScheduleId>,
    /// How many messages failed, and why the last of them failed.
    #[schema(required)]
    pub error: Option<&'a str>,
    /// Why it was cancelled; `null` if no reason was given.
    #[schema(required)]
    pub cancel_reason: Option<&'a str>,
    /// When it was started.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub started_at: Timestamp,
    /// When it became `Completed`, `Failed` or `Cancelled`; `null` before that.
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
    /// The id of the message.
    #[schema(value_type = Uuid)]
    pub id: MessageId,
    #[schema(value_type = schema::RunNumber)]
    pub run_number: RunNumber,
    #[schema(value_type = schema::Segment)]
    pub segment: &'a Segment,
    /// The id of the content; `null` as long as there is none. Other content has another id, so
    /// that a decision can name the text that it is about.
    #[schema(value_type = Option<Uuid>, required)]
    pub content_id: Option<ContentId>,
    /// The subject and the body; `null` until they are generated.
    #[schema(value_type = Option<schema::Content>, required)]
    pub content: Option<&'a Content>,
    /// The language model that created the content, as its endpoint named it. It is `null` for
    /// content from the template or from a person, for an imported campaign, and if the endpoint
    /// did not report it with its usage of tokens.
    #[schema(required)]
    pub content_model: Option<&'a str>,
    #[schema(value_type = schema::ReviewStatus)]
    pub review_status: ReviewStatus,
    /// The approval stage that it waits for; `null` if it waits for none.
    #[schema(required)]
    pub approval_stage: Option<&'a str>,
    #[schema(value_type = schema::Source)]
    pub source: Source,
    /// The message whose content it reuses; `null` if it reuses none.
    #[schema(value_type = Option<schema::ReusedFrom>, required)]
    pub reused_from: Option<ReusedFrom>,
    /// In which run its content was created, and who approved it.
    #[schema(value_type = Option<schema::Provenance>, required)]
    pub provenance: Option<&'a Provenance>,
    /// Whether it is archived, because its run is not current.
    pub archived: bool,
    /// When it was archived.
    #[serde(serialize_with = "timestamp::option::serialize")]
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub archived_at: Option<Timestamp>,
    /// Why it was rejected; `null` if it is not `Rejected`.
    #[schema(required)]
    pub rejection_reason: Option<&'a str>,
    /// Why its generation failed.
    #[schema(required)]
    pub error: Option<&'a str>,
    /// The approved message whose segment is most similar. It is given only while this message is
    /// `Generating` or `Pending review`.
    #[schema(value_type = Option<schema::Suggestion>, required)]
    pub suggestion: Option<&'a KeptSuggestion>,
    /// When it was created.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub updated_at: Timestamp,
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
            content_model: message.content_model.as_deref(),
            review_status: message.state.status(),
            approval_stage: message.state.stage().and_then(|stage| stages.name(stage)),
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

    /// The columns that a file has before those of the segmentation.
    pub const COLUMNS_BEFORE: [&'static str; 3] = ["message_id", "run_number", "segment_key"];

    /// The columns that a file has after those of the segmentation. A new column goes last.
    pub const COLUMNS_AFTER: [&'static str; 16] = [
        "customer_count",
        "subject",
        "body",
        "review_status",
        "approval_stage",
        "source",
        "reused_from_message_id",
        "reused_from_run_number",
        "archived",
        "archived_at",
        "rejection_reason",
        "error",
        "created_at",
        "updated_at",
        "content_id",
        "content_model",
    ];

    /// The values of [`Self::COLUMNS_BEFORE`].
    #[must_use]
    pub fn values_before(&self) -> [String; 3] {
        [
            self.id.to_string(),
            self.run_number.to_string(),
            self.segment.key.to_string(),
        ]
    }

    /// The values of [`Self::COLUMNS_AFTER`]. What a message does not have is empty.
    #[must_use]
    pub fn values_after(&self) -> [String; 16] {
        let (subject, body) = self.content.map_or(("", ""), |content| {
            (content.subject.as_str(), content.body.as_str())
        });
        let (from_message, from_run) = self.reused_from.map_or_else(Default::default, |from| {
            (from.message_id.to_string(), from.run_number.to_string())
        });
        [
            self.segment.customer_count.to_string(),
            subject.to_owned(),
            body.to_owned(),
            self.review_status.to_string(),
            self.approval_stage.unwrap_or_default().to_owned(),
            self.source.to_string(),
            from_message,
            from_run,
            self.archived.to_string(),
            self.archived_at.map(timestamp::format).unwrap_or_default(),
            self.rejection_reason.unwrap_or_default().to_owned(),
            self.error.unwrap_or_default().to_owned(),
            timestamp::format(self.created_at),
            timestamp::format(self.updated_at),
            self.content_id.map(|id| id.to_string()).unwrap_or_default(),
            self.content_model.unwrap_or_default().to_owned(),
        ]
    }
}

/// A run that was started, by a launch or a rerun.
#[derive(Serialize, ToSchema)]
#[schema(as = RunStarted)]
pub struct RunStartedItem<'a> {
    /// The id of the campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    #[schema(value_type = schema::RunNumber)]
    pub run_number: RunNumber,
    /// The id of the run's job.
    #[schema(value_type = Uuid)]
    pub job_uid: JobId,
    #[schema(value_type = schema::RunStatus)]
    pub run_status: RunStatus,
    #[schema(value_type = schema::CampaignStatus)]
    pub campaign_status: CampaignStatus,
    /// The status that the campaign has once generation is done.
    #[schema(value_type = schema::CampaignStatus)]
    pub resulting_status: CampaignStatus,
    pub customer_group: GroupRef<'a>,
    /// How many customers are in the segments.
    #[schema(minimum = 0)]
    pub customer_count: i64,
    #[schema(value_type = schema::SegmentCounts)]
    pub segments: SegmentCounts,
    /// How many messages of the previous run were archived.
    pub archived_messages: u32,
    /// When it was started.
    #[serde(with = "timestamp")]
    #[schema(value_type = schema::Timestamp)]
    pub started_at: Timestamp,
    /// When it was completed. If no segment is new, it is completed at once.
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
    /// The id of the campaign.
    #[schema(value_type = Uuid)]
    pub campaign_id: CampaignId,
    #[schema(value_type = schema::RunNumber)]
    pub run_number: RunNumber,
    #[schema(value_type = schema::CampaignStatus)]
    pub campaign_status: CampaignStatus,
    /// How many messages were queued to be generated again.
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

#[cfg(test)]
mod tests {
    use rerun_core::message::{Approvals, MessageParts, MessageState};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    const CREATED: &str = "1970-01-01T00:00:01.000Z";

    fn uuid(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp_millis(second * 1_000).unwrap()
    }

    /// Each field has its name and its place in both formats, whether the message has it or not.
    #[test]
    #[expect(clippy::too_many_lines, reason = "four messages in two formats")]
    fn a_message_is_an_object_and_a_row() {
        let stages = ApprovalStages::new(&["Draft", "Legal"]).unwrap();
        let segment_by = SegmentBy::new(&["country", "tier"]).unwrap();
        let segment = segment_by.segment(|field| (field == "country").then_some("DE"), 3);
        let key = segment.key.to_string();
        let (id, run) = (MessageId::new(uuid(1)), RunNumber::new(2).unwrap());
        let begun = MessageParts::generating(id, run, 1, segment, at(1));
        let suggestion = KeptSuggestion::from_stored("{\"mentions\":[]}".to_owned());
        let waiting = MessageParts {
            content_id: Some(ContentId::new(uuid(2))),
            content: Some(Content {
                subject: "Hi".to_owned(),
                body: "Dear".to_owned(),
            }),
            content_model: Some("m".to_owned()),
            state: MessageState::PendingReview { stage: 1 },
            source: Source::Reused,
            reused_from: Some(ReusedFrom {
                message_id: MessageId::new(uuid(3)),
                run_number: RunNumber::FIRST,
            }),
            suggestion: Some(suggestion),
            provenance: Some(Provenance {
                run_number: RunNumber::FIRST,
                approvals: Approvals::from_stored("[]".to_owned()),
            }),
            archived_at: Some(at(2)),
            updated_at: at(3),
            ..begun.clone()
        };
        let rejected = MessageParts {
            state: MessageState::Rejected,
            suggestion: None,
            rejection_reason: Some("why".to_owned()),
            ..waiting.clone()
        };
        let failed = MessageParts {
            state: MessageState::GenerationFailed,
            error: Some("no".to_owned()),
            ..begun.clone()
        };
        let written = [begun, waiting, rejected, failed].map(|parts| {
            let message = Message::from_parts(parts).unwrap();
            let item = MessageItem::new(&stages, &message);
            let (before, after) = (item.values_before(), item.values_after());
            let row = format!("{}|{}", before.join(","), after.join(","));
            (serde_json::to_value(&item).unwrap(), row)
        });
        let [begun, waiting, rejected, failed] = written;
        let segment = json!({
            "key": key, "attributes": { "country": "DE", "tier": null }, "customer_count": 3,
        });
        assert_eq!(
            begun.0,
            json!({
                "id": uuid(1), "run_number": 2, "segment": segment, "content_id": null,
                "content": null, "content_model": null, "review_status": "Generating",
                "approval_stage": null, "source": "generated", "reused_from": null,
                "provenance": null, "archived": false, "archived_at": null,
                "rejection_reason": null, "error": null, "suggestion": null,
                "created_at": CREATED, "updated_at": CREATED,
            })
        );
        assert_eq!(
            waiting.0,
            json!({
                "id": uuid(1), "run_number": 2, "segment": segment, "content_id": uuid(2),
                "content": { "subject": "Hi", "body": "Dear" }, "content_model": "m",
                "review_status": "Pending review", "approval_stage": "Legal", "source": "reused",
                "reused_from": { "message_id": uuid(3), "run_number": 1 },
                "provenance": { "run_number": 1, "approvals": [] }, "archived": true,
                "archived_at": "1970-01-01T00:00:02.000Z", "rejection_reason": null,
                "error": null, "suggestion": { "mentions": [] }, "created_at": CREATED,
                "updated_at": "1970-01-01T00:00:03.000Z",
            })
        );
        assert_eq!(rejected.0["rejection_reason"], "why");
        assert_eq!(failed.0["error"], "no");
        let columns = [
            MessageItem::COLUMNS_BEFORE.join(","),
            MessageItem::COLUMNS_AFTER.join(","),
        ];
        assert_eq!(
            columns.join("|"),
            "message_id,run_number,segment_key|customer_count,subject,body,review_status,\
             approval_stage,source,reused_from_message_id,reused_from_run_number,archived,\
             archived_at,rejection_reason,error,created_at,updated_at,content_id,content_model"
        );
        let (of, from, content) = (uuid(1), uuid(3), uuid(2));
        assert_eq!(
            begun.1,
            format!("{of},2,{key}|3,,,Generating,,generated,,,false,,,,{CREATED},{CREATED},,")
        );
        let changed = "1970-01-01T00:00:03.000Z";
        let rest = format!("reused,{from},1,true,1970-01-01T00:00:02.000Z");
        assert_eq!(
            waiting.1,
            format!(
                "{of},2,{key}|3,Hi,Dear,Pending review,Legal,{rest},,,{CREATED},{changed},{content},m"
            )
        );
        assert_eq!(
            rejected.1,
            format!("{of},2,{key}|3,Hi,Dear,Rejected,,{rest},why,,{CREATED},{changed},{content},m")
        );
        assert_eq!(
            failed.1,
            format!(
                "{of},2,{key}|3,,,Generation failed,,generated,,,false,,,no,{CREATED},{CREATED},,"
            )
        );
    }
}
