//! Changes of a current run's messages, as one kind of decision: which messages move from which
//! state to which, and which other fields change. Approving, rejecting, editing, adopting,
//! regenerating, retrying and publishing are all of this kind, and so are the results of a worker.
//!
//! A store moves the rows and reports what moved; the functions here compute the new state of the
//! run and the campaign from the counts.

use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::audit::{AuditDraft, Authorship};
use crate::campaign::{ApprovalStages, Campaign, CampaignStatus};
use crate::error::StoreError;
use crate::event::{ChangedMessages, Event, StatusChange};
use crate::generation::EndedRun;
use crate::idempotency::{IdempotencyKey, IdempotentResponse};
use crate::ids::{AuditEntryId, CampaignId, ContentId, MessageId, RunNumber, UserId};
use crate::message::{
    Approval, Content, MessageCommand, MessageState, ReusedFrom, ReviewStatus, Source,
};
use crate::run::{MessageCounts, Run, RunStatus};
use crate::timestamp::Timestamp;

/// The most message ids that an audit entry names one by one.
const MAX_AUDITED_IDS: usize = 100;

/// One row of a change: messages in the state `from` go to the state `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The state before.
    pub from: MessageState,
    /// The state after.
    pub to: MessageState,
    /// The approval that the move adds to the content's, when it passes a stage.
    pub approval: Option<Approval>,
}

/// Which messages of the current run a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These, each once. Every one must be in the state `from` of a move, else nothing changes.
    Ids(Vec<MessageId>),
    /// Every message that is in the state `from` of a move, but for those whose content these
    /// users wrote or approved.
    Every {
        /// The user whose own edits are left out.
        not_edited_by: Option<UserId>,
        /// The user who approved the contents that are left out.
        not_approved_by: Option<UserId>,
    },
}

/// Content that a person wrote, to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewContent {
    /// Its id.
    pub id: ContentId,
    /// What it says.
    pub content: Content,
    /// Who wrote it.
    pub author: UserId,
}

/// Where the content of messages comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The content.
    pub content_id: ContentId,
    /// Who wrote it, when a person did.
    pub edited_by: Option<UserId>,
    /// Its source.
    pub source: Source,
    /// The message that is reused.
    pub reused_from: Option<ReusedFrom>,
}

/// What a change sets on each message that it moves, besides state and approvals of the moves. The
/// message's error is cleared by every change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch {
    /// Content that is stored first.
    pub new_content: Option<NewContent>,
    /// The messages have this content from now on, without approvals; `None`: all of that stays.
    pub origin: Option<Origin>,
    /// Why the messages are rejected. Without a reason, one that they had is cleared.
    pub rejection_reason: Option<String>,
    /// Whether the messages are queued for generation, to be taken up at once, with no attempt
    /// failed.
    pub queued: bool,
}

impl Patch {
    /// Messages are rejected.
    #[must_use]
    pub fn rejecting(reason: String) -> Self {
        Self {
            rejection_reason: Some(reason),
            ..Self::default()
        }
    }

    /// A message gets new content.
    #[must_use]
    pub fn editing(content: NewContent) -> Self {
        Self {
            origin: Some(Origin {
                content_id: content.id,
                edited_by: Some(content.author),
                source: Source::Edited,
                reused_from: None,
            }),
            new_content: Some(content),
            ..Self::default()
        }
    }

    /// A message takes the content of an approved one.
    #[must_use]
    pub fn adopting(content_id: ContentId, edited_by: Option<UserId>, from: ReusedFrom) -> Self {
        Self {
            origin: Some(Origin {
                content_id,
                edited_by,
                source: Source::Suggested,
                reused_from: Some(from),
            }),
            ..Self::default()
        }
    }

    /// Messages are to be generated.
    #[must_use]
    pub fn queueing() -> Self {
        Self {
            queued: true,
            ..Self::default()
        }
    }

    /// The source that a message has after the change.
    #[must_use]
    pub fn source_after(&self, source: Source) -> Source {
        self.origin.map_or(source, |origin| origin.source)
    }
}

