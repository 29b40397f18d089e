//! The run, its message counts, and the statuses that follow from them.

use serde::{Deserialize, Serialize};

use crate::actor::UserName;
use crate::error::StoreError;
use crate::ids::{CustomerGroupId, JobId, RunNumber, ScheduleId, UserId};
use crate::page::{Contents, json_bytes, text_bytes};
use crate::parts::checked;
use crate::status::{CampaignStatus, ReviewStatus, Source};
use crate::timestamp::Timestamp;
use crate::usage::{Metered, Saved, TokenCounts};

pub use crate::status::RunStatus;

/// How many messages of a run have which review status, and which source. Each message counts
/// once in either group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MessageCounts {
    /// Source `reused`.
    pub reused: u32,
    /// Source `generated`.
    pub generated: u32,
    /// Source `edited`.
    pub edited: u32,
    /// Source `suggested`.
    #[serde(default)]
    pub suggested: u32,
    /// Status `Generating`.
    pub generating: u32,
    /// Status `Generation failed`.
    pub failed: u32,
    /// Status `Pending review`.
    pub pending: u32,
    /// Status `Approved`.
    pub approved: u32,
    /// Status `Rejected`.
    pub rejected: u32,
    /// Status `Published`.
    pub published: u32,
}

impl MessageCounts {
    fn of_status(&mut self, status: ReviewStatus) -> &mut u32 {
        match status {
            ReviewStatus::Generating => &mut self.generating,
            ReviewStatus::GenerationFailed => &mut self.failed,
            ReviewStatus::PendingReview => &mut self.pending,
            ReviewStatus::Approved => &mut self.approved,
            ReviewStatus::Rejected => &mut self.rejected,
            ReviewStatus::Published => &mut self.published,
        }
    }

    fn of_source(&mut self, source: Source) -> &mut u32 {
        match source {
            Source::Generated => &mut self.generated,
            Source::Reused => &mut self.reused,
            Source::Edited => &mut self.edited,
            Source::Suggested => &mut self.suggested,
        }
    }

    /// All messages.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.generating
            + self.failed
            + self.pending
            + self.approved
            + self.rejected
            + self.published
    }

    /// Messages that are not published.
    #[must_use]
    pub const fn unpublished(&self) -> u32 {
        self.total() - self.published
    }

    /// Counts `n` messages that are new.
    #[must_use]
    pub fn add(mut self, status: ReviewStatus, source: Source, n: u32) -> Self {
        *self.of_status(status) += n;
        *self.of_source(source) += n;
        self
    }

    /// Counts `n` messages over, from one status and source to another.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when fewer than `n` were counted there.
    pub fn shift(
        mut self,
        from: (ReviewStatus, Source),
        to: (ReviewStatus, Source),
        n: u32,
    ) -> Result<Self, StoreError> {
        let corrupt = || StoreError::corrupt(format!("runs: fewer than {n} messages {from:?}"));
        let status = self.of_status(from.0);
        *status = status.checked_sub(n).ok_or_else(corrupt)?;
        let source = self.of_source(from.1);
        *source = source.checked_sub(n).ok_or_else(corrupt)?;
        Ok(self.add(to.0, to.1, n))
    }

    /// The status of a campaign whose current run has these counts. That it is derived makes
    /// `Published` mean that every message is published, and `Ready to publish` that every one
    /// is approved.
    #[must_use]
    pub const fn campaign_status(&self) -> CampaignStatus {
        if self.generating > 0 {
            CampaignStatus::Processing
        } else if self.failed > 0 {
            CampaignStatus::GenerationFailed
        } else if self.unpublished() == 0 {
            CampaignStatus::Published
        } else if self.approved == self.total() {
            CampaignStatus::ReadyToPublish
        } else {
            CampaignStatus::ReadyForReview
        }
    }
}

/// How the segments of a run's group split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SegmentCounts {
    /// All segments: `matched + new`.
    pub total: u32,
    /// Segments that reuse an approved message.
    pub matched: u32,
    /// Segments that need a new one.
    pub new: u32,
}

/// The group that a run was made for, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunGroup {
    /// The group.
    pub id: CustomerGroupId,
    /// Its name.
    pub name: String,
}

checked! {
    /// One numbered execution of a campaign against one customer group. Its fields are those of [`RunParts`].
    #[derive(Debug, Clone, PartialEq, Eq)]
    Run, RunParts
}

