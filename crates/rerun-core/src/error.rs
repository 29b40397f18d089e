//! The domain's errors. `rerun-http` maps each to its response in one place.

use std::error::Error as StdError;

use crate::ids::MessageId;
use crate::missing_field::UnknownSegmentField;
use crate::status::{CampaignStatus, ReviewStatus};

pub use crate::invalid::Invalid;

/// The action that was refused, for the error message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Start the first run of a draft.
    Launch,
    /// Change its name, template or brief.
    Update,
    /// Change its approval stages.
    ChangeStages,
    /// Change the value rules.
    ChangeRules,
    /// Delete it with all its runs.
    Delete,
    /// Publish every message of the current run.
    Publish,
    /// Take the current run back.
    Cancel,
    /// Queue the messages that failed.
    Retry,
    /// Pass a message one approval stage on.
    Approve,
    /// Reject a message.
    Reject,
    /// Take the suggested content of a message.
    Adopt,
    /// Replace a message's content by hand.
    Edit,
    /// Have a message generated again.
    Regenerate,
    /// Store what a generator made, or that it could not.
    Generate,
}

/// A few values, as an error names them.
fn quoted(values: &[String]) -> String {
    let quoted: Vec<String> = values
        .iter()
        .map(|value| format!("`{}`", crate::text::excerpt(value)))
        .collect();
    quoted.join(", ")
}

impl Action {
    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Update => "update",
            Self::ChangeStages => "change the approval stages of",
            Self::ChangeRules => "change the value rules of",
            Self::Delete => "delete",
            Self::Publish => "publish",
            Self::Cancel => "cancel",
            Self::Retry => "retry",
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Adopt => "use the suggestion for",
            Self::Edit => "edit",
            Self::Regenerate => "regenerate",
            Self::Generate => "generate",
        }
    }
}

/// An action that a status does not allow. It names both.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalTransition {
    /// The campaign's status does not allow it.
    #[error("cannot {} a campaign that is `{}`", .action.as_str(), .status.as_str())]
    Campaign {
        /// The campaign's status.
        status: CampaignStatus,
        /// What was asked.
        action: Action,
    },
    /// A message's review status does not allow it.
    #[error("cannot {} a message that is `{}`", .action.as_str(), .status.as_str())]
    Message {
        /// The message's review status.
        status: ReviewStatus,
        /// What was asked.
        action: Action,
    },
    /// The request is about messages that wait at one stage, and this one does not.
    #[error(
        "cannot {} at the stage `{stage}` a message that {}",
        .action.as_str(),
        standing(*.status, .waits_at.as_deref())
    )]
    Stage {
        /// What was asked.
        action: Action,
        /// The stage that the request names.
        stage: String,
        /// The message's review status.
        status: ReviewStatus,
        /// The stage that the message waits at.
        waits_at: Option<String>,
    },
    /// The caller wrote the message's content, and the four-eyes rule is on.
    #[error("cannot approve a message that you edited: another person must")]
    OwnEdit,
    /// The caller approved the message at an earlier stage, and the campaign wants distinct
    /// reviewers.
    #[error("cannot approve a message at two stages: another person must")]
    OwnApproval,
    /// Nothing is suggested for the message.
    #[error("cannot use the suggestion for a message that has none")]
    NoSuggestion,
    /// The suggested text has values of the other segment.
    #[error(
        "cannot use a suggestion that mentions {}: these are values of another segment",
        quoted(.values)
    )]
    Mentions {
        /// The values.
        values: Vec<String>,
    },
    /// The schedule has no more times.
    #[error("cannot {action} a schedule that is `ended`")]
    EndedSchedule {
        /// What was asked for.
        action: &'static str,
    },
    /// The runs have the same customer group, so that nobody would be left.
    #[error("both runs have the same customer group: nobody would be left")]
    SameGroup,
    /// Nothing is sent to a webhook that is disabled.
    #[error("cannot replay events to a webhook that is `disabled`: enable it first")]
    DisabledWebhook,
    /// The message belongs to a run that is not current, so it is read-only.
    #[error("cannot {} a message of a past run: it is archived", .action.as_str())]
    Archived {
        /// What was asked.
        action: Action,
    },
}

fn standing(status: ReviewStatus, waits_at: Option<&str>) -> String {
    match waits_at {
        Some(stage) => format!("waits at `{stage}`"),
        None => format!("is `{}`", status.as_str()),
    }
}

/// A message that cannot be approved, because its content still has a placeholder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the message {message_id} cannot be approved: `{}` in its content is unfilled; edit the message or have it generated again",
    crate::text::excerpt(.placeholder)
)]
pub struct UnfilledPlaceholder {
    /// The message.
    pub message_id: MessageId,
    /// The first placeholder of its content, see [`crate::message::Content::placeholder`].
    pub placeholder: String,
}

