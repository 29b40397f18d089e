//! What the audit log records: one event for each change.

use serde_json::{Value, json};

use crate::group::{DeletedCustomers, ImportMode, Imported};
use crate::ids::{
    CampaignId, ContentId, CustomerGroupId, JobId, MessageId, RunNumber, ScheduleId, WebhookId,
};
use crate::message::ReusedFrom;
use crate::outlook::Shares;
use crate::schedule::Outcome;
use crate::stages::ApprovalStages;
use crate::status::{CampaignStatus, DisabledReason, WebhookStatus, wire_enum};
use crate::timestamp::{self, Timestamp};

wire_enum! {
    /// What an audit entry records.
    AuditAction {
        /// A customer group was made.
        GroupCreated => "customer_group.created",
        /// A customer group got another name.
        GroupUpdated => "customer_group.updated",
        /// Customers were imported.
        GroupImported => "customer_group.imported",
        /// A customer group was deleted with its customers.
        GroupDeleted => "customer_group.deleted",
        /// Customers of a group were deleted.
        CustomersDeleted => "customers.deleted",
        /// A customer was deleted from every group.
        CustomerErased => "customer.erased",
        /// A campaign was made.
        CampaignCreated => "campaign.created",
        /// A campaign's name, template, brief, stages or value rules were changed.
        CampaignUpdated => "campaign.updated",
        /// A campaign was deleted with all its runs.
        CampaignDeleted => "campaign.deleted",
        /// A campaign's first run was started.
        CampaignLaunched => "campaign.launched",
        /// A campaign was published.
        CampaignPublished => "campaign.published",
        /// Messages passed an approval stage.
        MessagesApproved => "messages.approved",
        /// Messages were rejected.
        MessagesRejected => "messages.rejected",
        /// A message was edited.
        MessageEdited => "message.edited",
        /// The suggested content of an approved message was taken.
        MessageAdopted => "message.adopted",
        /// Messages were queued to be generated again.
        MessagesRegenerated => "messages.regenerated",
        /// A rerun was started.
        RerunInitiated => "rerun.initiated",
        /// An import into the group of the current run makes a rerun worthwhile.
        RerunSuggested => "campaign.rerun_suggested",
        /// What was still active of a past run was archived.
        RerunArchived => "rerun.archived",
        /// A run was taken back.
        RerunCancelled => "rerun.cancelled",
        /// Failed messages were queued again.
        RerunRetried => "rerun.retried",
        /// A run's generation ended well.
        RunCompleted => "run.completed",
        /// A run's generation ended with failures.
        RunFailed => "run.failed",
        /// A webhook was made.
        WebhookCreated => "webhook.created",
        /// A webhook was changed.
        WebhookUpdated => "webhook.updated",
        /// A webhook was deleted.
        WebhookDeleted => "webhook.deleted",
        /// A webhook got another secret.
        WebhookSecretRotated => "webhook.secret_rotated",
        /// The system disabled a webhook.
        WebhookDisabled => "webhook.disabled",
        /// A schedule was made.
        ScheduleCreated => "schedule.created",
        /// A schedule was changed.
        ScheduleUpdated => "schedule.updated",
        /// A schedule was deleted with its firings.
        ScheduleDeleted => "schedule.deleted",
        /// A schedule was paused.
        SchedulePaused => "schedule.paused",
        /// A schedule was resumed.
        ScheduleResumed => "schedule.resumed",
        /// Nothing was started at a time of a schedule.
        ScheduleSkipped => "schedule.skipped",
    }
}

/// A change of a run, with the campaign's status before and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusChange {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// The run.
    pub run_number: RunNumber,
    /// The campaign's status before.
    pub before: CampaignStatus,
    /// The campaign's status after.
    pub after: CampaignStatus,
}

/// A change of messages of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedMessages {
    /// What it is for run and campaign.
    pub status: StatusChange,
    /// How many messages changed.
    pub messages: u32,
    /// The messages, if they were named one by one and are few.
    pub message_ids: Option<Vec<MessageId>>,
}