/// The fields of a [`Run`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunParts {
    /// Its number.
    pub number: RunNumber,
    /// Its job; `None` for a run that was brought in from elsewhere.
    pub job_uid: Option<JobId>,
    /// Where its generation stands.
    pub status: RunStatus,
    /// Whether the entry stands for messages that came without a run record.
    pub synthesised: bool,
    /// The group that it was made for.
    pub group: RunGroup,
    /// The group's customers at that time.
    pub customer_count: i64,
    /// How the group's segments split.
    pub segments: SegmentCounts,
    /// How many messages have which status and source.
    pub counts: MessageCounts,
    /// The campaign status that the run leads to without failures: `Ready for review` with new
    /// segments, else `Ready to publish`.
    pub resulting_status: CampaignStatus,
    /// Who initiated it; `None` for a run that was brought in from elsewhere.
    pub initiated_by: Option<UserId>,
    /// That person's name at that time, if it was known.
    pub initiated_by_name: Option<UserName>,
    /// The schedule that started it.
    pub schedule_id: Option<ScheduleId>,
    /// The run that was current before and becomes current again if this one is cancelled.
    pub previous_run: Option<RunNumber>,
    /// How many messages failed and why the last did.
    pub error: Option<String>,
    /// The reason that was given when it was cancelled.
    pub cancel_reason: Option<String>,
    /// When it was initiated.
    pub started_at: Timestamp,
    /// Set exactly when the status is `Completed`, `Failed` or `Cancelled`.
    pub completed_at: Option<Timestamp>,
    /// When it stopped being current; `None` while it is current.
    pub archived_at: Option<Timestamp>,
    /// What its generator calls used, those that failed too, as far as it was reported.
    pub usage: TokenCounts,
    /// What reuse saved.
    pub saved: Saved,
    /// What the generated contents of this run and of those that it followed used. The mean is what
    /// a message costs.
    pub metered: Metered,
}

impl RunParts {
    fn check(&self) -> Result<(), StoreError> {
        let counts = &self.counts;
        let sum = |counts: &[u32]| counts.iter().map(|count| u64::from(*count)).sum::<u64>();
        let of_status = [
            counts.generating,
            counts.failed,
            counts.pending,
            counts.approved,
            counts.rejected,
            counts.published,
        ];
        let of_source = [
            counts.reused,
            counts.generated,
            counts.edited,
            counts.suggested,
        ];
        let of_segments = [self.segments.matched, self.segments.new];
        let total = u64::from(self.segments.total);
        let contradiction = if [sum(&of_status), sum(&of_source), sum(&of_segments)] != [total; 3] {
            "counts that do not add up to its segments"
        } else if self.completed_at.is_some() != self.status.is_ended() {
            "a status that contradicts when it was completed"
        } else if self.completed_at.is_some_and(|at| at < self.started_at) {
            "a completion before its start"
        } else if self.status == RunStatus::Cancelled && self.archived_at.is_none() {
            "a cancellation, but is not archived"
        } else if self.job_uid.is_none() != self.synthesised {
            "a job although it was synthesised, or none"
        } else if self.previous_run.is_some_and(|run| run >= self.number) {
            "a previous run that is later"
        } else {
            return Ok(());
        };
        Err(StoreError::corrupt(format!(
            "runs: run {} has {contradiction}",
            self.number
        )))
    }
}

impl Contents for Run {
    fn bytes(&self) -> usize {
        let initiator = self.initiated_by_name.as_ref();
        json_bytes(&self.group.name)
            + initiator.map_or(0, |name| json_bytes(name.as_str()))
            + text_bytes(self.error.as_ref())
            + text_bytes(self.cancel_reason.as_ref())
    }
}

impl Run {
    /// The run with its messages counted again at `now`: status, `completed_at` and `error`
    /// follow from the counts. `last_error` is the last generation error among the messages.
    #[must_use]
    pub fn recounted(
        mut self,
        counts: MessageCounts,
        now: Timestamp,
        last_error: Option<&str>,
    ) -> Self {
        let failed_before = self.counts.failed;
        self.0.counts = counts;
        if counts.generating > 0 {
            // A run that had ended has messages to generate again: a retry, or a regeneration.
            if self.status.is_ended() {
                self.0.status = RunStatus::Processing;
                self.0.completed_at = None;
                self.0.error = None;
            }
        } else if !self.status.is_ended() {
            self.0.completed_at = Some(now.max(self.started_at));
            if counts.failed > 0 {
                self.0.status = RunStatus::Failed;
                self.0.error = Some(failure_text(counts.failed, last_error));
            } else {
                self.0.status = RunStatus::Completed;
                self.0.error = None;
            }
        } else if self.status == RunStatus::Failed && counts.failed < failed_before {
            // A person wrote messages that could not be generated.
            if counts.failed > 0 {
                let error = self.0.error.take();
                let last = error.as_deref().and_then(last_error_of);
                self.0.error = Some(failure_text(counts.failed, last));
            } else {
                self.0.status = RunStatus::Completed;
                self.0.completed_at = Some(now.max(self.started_at));
                self.0.error = None;
            }
        }
        self
    }

