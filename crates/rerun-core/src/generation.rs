//! The generation of messages: the tasks of a worker, its results, and when it retries.

use std::sync::Arc;
use std::time::Duration;

use crate::campaign::Template;
use crate::error::StoreError;
use crate::ids::{AccountId, CampaignId, ContentId, MessageId, RunNumber};
use crate::message::Content;
use crate::segment::{Attributes, KeptValues, SegmentBy};
use crate::timestamp::Timestamp;

pub use crate::usage::{Metered, Saved, TokenCounts, Usage};

/// What all messages of a campaign are generated from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationBrief {
    /// The campaign's template.
    pub template: Template,
    /// What a language model is told besides.
    pub brief: Option<String>,
    /// The fields that the template may name, with their value rules.
    pub segment_by: SegmentBy,
}

impl GenerationBrief {
    /// How many bytes its texts have.
    #[must_use]
    pub fn size(&self) -> usize {
        let Self {
            template, brief, ..
        } = self;
        template.subject.len() + template.body.len() + brief.as_ref().map_or(0, String::len)
    }
}

/// An approved message of a campaign, as an example for the message of a similar segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The values of its segment.
    pub attributes: Attributes,
    /// Its text, or the beginning of a long one.
    pub content: Content,
}

impl Example {
    /// The most bytes that its text has.
    pub const MAX_BYTES: usize = 8 << 10;

    /// Takes the beginning of a text that is too long.
    #[must_use]
    pub fn new(attributes: Attributes, content: Content) -> Self {
        let Content {
            mut subject,
            mut body,
        } = content;
        subject.truncate(subject.floor_char_boundary(Self::MAX_BYTES));
        let left = Self::MAX_BYTES.saturating_sub(subject.len());
        body.truncate(body.floor_char_boundary(left));
        Self {
            attributes,
            content: Content { subject, body },
        }
    }
}

/// The approved message that is suggested for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearestMessage {
    /// The message that it is suggested for.
    pub suggested_for: MessageId,
    /// The values of its segment.
    pub segment: KeptValues,
    /// Its text, or the beginning of a long one.
    pub content: Content,
}

impl NearestMessage {
    /// The message as an example, unless these rules show its values in another way than it was approved
    /// with: its text may have values that a map or a range stands before now.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] unless the attributes are an object of texts.
    pub fn example(self, segment_by: &SegmentBy) -> Result<Option<Example>, StoreError> {
        let approved = self.segment.approved().clone();
        let shown = segment_by.shown(self.segment)?;
        Ok((shown == approved).then(|| Example::new(shown, self.content)))
    }
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
    /// How long it was put off so far, in total.
    pub put_off: Duration,
    /// The values of the message's segment, as the campaign's rules show them.
    pub attributes: Attributes,
    /// The approved message that is nearest to it, if the generator takes examples.
    pub example: Option<Example>,
    /// What to generate from; shared by the tasks of a campaign.
    pub brief: Arc<GenerationBrief>,
}

/// What a generator made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The content.
    pub content: Content,
    /// What it cost, if that is known.
    pub usage: Option<Usage>,
}

impl From<Content> for Made {
    /// Content that cost nothing.
    fn from(content: Content) -> Self {
        Self {
            content,
            usage: None,
        }
    }
}

/// What follows from the failure of a generator call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The generator takes no calls for this long. The message waits, and no attempt is used.
    PutOff(Duration),
    /// The attempt failed, and another one may succeed.
    Attempt,
    /// No further attempt can succeed.
    Final,
}

/// Why a generator call failed. The text is for people and becomes the message's `error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct GenerationError {
    /// What went wrong, without secrets and control characters.
    pub reason: String,
    /// What follows from it.
    pub kind: FailureKind,
    /// What the call cost nevertheless, if that is known.
    pub usage: Option<Usage>,
}

impl GenerationError {
    fn of(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            kind,
            usage: None,
        }
    }

    /// A failed attempt, after which the message is tried again.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self::of(FailureKind::Attempt, reason)
    }

    /// A failure for good: the message is not tried again.
    #[must_use]
    pub fn for_good(reason: impl Into<String>) -> Self {
        Self::of(FailureKind::Final, reason)
    }

    /// The generator takes no calls for `wait`. That uses no attempt.
    #[must_use]
    pub fn put_off(wait: Duration, reason: impl Into<String>) -> Self {
        Self::of(FailureKind::PutOff(wait), reason)
    }
}

/// What became of one leased message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskOutcome {
    /// It has content now.
    Generated(Content),
    /// An attempt failed. It is to be tried again, not before `at`.
    RetryAt {
        /// When.
        at: Timestamp,
        /// Why this attempt failed.
        error: String,
    },
    /// It was put off: it is to be tried again, not before `at`, and no attempt was used.
    PutOff {
        /// When.
        at: Timestamp,
        /// How long it waits this time.
        wait: Duration,
        /// Why.
        error: String,
    },
    /// It is given up.
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
    /// What the generator call cost, whatever became of it.
    pub usage: Option<Usage>,
}