/// The fields of a campaign that changed. Texts are named, but not repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignUpdate {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// Its new name.
    pub name: Option<String>,
    /// Whether its template changed.
    pub template: bool,
    /// Whether its brief changed.
    pub brief: bool,
    /// Its new approval stages.
    pub approval_stages: Option<ApprovalStages>,
    /// Whether reviewers must be distinct from now on, if that changed.
    pub distinct_reviewers: Option<bool>,
    /// Whether reruns are suggested from now on, if that changed.
    pub suggest_reruns: Option<bool>,
    /// What other value rules did.
    pub segmentation: Option<RulesChange>,
}

/// What other value rules did to the segments of a campaign. It has numbers, never values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RulesChange {
    /// How many keys the published segments had.
    pub segments_before: u32,
    /// How many they have now.
    pub segments_after: u32,
    /// How many keys different texts have.
    pub conflicts: u32,
}

impl CampaignUpdate {
    fn details(&self) -> Value {
        let changed = [
            ("name", self.name.is_some()),
            ("template", self.template),
            ("brief", self.brief),
            ("approval_stages", self.approval_stages.is_some()),
            ("distinct_reviewers", self.distinct_reviewers.is_some()),
            ("suggest_reruns", self.suggest_reruns.is_some()),
            ("segment_by", self.segmentation.is_some()),
        ];
        let changed: Vec<&str> = changed
            .into_iter()
            .filter_map(|(field, changed)| changed.then_some(field))
            .collect();
        let mut details = json!({ "changed": changed });
        if let Some(name) = &self.name {
            details = with(details, json!({ "name": name }));
        }
        if let Some(stages) = &self.approval_stages {
            details = with(details, json!({ "approval_stages": stages }));
        }
        if let Some(distinct) = self.distinct_reviewers {
            details = with(details, json!({ "distinct_reviewers": distinct }));
        }
        if let Some(suggest) = self.suggest_reruns {
            details = with(details, json!({ "suggest_reruns": suggest }));
        }
        if let Some(change) = &self.segmentation {
            let RulesChange {
                segments_before,
                segments_after,
                conflicts,
            } = change;
            let change = json!({
                "segments_before": segments_before,
                "segments_after": segments_after,
                "conflicts": conflicts,
            });
            details = with(details, change);
        }
        details
    }
}

/// A run that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartedRun {
    /// What it is for run and campaign.
    pub status: StatusChange,
    /// The run's job.
    pub job_uid: JobId,
    /// The group that the run is for.
    pub customer_group_id: CustomerGroupId,
    /// Segments that reuse an approved message.
    pub matched: u32,
    /// Segments that need a new one.
    pub new: u32,
    /// Messages of the previous run that are archived now.
    pub archived_messages: u32,
    /// The schedule that started it.
    pub schedule_id: Option<ScheduleId>,
}

/// A schedule that something happened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleChange {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// Its campaign.
    pub campaign_id: CampaignId,
    /// Its name.
    pub name: String,
}

/// Times of a schedule at which nothing was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedTimes {
    /// The schedule.
    pub schedule: ScheduleChange,
    /// What became of them.
    pub outcome: Outcome,
    /// The last of them, before jitter.
    pub scheduled_for: Timestamp,
    /// How many they are.
    pub times: u32,
    /// Why; the code of a refusal.
    pub reason: Option<String>,
}

impl ScheduleChange {
    fn details(&self) -> Value {
        json!({ "schedule_id": self.schedule_id, "name": self.name })
    }
}

impl SkippedTimes {
    fn details(&self) -> Value {
        let times = json!({
            "outcome": self.outcome,
            "scheduled_for": timestamp::format(self.scheduled_for),
            "times": self.times,
            "reason": self.reason,
        });
        with(self.schedule.details(), times)
    }
}

fn paused(schedule: &ScheduleChange, note: Option<&str>) -> Value {
    match note {
        Some(note) => with(schedule.details(), json!({ "note": note })),
        None => schedule.details(),
    }
}

/// A rerun that is worthwhile. It has numbers, never values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuggestedRerun {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// The current run.
    pub run_number: RunNumber,
    /// The group.
    pub customer_group_id: CustomerGroupId,
    /// The segments that a rerun would have.
    pub segments: Shares,
    /// Their customers.
    pub customers: Shares,
}