/// A change of messages of the current run, decided on a campaign at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageChange {
    /// The campaign as the decision saw it. A store commits only while its version is the same.
    pub campaign: Campaign,
    /// What is done to the messages.
    pub command: MessageCommand,
    /// Which messages.
    pub selection: Selection,
    /// From which states to which.
    pub moves: Vec<Move>,
    /// What comes with it.
    pub patch: Patch,
    /// Who makes the change; [`MessageChange::applied`] returns the audit entry.
    pub author: Authorship,
    /// The idempotency key; the store keeps [`Applied::response`] under it.
    pub key: Option<IdempotencyKey>,
    /// When.
    pub now: Timestamp,
}

/// How many messages went from one status and source to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    /// Status and source before.
    pub from: (ReviewStatus, Source),
    /// Status and source after.
    pub to: (ReviewStatus, Source),
    /// How many.
    pub messages: u32,
}

/// What run and campaign are after a change, for the store to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The run.
    pub run: Run,
    /// The campaign's status.
    pub campaign_status: CampaignStatus,
    /// How many messages changed.
    pub messages: u32,
    /// The audit entry; `None` when nothing changed that is worth one.
    pub audit: Option<AuditDraft>,
    /// The response to keep in the same transaction, also when no message changed.
    pub response: Option<IdempotentResponse>,
}

/// What a review, a publication or a queueing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagesChanged {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// Its current run.
    pub run_number: RunNumber,
    /// The campaign's status now.
    pub campaign_status: CampaignStatus,
    /// How many messages changed.
    pub messages: u32,
}

/// What an edit or an adoption made, without the text, which its request has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// The campaign; responses that were kept before do not have it.
    #[serde(default)]
    pub campaign_id: Option<CampaignId>,
    /// The message's run.
    pub run_number: RunNumber,
    /// Id of the new content.
    pub content_id: ContentId,
    /// The message whose content it is, if a suggestion was taken.
    #[serde(default)]
    pub reused_from: Option<ReusedFrom>,
    /// The campaign's stages, of which the message waits for the first.
    pub approval_stages: ApprovalStages,
    /// When.
    #[serde(with = "crate::timestamp")]
    pub at: Timestamp,
}

impl Applied {
    /// The run, if its generation ended with this change.
    #[must_use]
    pub fn ended(&self, campaign: &Campaign) -> Option<EndedRun> {
        self.audit.as_ref()?;
        let counts = self.run.counts;
        let completed_at = self.run.completed_at?;
        Some(EndedRun {
            account_id: campaign.account_id,
            campaign_id: campaign.id,
            run_number: self.run.number,
            // Those that failed are of the source that they were to have.
            made: counts.generated.saturating_sub(counts.failed),
            failed: counts.failed,
            took: (completed_at - self.run.started_at)
                .to_std()
                .unwrap_or_default(),
        })
    }
}

fn shifted(counts: MessageCounts, shifts: &[Shift]) -> Result<(MessageCounts, u32), StoreError> {
    shifts
        .iter()
        .try_fold((counts, 0), |(counts, messages), shift| {
            Ok((
                counts.shift(shift.from, shift.to, shift.messages)?,
                messages + shift.messages,
            ))
        })
}

impl MessageChange {
    /// Whether the messages must not have a placeholder left in their contents: the change passes
    /// an approval stage, or makes messages `Approved` or `Published`.
    #[must_use]
    pub fn needs_filled_content(&self) -> bool {
        self.moves.iter().any(|step| {
            step.approval.is_some()
                || matches!(step.to, MessageState::Approved | MessageState::Published)
        })
    }

    /// What run and campaign are after the store has moved the rows of the current run `run`,
    /// still inside its transaction.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the run's counts disagree with what moved.
    pub fn applied(&self, run: Run, shifts: &[Shift]) -> Result<Applied, StoreError> {
        let (counts, messages) = shifted(run.counts, shifts)?;
        let run = run.recounted(counts, self.now, None);
        let campaign_status = counts.campaign_status();
        let status = StatusChange {
            campaign_id: self.campaign.id,
            run_number: run.number,
            before: self.campaign.status,
            after: campaign_status,
        };
        let audit = match self.event(status, messages) {
            Some(event) if messages > 0 => Some(self.author.clone().of(event)),
            Some(_) | None => None,
        };
        let response = match (&self.key, &self.patch.origin) {
            (None, _) => None,
            (Some(key), Some(origin)) => Some(key.answered(&self.edited(run.number, *origin))?),
            (Some(key), None) => Some(key.answered(&MessagesChanged {
                campaign_id: self.campaign.id,
                run_number: run.number,
                campaign_status,
                messages,
            })?),
        };
        Ok(Applied {
            run,
            campaign_status,
            messages,
            audit,
            response,
        })
    }

