//! The generation of messages: what a worker gets, what it gives back, and when it tries again.

use std::sync::Arc;
use std::time::Duration;

use crate::Timestamp;
use crate::campaign::Template;
use crate::ids::{AccountId, CampaignId, ContentId, MessageId, RunNumber};
use crate::message::Content;
use crate::segment::{Attributes, SegmentBy};

/// What all messages of a campaign are generated from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationBrief {
    /// The campaign's template.
    pub template: Template,
    /// What a language model is told besides.
    pub brief: Option<String>,
    /// The fields that the template may name.
    pub segment_by: SegmentBy,
}

/// One message that a worker has leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationTask {
    /// The message's account.
    pub account_id: AccountId,
    /// Its campaign.
    pub campaign_id: CampaignId,
    /// Its run.
    pub run_number: RunNumber,
    /// The message.
    pub message_id: MessageId,
    /// How many attempts have failed so far.
    pub failed_attempts: u32,
    /// The values of the message's segment.
    pub attributes: Attributes,
    /// What to generate from; shared by the tasks of a campaign.
    pub brief: Arc<GenerationBrief>,
}

/// Why an attempt failed. The text is for people and becomes the message's `error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct GenerationError {
    /// What went wrong, without secrets.
    pub reason: String,
    /// The shortest wait before the next attempt, when the other side named one.
    pub retry_after: Option<Duration>,
}

impl GenerationError {
    /// A failure without a wait of its own.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retry_after: None,
        }
    }
}

/// What became of one leased message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskOutcome {
    /// It has content now.
    Generated(Content),
    /// It is to be tried again, not before `at`.
    RetryAt {
        /// When.
        at: Timestamp,
        /// Why this attempt failed.
        error: String,
    },
    /// Its attempts are used up.
    Failed {
        /// Why the last attempt failed.
        error: String,
    },
}

/// The outcome of one task, for the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskResult {
    /// The message's account.
    pub account_id: AccountId,
    /// Its campaign.
    pub campaign_id: CampaignId,
    /// Its run.
    pub run_number: RunNumber,
    /// The message.
    pub message_id: MessageId,
    /// The id that its content gets, when it has been generated.
    pub content_id: ContentId,
    /// What became of it.
    pub outcome: TaskOutcome,
}

/// How many messages of a batch were stored, queued again, and given up. Results under a lease
/// that was lost meanwhile count nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Messages that have content now.
    pub generated: u32,
    /// Messages that will be tried again.
    pub retried: u32,
    /// Messages that are `Generation failed` now.
    pub failed: u32,
}

/// How often a message is tried and how long a lease lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationPolicy {
    /// Attempts in all before a message is given up, at least 1.
    pub max_attempts: u32,
    /// How long a worker may hold a message without renewing its lease.
    pub lease: Duration,
}

impl Default for GenerationPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            lease: Duration::from_secs(30),
        }
    }
}

/// The longest error text that is kept, in characters.
const MAX_ERROR_LENGTH: usize = 1_000;

impl GenerationPolicy {
    /// What becomes of a task after an attempt that ended at `now`. `backoff` is the wait before
    /// the next attempt; the wait that the other side named is kept if it is longer.
    #[must_use]
    pub fn outcome(
        &self,
        task: &GenerationTask,
        attempt: Result<Content, GenerationError>,
        now: Timestamp,
        backoff: impl FnOnce(u32) -> Duration,
    ) -> TaskOutcome {
        let failure = match attempt {
            Ok(content) => match content.generated() {
                Ok(content) => return TaskOutcome::Generated(content),
                Err(invalid) => GenerationError::new(format!("the generated content: {invalid}")),
            },
            Err(failure) => failure,
        };
        let error: String = failure
            .reason
            .replace('\0', "\u{fffd}")
            .chars()
            .take(MAX_ERROR_LENGTH)
            .collect();
        let failed = task.failed_attempts.saturating_add(1);
        if failed >= self.max_attempts {
            return TaskOutcome::Failed { error };
        }
        let wait = backoff(failed).max(failure.retry_after.unwrap_or_default());
        TaskOutcome::RetryAt {
            at: now + wait,
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(failed_attempts: u32) -> GenerationTask {
        let id = uuid::Uuid::nil();
        GenerationTask {
            account_id: AccountId::new(id),
            campaign_id: CampaignId::new(id),
            run_number: RunNumber::FIRST,
            message_id: MessageId::new(id),
            failed_attempts,
            attributes: Attributes::new([]),
            brief: Arc::new(GenerationBrief {
                template: Template {
                    subject: "s".into(),
                    body: "b".into(),
                },
                brief: None,
                segment_by: SegmentBy::new(&["country"]).unwrap(),
            }),
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_timestamp_millis(millis).unwrap()
    }

    #[test]
    fn the_last_attempt_gives_up() {
        let policy = GenerationPolicy {
            max_attempts: 2,
            ..GenerationPolicy::default()
        };
        let failure = || Err(GenerationError::new("no\0pe"));
        let wait = |_| Duration::from_millis(500);
        assert_eq!(
            policy.outcome(&task(0), failure(), at(0), wait),
            TaskOutcome::RetryAt {
                at: at(500),
                error: "no\u{fffd}pe".into()
            },
        );
        assert_eq!(
            policy.outcome(&task(1), failure(), at(0), wait),
            TaskOutcome::Failed {
                error: "no\u{fffd}pe".into()
            },
        );
    }

    #[test]
    fn the_longer_wait_counts() {
        let policy = GenerationPolicy::default();
        let failure = GenerationError {
            reason: "busy".into(),
            retry_after: Some(Duration::from_secs(3)),
        };
        let outcome = policy.outcome(&task(0), Err(failure), at(0), |_| Duration::from_secs(1));
        assert_eq!(
            outcome,
            TaskOutcome::RetryAt {
                at: at(3_000),
                error: "busy".into()
            }
        );
    }

    #[test]
    fn content_that_breaks_a_rule_is_a_failed_attempt() {
        let blank = Content {
            subject: String::new(),
            body: "b".into(),
        };
        let outcome =
            GenerationPolicy::default().outcome(&task(0), Ok(blank), at(0), |_| Duration::ZERO);
        assert!(
            matches!(outcome, TaskOutcome::RetryAt { error, .. } if error.contains("`subject`"))
        );
    }

    #[test]
    fn a_generated_subject_becomes_one_line_and_a_placeholder_fails_the_attempt() {
        let outcome = |subject: &str| {
            let content = Content {
                subject: subject.into(),
                body: "b".into(),
            };
            GenerationPolicy::default().outcome(&task(0), Ok(content), at(0), |_| Duration::ZERO)
        };
        assert!(
            matches!(outcome("a\nb"), TaskOutcome::Generated(content) if content.subject == "a b")
        );
        assert!(matches!(
            outcome("Dear {{ first_name }}"),
            TaskOutcome::RetryAt { error, .. }
                if error == "the generated content: the placeholder `{{ first_name }}` is unfilled"
        ));
    }
}