impl SuggestedRerun {
    fn details(&self) -> Value {
        json!({
            "customer_group_id": self.customer_group_id,
            "segments": self.segments,
            "customers": self.customers,
        })
    }
}

/// The fields of a webhook that changed. Its URL and its description are named, but not repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUpdate {
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The names of the fields.
    pub changed: Vec<&'static str>,
    /// Its new status, if that changed.
    pub status: Option<WebhookStatus>,
    /// It gets all events after this number, if somebody said so.
    pub after_sequence: Option<i64>,
}

impl WebhookUpdate {
    fn details(&self) -> Value {
        let mut details = json!({ "webhook_id": self.webhook_id, "changed": self.changed });
        if let Some(status) = self.status {
            details = with(details, json!({ "status": status }));
        }
        if let Some(after) = self.after_sequence {
            details = with(details, json!({ "after_sequence": after }));
        }
        details
    }
}

/// Something that happened in an account. An entry of the audit log has its action, the campaign
/// and the run that it is about, and the rest as details.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A customer group was made.
    GroupCreated {
        /// The group.
        customer_group_id: CustomerGroupId,
        /// Its name.
        name: String,
    },
    /// A customer group got another name.
    GroupUpdated {
        /// The group.
        customer_group_id: CustomerGroupId,
        /// Its new name.
        name: String,
    },
    /// Customers were imported.
    GroupImported {
        /// The group.
        customer_group_id: CustomerGroupId,
        /// Whether other customers stayed.
        mode: ImportMode,
        /// What the import did.
        imported: Imported,
    },
    /// A customer group was deleted with its customers.
    GroupDeleted {
        /// The group.
        customer_group_id: CustomerGroupId,
        /// Its name.
        name: String,
        /// How many customers it had.
        customers: u64,
    },
    /// Customers of a group were deleted. It never names them.
    CustomersDeleted {
        /// The group.
        customer_group_id: CustomerGroupId,
        /// How many went, and how many are left.
        deleted: DeletedCustomers,
    },
    /// A customer was deleted from every group of the account.
    CustomerErased {
        /// See [`crate::group::customer_digest`]: it never names the customer.
        customer: [u8; 32],
        /// How many groups had the customer.
        groups: u64,
    },
    /// A draft was made.
    CampaignCreated {
        /// The campaign.
        campaign_id: CampaignId,
        /// Its name.
        name: String,
    },
    /// A campaign that was published elsewhere was brought in.
    CampaignImported {
        /// The campaign.
        campaign_id: CampaignId,
        /// The run that its messages have.
        run_number: RunNumber,
        /// Its name.
        name: String,
    },
    /// A campaign's name, template, brief or stages were changed.
    CampaignUpdated(CampaignUpdate),
    /// A campaign was deleted with all its runs.
    CampaignDeleted {
        /// The campaign.
        campaign_id: CampaignId,
        /// Its name.
        name: String,
        /// Its status until then.
        before: CampaignStatus,
        /// How many messages its runs had.
        messages: u64,
    },
    /// A campaign's first run was started.
    CampaignLaunched(StartedRun),
    /// A campaign was published.
    CampaignPublished(ChangedMessages),
    /// Messages passed an approval stage.
    MessagesApproved(ChangedMessages),
    /// Messages were rejected.
    MessagesRejected {
        /// Which.
        changed: ChangedMessages,
        /// Why.
        reason: String,
    },
    /// A message was edited.
    MessageEdited {
        /// Which.
        changed: ChangedMessages,
        /// Its new content.
        content_id: ContentId,
    },
    /// The suggested content of an approved message was taken.
    MessageAdopted {
        /// Which message took it.
        changed: ChangedMessages,
        /// The content.
        content_id: ContentId,
        /// The approved message.
        reused_from: ReusedFrom,
    },
    /// Messages were queued to be generated again.
    MessagesRegenerated(ChangedMessages),
    /// A rerun was started.
    RerunInitiated(StartedRun),
    /// An import into the group of the current run makes a rerun worthwhile.
    RerunSuggested(SuggestedRerun),
    /// A run was taken back.
    RerunCancelled {
        /// What it is for run and campaign.
        status: StatusChange,
        /// Why, if a reason was given.
        reason: Option<String>,
    },
    /// Failed messages were queued again.
    RerunRetried(ChangedMessages),
    /// A run's generation ended well.
    RunCompleted {
        /// What it is for run and campaign.
        status: StatusChange,
    },
    /// A run's generation ended with failures.
    RunFailed {
        /// What it is for run and campaign.
        status: StatusChange,
        /// How many messages could not be made.
        failed: u32,
    },
    /// A webhook was made.
    WebhookCreated {
        /// The webhook.
        webhook_id: WebhookId,
    },
    /// A webhook was changed.
    WebhookUpdated(WebhookUpdate),
    /// A webhook was deleted.
    WebhookDeleted {
        /// The webhook.
        webhook_id: WebhookId,
    },
    /// A webhook got another secret.
    WebhookSecretRotated {
        /// The webhook.
        webhook_id: WebhookId,
        /// For how many seconds the previous secret signs too.
        keep_previous_seconds: u32,
    },
    /// The system disabled a webhook.
    WebhookDisabled {
        /// The webhook.
        webhook_id: WebhookId,
        /// Why.
        reason: DisabledReason,
    },
    /// A schedule was made.
    ScheduleCreated(ScheduleChange),
    /// A schedule was changed.
    ScheduleUpdated(ScheduleChange),
    /// A schedule was deleted with its firings.
    ScheduleDeleted(ScheduleChange),
    /// A schedule was paused.
    SchedulePaused {
        /// Which.
        schedule: ScheduleChange,
        /// Why, if somebody told.
        note: Option<String>,
    },
    /// A schedule was resumed.
    ScheduleResumed(ScheduleChange),
    /// Nothing was started at times of a schedule.
    ScheduleSkipped(SkippedTimes),
}