    /// The event of a change that moved so many messages; `None` for what a worker does, whose
    /// event is that of the run's end.
    fn event(&self, status: StatusChange, messages: u32) -> Option<Event> {
        let message_ids = match &self.selection {
            // Some thousand ids would make the entry larger than what it tells.
            Selection::Ids(ids) if ids.len() <= MAX_AUDITED_IDS => Some(ids.clone()),
            Selection::Ids(_) | Selection::Every { .. } => None,
        };
        let changed = ChangedMessages {
            status,
            messages,
            message_ids,
        };
        let Patch {
            new_content,
            rejection_reason,
            ..
        } = &self.patch;
        let event = match self.command {
            MessageCommand::Approve => Event::MessagesApproved(changed),
            MessageCommand::Reject => Event::MessagesRejected {
                changed,
                reason: rejection_reason.clone()?,
            },
            MessageCommand::Edit => Event::MessageEdited {
                changed,
                content_id: new_content.as_ref()?.id,
            },
            MessageCommand::Adopt => Event::MessageAdopted {
                changed,
                content_id: self.patch.origin?.content_id,
                reused_from: self.patch.origin?.reused_from?,
            },
            MessageCommand::Regenerate => Event::MessagesRegenerated(changed),
            MessageCommand::Retry => Event::RerunRetried(changed),
            MessageCommand::Publish => Event::CampaignPublished(changed),
            MessageCommand::Generated | MessageCommand::GenerationFailed => return None,
        };
        Some(event)
    }

    pub(crate) fn edited(&self, run_number: RunNumber, origin: Origin) -> Edited {
        Edited {
            campaign_id: Some(self.campaign.id),
            run_number,
            content_id: origin.content_id,
            reused_from: origin.reused_from,
            approval_stages: self.campaign.approval_stages.clone(),
            at: self.now,
        }
    }
}