/// Why a use case refused or failed. Every refusal left everything as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Required fields are absent, `null` or empty.
    #[error("missing required fields: {}", .0.join(", "))]
    MissingFields(Vec<&'static str>),
    /// Input that breaks a rule of its own.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No such campaign in this account.
    #[error("campaign not found")]
    CampaignNotFound,
    /// No such customer group in this account.
    #[error("customer group not found")]
    CustomerGroupNotFound,
    /// No group of the account has such a customer.
    #[error("customer not found")]
    CustomerNotFound,
    /// The group cannot be deleted: a draft, the current run of a campaign, or a schedule is for it.
    #[error(
        "the customer group is in use by a draft, by the current run of a campaign, or by a \
         schedule"
    )]
    GroupInUse,
    /// No such schedule in this account.
    #[error("schedule not found")]
    ScheduleNotFound,
    /// The campaign has no such run.
    #[error("run not found")]
    RunNotFound,
    /// The campaign has no such message.
    #[error("message not found")]
    MessageNotFound,
    /// No such webhook in this account.
    #[error("webhook not found")]
    WebhookNotFound,
    /// Only a published campaign can be rerun.
    #[error("a campaign that is `{}` cannot be rerun", .0.as_str())]
    CampaignNotPublished(CampaignStatus),
    /// The current run still has messages that are not published.
    #[error("{0} messages of the current run are not published")]
    MessagesNotPublished(u32),
    /// The current run cannot be archived.
    #[error("run {0} is current and cannot be archived")]
    CurrentRunArchive(crate::ids::RunNumber),
    /// The group has no customers, so a run would have no messages.
    #[error("the customer group has no customers")]
    EmptyCustomerGroup,
    /// No customer of the group has a value for a field of the segmentation.
    #[error(transparent)]
    UnknownSegmentField(#[from] Box<UnknownSegmentField>),
    /// The group falls into more segments than the limit allows.
    #[error("the customer group has more than {limit} segments by these fields")]
    TooManySegments {
        /// The largest number of segments that a run may have.
        limit: u32,
    },
    /// The group has more combinations of values than value rules are applied to.
    #[error(
        "before the value rules, the customer group has more than {limit} combinations of values; \
         `{field}` has the most different values. Segment by fields with fewer values"
    )]
    TooManyValues {
        /// The field with the most different values.
        field: String,
        /// The largest number of combinations.
        limit: u32,
    },
    /// The status does not allow the action.
    #[error(transparent)]
    IllegalTransition(#[from] IllegalTransition),
    /// The caller's role is not among those that can pass this stage.
    #[error("your role cannot approve at the stage `{0}`")]
    StageNotAllowed(String),
    /// A decision named a content that the message no longer has.
    #[error("the message {0} has other content by now: read it again, then decide")]
    ContentChanged(MessageId),
    /// A message's content still has a placeholder, so that it cannot be approved.
    #[error(transparent)]
    UnfilledPlaceholder(#[from] UnfilledPlaceholder),
    /// The idempotency key was used with another body, or at another endpoint.
    #[error("this idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// The store could not do it.
    #[error(transparent)]
    Store(StoreError),
}

impl Error {
    /// Its code, as clients and firings of schedules get it. A code never changes.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MissingFields(_) => "missing_required_fields",
            Self::Invalid(_) => "invalid_request",
            Self::CampaignNotFound => "campaign_not_found",
            Self::CustomerGroupNotFound => "customer_group_not_found",
            Self::CustomerNotFound => "customer_not_found",
            Self::GroupInUse => "in_use",
            Self::ScheduleNotFound => "schedule_not_found",
            Self::RunNotFound => "run_not_found",
            Self::MessageNotFound => "message_not_found",
            Self::WebhookNotFound => "webhook_not_found",
            Self::CampaignNotPublished(_) => "campaign_not_published",
            Self::MessagesNotPublished(_) => "messages_not_published",
            Self::CurrentRunArchive(_) => "current_run_archive",
            Self::EmptyCustomerGroup => "empty_customer_group",
            Self::UnknownSegmentField(_) => "unknown_segment_field",
            Self::TooManySegments { .. } | Self::TooManyValues { .. } => "too_many_segments",
            Self::IllegalTransition(_) => "invalid_transition",
            Self::StageNotAllowed(_) => "stage_not_allowed",
            Self::ContentChanged(_) => "content_changed",
            Self::UnfilledPlaceholder(_) => "unfilled_placeholder",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::Store(StoreError::Conflict | StoreError::Unavailable(_)) => "unavailable",
            Self::Store(StoreError::Corrupt(_) | StoreError::Backend(_)) => "internal_error",
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// An error with everything that caused it, in one line. A cause that the text before it repeats
/// is left out.
#[must_use]
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

/// The error that caused a [`StoreError`], for the log.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Why a store could not do what a port asks. Variants are named by meaning, for every database.
/// The database's own error is the source, not part of the text.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state that the decision was based on has changed: read it again and decide again.
    #[error("the state changed meanwhile")]
    Conflict,
    /// A row holds what the domain does not allow.
    #[error("corrupt row: {0}")]
    Corrupt(String),
    /// The database cannot be reached or is too busy; the same call may go through later.
    #[error("the database is unavailable")]
    Unavailable(#[source] Cause),
    /// Any other failure.
    #[error("the database failed")]
    Backend(#[source] Cause),
}

impl StoreError {
    /// A row that holds what the domain does not allow; `what` names table, column and value.
    #[must_use]
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Said {
        said: &'static str,
        #[source]
        cause: Option<Box<Said>>,
    }

    #[test]
    fn a_chain_says_each_cause_once() {
        let said = |said, cause: Option<Said>| Said {
            said,
            cause: cause.map(Box::new),
        };
        let last = said("the disk is full", None);
        let middle = said("cannot write: the disk is full", Some(last));
        let error = said("the store failed", Some(middle));
        assert_eq!(
            chain(&error),
            "the store failed: cannot write: the disk is full"
        );
    }

    #[test]
    fn a_suggestion_that_mentions_values_names_them() {
        let values = vec!["gold".to_owned(), "DE".to_owned()];
        assert_eq!(
            IllegalTransition::Mentions { values }.to_string(),
            "cannot use a suggestion that mentions `gold`, `DE`: these are values of another segment"
        );
    }

    #[test]
    fn a_message_says_where_it_stands() {
        let pending = ReviewStatus::PendingReview;
        assert_eq!(standing(pending, Some("Legal")), "waits at `Legal`");
        assert_eq!(standing(ReviewStatus::Approved, None), "is `Approved`");
    }
}