impl Event {
    /// What it is called in the log.
    #[must_use]
    pub const fn action(&self) -> AuditAction {
        match self {
            Self::GroupCreated { .. } => AuditAction::GroupCreated,
            Self::GroupUpdated { .. } => AuditAction::GroupUpdated,
            Self::GroupImported { .. } => AuditAction::GroupImported,
            Self::GroupDeleted { .. } => AuditAction::GroupDeleted,
            Self::CustomersDeleted { .. } => AuditAction::CustomersDeleted,
            Self::CustomerErased { .. } => AuditAction::CustomerErased,
            Self::CampaignCreated { .. } | Self::CampaignImported { .. } => {
                AuditAction::CampaignCreated
            }
            Self::CampaignUpdated(_) => AuditAction::CampaignUpdated,
            Self::CampaignDeleted { .. } => AuditAction::CampaignDeleted,
            Self::CampaignLaunched(_) => AuditAction::CampaignLaunched,
            Self::CampaignPublished(_) => AuditAction::CampaignPublished,
            Self::MessagesApproved(_) => AuditAction::MessagesApproved,
            Self::MessagesRejected { .. } => AuditAction::MessagesRejected,
            Self::MessageEdited { .. } => AuditAction::MessageEdited,
            Self::MessageAdopted { .. } => AuditAction::MessageAdopted,
            Self::MessagesRegenerated(_) => AuditAction::MessagesRegenerated,
            Self::RerunInitiated(_) => AuditAction::RerunInitiated,
            Self::RerunSuggested(_) => AuditAction::RerunSuggested,
            Self::RerunCancelled { .. } => AuditAction::RerunCancelled,
            Self::RerunRetried(_) => AuditAction::RerunRetried,
            Self::RunCompleted { .. } => AuditAction::RunCompleted,
            Self::RunFailed { .. } => AuditAction::RunFailed,
            Self::WebhookCreated { .. } => AuditAction::WebhookCreated,
            Self::WebhookUpdated(_) => AuditAction::WebhookUpdated,
            Self::WebhookDeleted { .. } => AuditAction::WebhookDeleted,
            Self::WebhookSecretRotated { .. } => AuditAction::WebhookSecretRotated,
            Self::WebhookDisabled { .. } => AuditAction::WebhookDisabled,
            Self::ScheduleCreated(_) => AuditAction::ScheduleCreated,
            Self::ScheduleUpdated(_) => AuditAction::ScheduleUpdated,
            Self::ScheduleDeleted(_) => AuditAction::ScheduleDeleted,
            Self::SchedulePaused { .. } => AuditAction::SchedulePaused,
            Self::ScheduleResumed(_) => AuditAction::ScheduleResumed,
            Self::ScheduleSkipped(_) => AuditAction::ScheduleSkipped,
        }
    }