    /// The run as it stays in the history after it was taken back at `now`.
    #[must_use]
    pub fn cancelled(mut self, now: Timestamp, reason: Option<String>) -> Self {
        let now = now.max(self.started_at);
        self.0.status = RunStatus::Cancelled;
        self.0.completed_at = Some(now);
        self.0.archived_at = Some(now);
        self.0.cancel_reason = reason;
        self
    }

    /// How many of its messages are archived: all or none, since archiving is a fact of the run.
    #[must_use]
    pub fn archived(&self) -> u32 {
        if self.archived_at.is_some() {
            self.counts.total()
        } else {
            0
        }
    }
}

/// What stands before the last error in a run's error.
const LAST_ERROR: &str = " could not be generated; the last error: ";

fn failure_text(failed: u32, last_error: Option<&str>) -> String {
    let messages = if failed == 1 { "message" } else { "messages" };
    match last_error {
        Some(error) => format!("{failed} {messages}{LAST_ERROR}{error}"),
        None => format!("{failed} {messages} could not be generated"),
    }
}

/// The last error that a text of [`failure_text`] has.
fn last_error_of(text: &str) -> Option<&str> {
    text.split_once(LAST_ERROR).map(|(_, error)| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(
        generating: u32,
        failed: u32,
        pending: u32,
        approved: u32,
        published: u32,
    ) -> MessageCounts {
        MessageCounts {
            generating,
            failed,
            pending,
            approved,
            published,
            ..MessageCounts::default()
        }
    }

    #[test]
    fn the_campaigns_status_follows_from_the_messages() {
        use CampaignStatus as S;
        for (counts, status) in [
            (counts(1, 1, 1, 1, 0), S::Processing),
            (counts(0, 1, 1, 1, 0), S::GenerationFailed),
            (counts(0, 0, 1, 1, 0), S::ReadyForReview),
            (
                MessageCounts {
                    rejected: 1,
                    ..counts(0, 0, 0, 1, 0)
                },
                S::ReadyForReview,
            ),
            (counts(0, 0, 0, 2, 0), S::ReadyToPublish),
            (counts(0, 0, 0, 0, 2), S::Published),
        ] {
            assert_eq!(counts.campaign_status(), status, "{counts:?}");
        }
    }

    #[test]
    fn a_runs_error_keeps_the_last_error_while_messages_are_written_by_hand() {
        let error = "x could not be generated; the last error: y";
        let text = failure_text(3, Some(error));
        assert_eq!(last_error_of(&text), Some(error));
        assert_eq!(last_error_of(&failure_text(1, None)), None);
    }

    #[test]
    fn a_failed_run_that_no_message_leaves_keeps_its_error() {
        let run = |error: &str| {
            let counts = MessageCounts {
                failed: 1,
                generated: 2,
                approved: 1,
                ..MessageCounts::default()
            };
            let parts = RunParts {
                number: RunNumber::FIRST,
                job_uid: Some(JobId::new(uuid::Uuid::nil())),
                status: RunStatus::Failed,
                synthesised: false,
                group: RunGroup {
                    id: CustomerGroupId::new(uuid::Uuid::nil()),
                    name: "Spring".into(),
                },
                customer_count: 2,
                segments: SegmentCounts {
                    total: 2,
                    matched: 0,
                    new: 2,
                },
                counts,
                resulting_status: CampaignStatus::GenerationFailed,
                initiated_by: None,
                initiated_by_name: None,
                schedule_id: None,
                previous_run: None,
                error: Some(error.into()),
                cancel_reason: None,
                started_at: Timestamp::UNIX_EPOCH,
                completed_at: Some(Timestamp::UNIX_EPOCH),
                archived_at: None,
                usage: TokenCounts::default(),
                saved: Saved::default(),
                metered: Metered::default(),
            };
            Run::from_parts(parts).unwrap()
        };
        let before = run("as an older version put it");
        let rejected = MessageCounts {
            approved: 0,
            rejected: 1,
            ..before.counts
        };
        let after = before
            .clone()
            .recounted(rejected, Timestamp::UNIX_EPOCH, None);
        assert_eq!((after.status, &after.error), (before.status, &before.error));
    }

    #[test]
    fn shifting_more_than_was_counted_is_corrupt() {
        let counts = MessageCounts::default().add(ReviewStatus::Approved, Source::Reused, 2);
        let from = (ReviewStatus::Approved, Source::Reused);
        let to = (ReviewStatus::PendingReview, Source::Edited);
        let moved = counts.shift(from, to, 1).unwrap();
        assert_eq!(
            (moved.approved, moved.pending, moved.reused, moved.edited),
            (1, 1, 1, 1)
        );
        assert!(counts.shift(from, to, 3).is_err());
    }
}