/// How many messages of a batch were stored, queued again, and given up. Results under a lease
/// that was lost meanwhile count nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Messages that have content now.
    pub generated: u32,
    /// Messages that will be tried again after a failed attempt.
    pub retried: u32,
    /// Messages that were put off.
    pub put_off: u32,
    /// Messages that are `Generation failed` now.
    pub failed: u32,
}

/// A run whose generation has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedRun {
    /// The account.
    pub account_id: AccountId,
    /// The campaign.
    pub campaign_id: CampaignId,
    /// The run.
    pub run_number: RunNumber,
    /// Messages of the run that a generator made.
    pub made: u32,
    /// Messages that could not be made.
    pub failed: u32,
    /// Time from the run's start to the end of its generation.
    pub took: Duration,
}

/// What became of the results of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SettledRun {
    /// The messages.
    pub settled: Settled,
    /// Whether these results ended the run's generation.
    pub ended: Option<EndedRun>,
}

/// How often a message is tried and how long a lease lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationPolicy {
    /// Attempts in all before a message is given up, at least 1.
    pub max_attempts: u32,
    /// How long a worker may hold a message without renewing its lease.
    pub lease: Duration,
    /// How long a message may be put off in total before it is given up.
    pub patience: Duration,
}

impl Default for GenerationPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            lease: Duration::from_secs(30),
            patience: Duration::from_hours(1),
        }
    }
}

/// The longest error text that is kept, in characters.
const MAX_ERROR_LENGTH: usize = 1_000;

impl GenerationPolicy {
    /// What becomes of a task after a call that ended at `now`. `backoff` returns the wait before
    /// the next attempt.
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
        let shown = |reason: &str| -> String {
            let reason = reason.replace('\0', "\u{fffd}");
            reason.chars().take(MAX_ERROR_LENGTH).collect()
        };
        let error = shown(&failure.reason);
        match failure.kind {
            FailureKind::Final => TaskOutcome::Failed { error },
            FailureKind::Attempt => {
                let failed = task.failed_attempts.saturating_add(1);
                if failed >= self.max_attempts {
                    return TaskOutcome::Failed { error };
                }
                TaskOutcome::RetryAt {
                    at: now + backoff(failed),
                    error,
                }
            }
            FailureKind::PutOff(wait) => {
                let left = self.patience.saturating_sub(task.put_off);
                if left.is_zero() {
                    let error = format!(
                        "put off for {} s in total; the last time: {error}",
                        task.put_off.as_secs()
                    );
                    return TaskOutcome::Failed {
                        error: shown(&error),
                    };
                }
                let wait = wait.max(SHORTEST_PUT_OFF).min(left);
                TaskOutcome::PutOff {
                    at: now + wait,
                    wait,
                    error,
                }
            }
        }
    }
}

/// What is put off waits at least this long, so that every wait counts.
const SHORTEST_PUT_OFF: Duration = Duration::from_millis(1);

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
            put_off: Duration::ZERO,
            attributes: Attributes::new([]),
            example: None,
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
    fn a_long_example_is_cut_between_characters() {
        let cut = |subject: &str, body: &str| {
            let content = Content {
                subject: subject.to_owned(),
                body: body.to_owned(),
            };
            Example::new(Attributes::new([]), content).content
        };
        let short = cut("s", "b");
        assert_eq!((short.subject.as_str(), short.body.as_str()), ("s", "b"));
        let long = cut("s", &"\u{20ac}".repeat(Example::MAX_BYTES));
        assert_eq!(long.body.len(), (Example::MAX_BYTES - 1) / 3 * 3);
        let subject = cut(&"s".repeat(Example::MAX_BYTES + 1), "b");
        assert_eq!(
            (subject.subject.len(), subject.body.len()),
            (Example::MAX_BYTES, 0)
        );
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
    fn what_is_put_off_uses_no_attempt_until_patience_ends() {
        let policy = GenerationPolicy {
            max_attempts: 1,
            patience: Duration::from_secs(10),
            ..GenerationPolicy::default()
        };
        let outcome = |put_off: u64, wait: u64| {
            let task = GenerationTask {
                put_off: Duration::from_secs(put_off),
                ..task(0)
            };
            let busy = GenerationError::put_off(Duration::from_secs(wait), "busy");
            policy.outcome(&task, Err(busy), at(0), |_| panic!("no attempt is used"))
        };
        let put_off = |seconds: i64| TaskOutcome::PutOff {
            at: at(seconds * 1_000),
            wait: Duration::from_secs(seconds.try_into().unwrap()),
            error: "busy".into(),
        };
        assert_eq!(outcome(0, 3), put_off(3));
        assert_eq!(outcome(9, 3), put_off(1), "no longer than patience lasts");
        let error = "put off for 10 s in total; the last time: busy".into();
        assert_eq!(outcome(10, 3), TaskOutcome::Failed { error });
        // A wait of nothing would never use up the patience.
        assert!(matches!(outcome(0, 0), TaskOutcome::PutOff { wait, .. } if !wait.is_zero()));
    }

    #[test]
    fn what_fails_for_good_is_not_tried_again() {
        let refused = GenerationError::for_good("refused");
        let outcome = GenerationPolicy::default().outcome(&task(0), Err(refused), at(0), |_| {
            panic!("no attempt follows")
        });
        let error = "refused".into();
        assert_eq!(outcome, TaskOutcome::Failed { error });
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