    /// The status change of an event about a run; `None` for the others.
    const fn status(&self) -> Option<&StatusChange> {
        match self {
            Self::CampaignLaunched(run) | Self::RerunInitiated(run) => Some(&run.status),
            Self::CampaignPublished(changed)
            | Self::MessagesApproved(changed)
            | Self::MessagesRejected { changed, .. }
            | Self::MessageEdited { changed, .. }
            | Self::MessageAdopted { changed, .. }
            | Self::MessagesRegenerated(changed)
            | Self::RerunRetried(changed) => Some(&changed.status),
            Self::RerunCancelled { status, .. }
            | Self::RunCompleted { status }
            | Self::RunFailed { status, .. } => Some(status),
            Self::GroupCreated { .. }
            | Self::GroupUpdated { .. }
            | Self::GroupImported { .. }
            | Self::GroupDeleted { .. }
            | Self::CustomersDeleted { .. }
            | Self::CustomerErased { .. }
            | Self::CampaignCreated { .. }
            | Self::CampaignUpdated(_)
            | Self::CampaignDeleted { .. }
            | Self::CampaignImported { .. }
            | Self::RerunSuggested(_)
            | Self::WebhookCreated { .. }
            | Self::WebhookUpdated(_)
            | Self::WebhookDeleted { .. }
            | Self::WebhookSecretRotated { .. }
            | Self::WebhookDisabled { .. }
            | Self::ScheduleCreated(_)
            | Self::ScheduleUpdated(_)
            | Self::ScheduleDeleted(_)
            | Self::SchedulePaused { .. }
            | Self::ScheduleResumed(_)
            | Self::ScheduleSkipped(_) => None,
        }
    }

    /// The campaign that it is about, if it is about one.
    #[must_use]
    pub fn campaign_id(&self) -> Option<CampaignId> {
        if let Self::CampaignCreated { campaign_id, .. }
        | Self::CampaignUpdated(CampaignUpdate { campaign_id, .. })
        | Self::CampaignDeleted { campaign_id, .. }
        | Self::CampaignImported { campaign_id, .. }
        | Self::ScheduleCreated(ScheduleChange { campaign_id, .. })
        | Self::ScheduleUpdated(ScheduleChange { campaign_id, .. })
        | Self::ScheduleDeleted(ScheduleChange { campaign_id, .. })
        | Self::SchedulePaused {
            schedule: ScheduleChange { campaign_id, .. },
            ..
        }
        | Self::ScheduleResumed(ScheduleChange { campaign_id, .. })
        | Self::ScheduleSkipped(SkippedTimes {
            schedule: ScheduleChange { campaign_id, .. },
            ..
        })
        | Self::RerunSuggested(SuggestedRerun { campaign_id, .. }) = self
        {
            return Some(*campaign_id);
        }
        self.status().map(|status| status.campaign_id)
    }

    /// The run that it is about, if it is about one.
    #[must_use]
    pub fn run_number(&self) -> Option<RunNumber> {
        if let Self::CampaignImported { run_number, .. }
        | Self::RerunSuggested(SuggestedRerun { run_number, .. }) = self
        {
            return Some(*run_number);
        }
        self.status().map(|status| status.run_number)
    }

    /// The rest, as a JSON object: the `details` of an entry. Names are never changed: logs are
    /// read for years.
    #[must_use]
    pub fn details(&self) -> Value {
        let of_status = self.status().map_or_else(
            || json!({}),
            |status| json!({ "before": status.before, "after": status.after }),
        );
        with(of_status, self.own_details())
    }