/// What run and campaign are after a worker's results were stored for messages of the current
/// run `run`, still inside the store's transaction. `audit_id` is used when the results end the
/// run's generation, which is one entry of the system; `last_error` is the error of the last
/// message that was given up.
///
/// # Errors
/// [`StoreError::Corrupt`] when the run's counts disagree with what moved.
pub fn generated(
    campaign: &Campaign,
    run: Run,
    shifts: &[Shift],
    last_error: Option<&str>,
    audit_id: AuditEntryId,
    now: Timestamp,
) -> Result<Applied, StoreError> {
    let (counts, messages) = shifted(run.counts, shifts)?;
    let run = run.recounted(counts, now, last_error);
    let campaign_status = counts.campaign_status();
    let status = StatusChange {
        campaign_id: campaign.id,
        run_number: run.number,
        before: campaign.status,
        after: campaign_status,
    };
    let event = match run.status {
        _ if messages == 0 => None,
        RunStatus::Completed => Some(Event::RunCompleted { status }),
        RunStatus::Failed => Some(Event::RunFailed {
            status,
            failed: counts.failed,
        }),
        RunStatus::Queued | RunStatus::Processing | RunStatus::Cancelled => None,
    };
    let author = Authorship {
        entry_id: audit_id,
        actor: Actor::system(campaign.account_id),
        at: now,
    };
    let audit = event.map(|event| author.of(event));
    Ok(Applied {
        run,
        campaign_status,
        messages,
        audit,
        response: None,
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::campaign::{CampaignParts, Template};
    use crate::generation::{Metered, Saved, TokenCounts};
    use crate::ids::{AccountId, CustomerGroupId, JobId};
    use crate::run::{RunGroup, RunParts, SegmentCounts};
    use crate::segment::SegmentBy;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const GENERATED: (ReviewStatus, Source) = (ReviewStatus::PendingReview, Source::Generated);
    const APPROVED: (ReviewStatus, Source) = (ReviewStatus::Approved, Source::Generated);

    fn campaign() -> Campaign {
        let parts = CampaignParts {
            account_id: AccountId::new(Uuid::nil()),
            id: CampaignId::new(Uuid::nil()),
            name: "Offers".into(),
            customer_group_id: CustomerGroupId::new(Uuid::nil()),
            segment_by: SegmentBy::new(&["country"]).unwrap(),
            template: Template::default(),
            brief: None,
            approval_stages: ApprovalStages::default(),
            distinct_reviewers: false,
            suggest_reruns: true,
            status: CampaignStatus::ReadyForReview,
            current_run: Some(RunNumber::FIRST),
            last_run: Some(RunNumber::FIRST),
            version: 1,
            created_by: UserId::new(Uuid::nil()),
            created_at: NOW,
            updated_at: NOW,
        };
        Campaign::from_parts(parts).unwrap()
    }

    /// A run whose messages are made and wait for their approval.
    fn run(messages: u32) -> Run {
        let parts = RunParts {
            number: RunNumber::FIRST,
            job_uid: Some(JobId::new(Uuid::nil())),
            status: RunStatus::Completed,
            synthesised: false,
            group: RunGroup {
                id: CustomerGroupId::new(Uuid::nil()),
                name: "Spring".into(),
            },
            customer_count: messages.into(),
            segments: SegmentCounts {
                total: messages,
                matched: 0,
                new: messages,
            },
            counts: MessageCounts::default().add(GENERATED.0, GENERATED.1, messages),
            resulting_status: CampaignStatus::ReadyForReview,
            initiated_by: None,
            initiated_by_name: None,
            schedule_id: None,
            previous_run: None,
            error: None,
            cancel_reason: None,
            started_at: NOW,
            completed_at: Some(NOW),
            archived_at: None,
            usage: TokenCounts::default(),
            saved: Saved::default(),
            metered: Metered::default(),
        };
        Run::from_parts(parts).unwrap()
    }

    /// The approval of this many messages, and what it came to.
    fn approved(messages: u32) -> (Authorship, Applied) {
        let author = Authorship {
            entry_id: AuditEntryId::new(Uuid::nil()),
            actor: Actor::system(AccountId::new(Uuid::nil())),
            at: NOW,
        };
        let change = MessageChange {
            campaign: campaign(),
            command: MessageCommand::Approve,
            selection: Selection::Ids(ids(messages)),
            moves: Vec::new(),
            patch: Patch::default(),
            author: author.clone(),
            key: None,
            now: NOW,
        };
        let shift = Shift {
            from: GENERATED,
            to: APPROVED,
            messages,
        };
        let applied = change.applied(run(messages), &[shift]).unwrap();
        (author, applied)
    }

    fn ids(messages: u32) -> Vec<MessageId> {
        let ids = (0..messages).map(|n| MessageId::new(Uuid::from_u128(n.into())));
        ids.collect()
    }

    #[test]
    fn an_entry_names_its_messages_if_there_are_no_more_than_100() {
        for (messages, message_ids) in [(1, Some(ids(1))), (100, Some(ids(100))), (101, None)] {
            let (author, applied) = approved(messages);
            let status = StatusChange {
                campaign_id: campaign().id,
                run_number: RunNumber::FIRST,
                before: CampaignStatus::ReadyForReview,
                after: CampaignStatus::ReadyToPublish,
            };
            let event = Event::MessagesApproved(ChangedMessages {
                status,
                messages,
                message_ids,
            });
            assert_eq!(applied.audit, Some(author.of(event)));
        }
    }

    #[test]
    fn what_moves_no_message_has_no_entry() {
        let (_, applied) = approved(0);
        assert_eq!((applied.messages, applied.audit), (0, None));
        let entry = AuditEntryId::new(Uuid::nil());
        let late = generated(&campaign(), run(1), &[], None, entry, NOW).unwrap();
        assert_eq!((late.messages, late.audit), (0, None));
    }
}