    /// The details without those of the campaign's status.
    fn own_details(&self) -> Value {
        match self {
            Self::GroupCreated {
                customer_group_id,
                name,
            }
            | Self::GroupUpdated {
                customer_group_id,
                name,
            } => json!({ "customer_group_id": customer_group_id, "name": name }),
            Self::GroupImported {
                customer_group_id,
                mode,
                imported,
            } => with(
                json!({ "customer_group_id": customer_group_id, "mode": mode }),
                json!(imported),
            ),
            Self::GroupDeleted {
                customer_group_id,
                name,
                customers,
            } => json!({
                "customer_group_id": customer_group_id,
                "name": name,
                "deleted_customers": customers,
            }),
            Self::CustomersDeleted {
                customer_group_id,
                deleted,
            } => with(
                json!({ "customer_group_id": customer_group_id }),
                json!(deleted),
            ),
            Self::CustomerErased { customer, groups } => json!({
                "customer_sha256": hex::encode(customer),
                "erased_groups": groups,
            }),
            Self::CampaignCreated { name, .. } => {
                json!({ "name": name, "after": CampaignStatus::Draft })
            }
            Self::CampaignImported { name, .. } => {
                json!({ "name": name, "imported": true, "after": CampaignStatus::Published })
            }
            Self::CampaignUpdated(update) => update.details(),
            Self::CampaignDeleted {
                name,
                before,
                messages,
                ..
            } => json!({ "name": name, "before": before, "messages": messages }),
            Self::CampaignLaunched(run) | Self::RerunInitiated(run) => run.details(),
            Self::CampaignPublished(changed)
            | Self::MessagesApproved(changed)
            | Self::MessagesRegenerated(changed)
            | Self::RerunRetried(changed) => changed.details(),
            Self::MessagesRejected { changed, reason } => {
                with(changed.details(), json!({ "reason": reason }))
            }
            Self::MessageEdited {
                changed,
                content_id,
            } => with(changed.details(), json!({ "content_id": content_id })),
            Self::MessageAdopted {
                changed,
                content_id,
                reused_from,
            } => with(
                changed.details(),
                json!({ "content_id": content_id, "reused_from": reused_from }),
            ),
            Self::RerunSuggested(suggested) => suggested.details(),
            Self::RerunCancelled { reason, .. } => match reason {
                Some(reason) => json!({ "reason": reason }),
                None => json!({}),
            },
            Self::RunCompleted { .. } => json!({ "failed": 0 }),
            Self::RunFailed { failed, .. } => json!({ "failed": failed }),
            Self::WebhookCreated { webhook_id } | Self::WebhookDeleted { webhook_id } => {
                json!({ "webhook_id": webhook_id })
            }
            Self::WebhookUpdated(update) => update.details(),
            Self::WebhookSecretRotated {
                webhook_id,
                keep_previous_seconds,
            } => json!({
                "webhook_id": webhook_id,
                "keep_previous_seconds": keep_previous_seconds,
            }),
            Self::WebhookDisabled { webhook_id, reason } => {
                json!({ "webhook_id": webhook_id, "disabled_reason": reason })
            }
            Self::ScheduleCreated(schedule)
            | Self::ScheduleUpdated(schedule)
            | Self::ScheduleDeleted(schedule)
            | Self::ScheduleResumed(schedule) => schedule.details(),
            Self::SchedulePaused { schedule, note } => paused(schedule, note.as_deref()),
            Self::ScheduleSkipped(skipped) => skipped.details(),
        }
    }
}

impl StartedRun {
    fn details(&self) -> Value {
        let details = json!({
            "job_uid": self.job_uid,
            "customer_group_id": self.customer_group_id,
            "matched": self.matched,
            "new": self.new,
            "archived_messages": self.archived_messages,
        });
        match self.schedule_id {
            Some(id) => with(details, json!({ "schedule_id": id })),
            None => details,
        }
    }
}

impl ChangedMessages {
    fn details(&self) -> Value {
        match &self.message_ids {
            Some(ids) => json!({ "messages": self.messages, "message_ids": ids }),
            None => json!({ "messages": self.messages }),
        }
    }
}

/// The members of both objects.
fn with(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(mut all), Value::Object(more)) => {
            all.extend(more);
            Value::Object(all)
        }
        (one, _) => one,
    }
}
