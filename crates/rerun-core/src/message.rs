//! The message and its review.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::actor::UserName;
use crate::error::{Action, IllegalTransition, StoreError};
use crate::ids::{ContentId, MessageId, RunNumber, UserId};
use crate::nearest::KeptSuggestion;
use crate::page::{Contents, text_bytes};
use crate::parts::checked;
use crate::segment::Segment;
use crate::stages::ApprovalStages;
use crate::timestamp::Timestamp;

pub use crate::content::Content;
pub use crate::status::{ReviewStatus, Source};

/// A message's review status, with the stage that only a pending message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// See [`ReviewStatus::Generating`].
    Generating,
    /// See [`ReviewStatus::GenerationFailed`].
    GenerationFailed,
    /// See [`ReviewStatus::PendingReview`].
    PendingReview {
        /// Number of the stage that it waits for, from 0.
        stage: u8,
    },
    /// See [`ReviewStatus::Approved`].
    Approved,
    /// See [`ReviewStatus::Rejected`].
    Rejected,
    /// See [`ReviewStatus::Published`].
    Published,
}

impl Serialize for MessageState {
    /// As `review_status`, with the number of the stage beside it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut state = serializer.serialize_struct("MessageState", 2)?;
        state.serialize_field("review_status", &self.status())?;
        state.serialize_field("approval_stage", &self.stage())?;
        state.end()
    }
}

/// What can happen to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageCommand {
    /// A generator made its content.
    Generated,
    /// The last attempt to make it failed.
    GenerationFailed,
    /// Try again after failure.
    Retry,
    /// Pass one approval stage on.
    Approve,
    /// Refuse it.
    Reject,
    /// Replace its content by hand.
    Edit,
    /// Take the suggested content.
    Adopt,
    /// Have it generated again.
    Regenerate,
    /// Publish it with its run.
    Publish,
}

impl MessageCommand {
    /// Every command.
    pub const ALL: [Self; 9] = [
        Self::Generated,
        Self::GenerationFailed,
        Self::Retry,
        Self::Approve,
        Self::Reject,
        Self::Edit,
        Self::Adopt,
        Self::Regenerate,
        Self::Publish,
    ];

    /// The action that a refusal names.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Generated | Self::GenerationFailed => Action::Generate,
            Self::Retry => Action::Retry,
            Self::Approve => Action::Approve,
            Self::Reject => Action::Reject,
            Self::Edit => Action::Edit,
            Self::Adopt => Action::Adopt,
            Self::Regenerate => Action::Regenerate,
            Self::Publish => Action::Publish,
        }
    }
}

impl MessageState {
    /// Whether a message in this state shows what is suggested for it.
    #[must_use]
    pub const fn shows_suggestion(self) -> bool {
        matches!(self, Self::Generating | Self::PendingReview { .. })
    }

    /// The wire status.
    #[must_use]
    pub const fn status(self) -> ReviewStatus {
        match self {
            Self::Generating => ReviewStatus::Generating,
            Self::GenerationFailed => ReviewStatus::GenerationFailed,
            Self::PendingReview { .. } => ReviewStatus::PendingReview,
            Self::Approved => ReviewStatus::Approved,
            Self::Rejected => ReviewStatus::Rejected,
            Self::Published => ReviewStatus::Published,
        }
    }

    /// The number of the stage that it waits for.
    #[must_use]
    pub const fn stage(self) -> Option<u8> {
        match self {
            Self::PendingReview { stage } => Some(stage),
            Self::Generating
            | Self::GenerationFailed
            | Self::Approved
            | Self::Rejected
            | Self::Published => None,
        }
    }

    /// From the two columns that stores keep.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a pending message has no stage or another has one.
    pub fn from_columns(status: ReviewStatus, stage: Option<i16>) -> Result<Self, StoreError> {
        let corrupt = || {
            StoreError::corrupt(format!(
                "messages: `{status}` with approval stage {stage:?}"
            ))
        };
        match (status, stage) {
            (ReviewStatus::PendingReview, Some(stage)) => u8::try_from(stage)
                .ok()
                .map(|stage| Self::PendingReview { stage })
                .ok_or_else(corrupt),
            (ReviewStatus::Generating, None) => Ok(Self::Generating),
            (ReviewStatus::GenerationFailed, None) => Ok(Self::GenerationFailed),
            (ReviewStatus::Approved, None) => Ok(Self::Approved),
            (ReviewStatus::Rejected, None) => Ok(Self::Rejected),
            (ReviewStatus::Published, None) => Ok(Self::Published),
            (ReviewStatus::PendingReview, None)
            | (
                ReviewStatus::Generating
                | ReviewStatus::GenerationFailed
                | ReviewStatus::Approved
                | ReviewStatus::Rejected
                | ReviewStatus::Published,
                Some(_),
            ) => Err(corrupt()),
        }
    }

    /// Every state that a message of a campaign with these stages can have.
    #[must_use]
    pub fn all(stages: &ApprovalStages) -> Vec<Self> {
        let pending = stages.numbers().map(|stage| Self::PendingReview { stage });
        [
            Self::Generating,
            Self::GenerationFailed,
            Self::Approved,
            Self::Rejected,
            Self::Published,
        ]
        .into_iter()
        .chain(pending)
        .collect()
    }

    /// The state after `command`: the whole table of a message's life.
    ///
    /// # Errors
    /// [`IllegalTransition::Message`] naming the status and the action.
    pub fn apply(
        self,
        command: MessageCommand,
        stages: &ApprovalStages,
    ) -> Result<Self, IllegalTransition> {
        use MessageCommand as C;
        let first = Self::PendingReview { stage: 0 };
        match (self, command) {
            (Self::Generating, C::Generated)
            | (Self::PendingReview { .. }, C::Adopt)
            | (
                Self::GenerationFailed
                | Self::PendingReview { .. }
                | Self::Approved
                | Self::Rejected,
                C::Edit,
            ) => Ok(first),
            (Self::Generating, C::GenerationFailed) => Ok(Self::GenerationFailed),
            (Self::GenerationFailed, C::Retry | C::Regenerate)
            | (Self::PendingReview { .. } | Self::Approved | Self::Rejected, C::Regenerate) => {
                Ok(Self::Generating)
            }
            (Self::PendingReview { stage }, C::Approve) => Ok(stages
                .after(stage)
                .map_or(Self::Approved, |stage| Self::PendingReview { stage })),
            (Self::PendingReview { .. } | Self::Approved, C::Reject) => Ok(Self::Rejected),
            (Self::Approved, C::Publish) => Ok(Self::Published),
            (
                Self::Generating,
                C::Retry | C::Approve | C::Reject | C::Edit | C::Adopt | C::Regenerate | C::Publish,
            )
            | (
                Self::GenerationFailed,
                C::Generated | C::GenerationFailed | C::Approve | C::Reject | C::Adopt | C::Publish,
            )
            | (
                Self::PendingReview { .. },
                C::Generated | C::GenerationFailed | C::Retry | C::Publish,
            )
            | (
                Self::Approved,
                C::Generated | C::GenerationFailed | C::Retry | C::Approve | C::Adopt,
            )
            | (
                Self::Rejected,
                C::Generated
                | C::GenerationFailed
                | C::Retry
                | C::Approve
                | C::Reject
                | C::Adopt
                | C::Publish,
            )
            | (
                Self::Published,
                C::Generated
                | C::GenerationFailed
                | C::Retry
                | C::Approve
                | C::Reject
                | C::Edit
                | C::Adopt
                | C::Regenerate
                | C::Publish,
            ) => Err(IllegalTransition::Message {
                status: self.status(),
                action: command.action(),
            }),
        }
    }
}

/// The message whose content a reused one has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReusedFrom {
    /// That message.
    pub message_id: MessageId,
    /// Its run.
    pub run_number: RunNumber,
}

/// One approval that a message's content has had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Name of the stage that was passed.
    pub stage: String,
    /// Who passed it.
    pub user_id: UserId,
    /// That person's name at that time, if it was known.
    #[serde(default)]
    pub user_name: Option<UserName>,
    /// When.
    #[serde(with = "crate::timestamp")]
    pub approved_at: Timestamp,
}

/// The approvals of a message's content, oldest first. Kept as the JSON array in which they are
/// stored and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approvals(String);

impl Approvals {
    /// Takes back what a store kept. It is not parsed: a store is trusted with its own rows.
    #[must_use]
    pub const fn from_stored(json: String) -> Self {
        Self(json)
    }

    /// The approvals one by one.
    ///
    /// # Errors
    /// When a store gave back a text that is no such array.
    pub fn to_vec(&self) -> Result<Vec<Approval>, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

impl Serialize for Approvals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A quote within a text has a backslash before it, so that this finds names of members only.
        let members = |name: &str| self.0.matches(name).count();
        if members("\"user_name\":") == members("\"user_id\":") {
            let raw: &RawValue =
                serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
            return raw.serialize(serializer);
        }
        // Some were kept before names were.
        let approvals = self.to_vec().map_err(serde::ser::Error::custom)?;
        approvals.serialize(serializer)
    }
}

/// Where a message's content was made and who let it pass. A message that reuses content has
/// the provenance of the message that it reuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The run in which the content was made.
    pub run_number: RunNumber,
    /// The stages that it has passed since.
    pub approvals: Approvals,
}

impl Contents for Message {
    fn bytes(&self) -> usize {
        let content = self.content.as_ref();
        let approvals = self.provenance.as_ref().map(|from| &from.approvals.0);
        self.segment.bytes()
            + content.map_or(0, Contents::bytes)
            // Approvals are JSON already.
            + approvals.map_or(0, String::len)
            + text_bytes(self.content_model.as_ref())
            + text_bytes(self.rejection_reason.as_ref())
            + text_bytes(self.error.as_ref())
            + self.suggestion.as_ref().map_or(0, |kept| kept.as_json().len())
    }
}

checked! {
    /// The content for one segment in one run. Its fields are those of [`MessageParts`].
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    Message, MessageParts
}

/// The fields of a [`Message`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageParts {
    /// Its id.
    pub id: MessageId,
    /// Its run.
    pub run_number: RunNumber,
    /// The store's number of the segment within the campaign; orders a run's messages.
    pub segment_no: i32,
    /// Its segment, with the number of customers at the time the run was initiated.
    pub segment: Segment,
    /// The id of its content. The content with an id never changes, so a decision can name the text
    /// that it is about. `None` before the first content.
    pub content_id: Option<ContentId>,
    /// What it says; `None` until it has been generated for the first time.
    pub content: Option<Content>,
    /// The language model that created the content, as its endpoint named it. `None` for content
    /// that came from the template, from a person or from an import, and where the endpoint gave
    /// no name.
    pub content_model: Option<String>,
    /// Where its review stands.
    #[serde(flatten)]
    pub state: MessageState,
    /// Where the content comes from.
    pub source: Source,
    /// The message whose content it has, while its source is [`Source::Reused`] or
    /// [`Source::Suggested`].
    pub reused_from: Option<ReusedFrom>,
    /// The approved message that is nearest to its segment, while it is generated or waits for a
    /// reviewer.
    pub suggestion: Option<KeptSuggestion>,
    /// Where its content was made and who approved it; `None` while it has none.
    pub provenance: Option<Provenance>,
    /// When its run stopped being current; `None` while it is current.
    #[serde(serialize_with = "crate::timestamp::option::serialize")]
    pub archived_at: Option<Timestamp>,
    /// Why it was rejected, while it is.
    pub rejection_reason: Option<String>,
    /// The last error, while generation has failed.
    pub error: Option<String>,
    /// When it was made.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub created_at: Timestamp,
    /// When it last changed. Archiving is a fact of its run and no change of the message.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub updated_at: Timestamp,
}

impl MessageParts {
    /// A message as a run begins with it: its content is to be generated, and every other field
    /// is empty.
    #[must_use]
    pub const fn generating(
        id: MessageId,
        run_number: RunNumber,
        segment_no: i32,
        segment: Segment,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            run_number,
            segment_no,
            segment,
            content_id: None,
            content: None,
            content_model: None,
            state: MessageState::Generating,
            source: Source::Generated,
            reused_from: None,
            suggestion: None,
            provenance: None,
            archived_at: None,
            rejection_reason: None,
            error: None,
            created_at: at,
            updated_at: at,
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        let status = self.state.status();
        let has_content = self.content_id.is_some();
        let may_lack_content = matches!(
            status,
            ReviewStatus::Generating | ReviewStatus::GenerationFailed
        );
        let contradiction = if self.content.is_some() != has_content
            || self.provenance.is_some() != has_content
            || self.content_model.is_some() && !has_content
        {
            "a part of a content"
        } else if !has_content && !may_lack_content {
            "no content"
        } else if self.reused_from.is_some()
            != matches!(self.source, Source::Reused | Source::Suggested)
        {
            "a source that contradicts the message that it is from"
        } else if self.error.is_some() && status != ReviewStatus::GenerationFailed {
            "an error"
        } else if self.rejection_reason.is_some() && status != ReviewStatus::Rejected {
            "a reason for a rejection"
        } else if self.suggestion.is_some() && !self.state.shows_suggestion() {
            "a suggestion"
        } else {
            return Ok(());
        };
        Err(StoreError::corrupt(format!(
            "messages: message {} is `{status}` with {contradiction}",
            self.id
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::SegmentBy;

    /// What the contract's text says, state by state, for a campaign of two stages.
    #[test]
    fn every_state_answers_every_command() {
        let stages = ApprovalStages::new(&["Draft", "Legal"]).unwrap();
        let (first, second) = (
            MessageState::PendingReview { stage: 0 },
            MessageState::PendingReview { stage: 1 },
        );
        let allowed = [
            (MessageState::Generating, MessageCommand::Generated, first),
            (
                MessageState::Generating,
                MessageCommand::GenerationFailed,
                MessageState::GenerationFailed,
            ),
            (
                MessageState::GenerationFailed,
                MessageCommand::Retry,
                MessageState::Generating,
            ),
            (
                MessageState::GenerationFailed,
                MessageCommand::Regenerate,
                MessageState::Generating,
            ),
            (MessageState::GenerationFailed, MessageCommand::Edit, first),
            (first, MessageCommand::Approve, second),
            (second, MessageCommand::Approve, MessageState::Approved),
            (first, MessageCommand::Reject, MessageState::Rejected),
            (second, MessageCommand::Reject, MessageState::Rejected),
            (
                MessageState::Approved,
                MessageCommand::Reject,
                MessageState::Rejected,
            ),
            (first, MessageCommand::Edit, first),
            (first, MessageCommand::Adopt, first),
            (second, MessageCommand::Adopt, first),
            (second, MessageCommand::Edit, first),
            (MessageState::Approved, MessageCommand::Edit, first),
            (MessageState::Rejected, MessageCommand::Edit, first),
            (first, MessageCommand::Regenerate, MessageState::Generating),
            (second, MessageCommand::Regenerate, MessageState::Generating),
            (
                MessageState::Approved,
                MessageCommand::Regenerate,
                MessageState::Generating,
            ),
            (
                MessageState::Rejected,
                MessageCommand::Regenerate,
                MessageState::Generating,
            ),
            (
                MessageState::Approved,
                MessageCommand::Publish,
                MessageState::Published,
            ),
        ];
        for state in MessageState::all(&stages) {
            for command in MessageCommand::ALL {
                let expected = allowed
                    .iter()
                    .find(|(from, by, _)| (*from, *by) == (state, command))
                    .map(|(_, _, to)| *to)
                    .ok_or(IllegalTransition::Message {
                        status: state.status(),
                        action: command.action(),
                    });
                assert_eq!(
                    state.apply(command, &stages),
                    expected,
                    "{state:?} {command:?}"
                );
            }
        }
    }

    #[test]
    fn a_refusal_names_status_and_action() {
        let refusal = MessageState::Published
            .apply(MessageCommand::Edit, &ApprovalStages::default())
            .unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "cannot edit a message that is `Published`"
        );
    }

    #[test]
    fn columns_that_contradict_each_other_are_corrupt() {
        for state in MessageState::all(&ApprovalStages::new(&["a", "b"]).unwrap()) {
            let stage = state.stage().map(i16::from);
            assert_eq!(
                MessageState::from_columns(state.status(), stage).unwrap(),
                state
            );
        }
        assert!(MessageState::from_columns(ReviewStatus::PendingReview, None).is_err());
        assert!(MessageState::from_columns(ReviewStatus::PendingReview, Some(-1)).is_err());
        assert!(MessageState::from_columns(ReviewStatus::Approved, Some(0)).is_err());
    }

    #[test]
    fn content_has_bounds() {
        let content = |subject: &str, body: &str| {
            Content {
                subject: subject.into(),
                body: body.into(),
            }
            .check()
            .map_err(|e| e.to_string())
        };
        assert_eq!(content("a", "b"), Ok(()));
        assert!(
            content(" ", "b")
                .unwrap_err()
                .contains("`subject` must not be blank")
        );
        assert!(content("a", "\0").unwrap_err().contains("NUL"));
        assert!(
            content(&"a".repeat(1_001), "b")
                .unwrap_err()
                .contains("at most 1000")
        );
        assert!(
            content("a\r\nBcc: x", "b")
                .unwrap_err()
                .contains("`subject` must be one line")
        );
        assert_eq!(content("a", "b\r\nc\td"), Ok(()));
    }

    #[test]
    fn a_message_serialises_with_its_status_and_stage() {
        let (run, at) = (RunNumber::FIRST, Timestamp::UNIX_EPOCH);
        let id = MessageId::new(uuid::Uuid::from_u128(1));
        let segment_by = SegmentBy::new(&["country"]).unwrap();
        let segment = segment_by.segment(|_| Some("DE"), 3);
        let message = Message::from_parts(MessageParts {
            content_id: Some(ContentId::new(uuid::Uuid::from_u128(2))),
            content: Some(content("s", "b")),
            state: MessageState::PendingReview { stage: 1 },
            provenance: Some(Provenance {
                run_number: run,
                approvals: Approvals::from_stored("[]".to_owned()),
            }),
            ..MessageParts::generating(id, run, 1, segment, at)
        })
        .unwrap();
        let json = serde_json::to_value(&message).unwrap();
        assert_eq!(json["review_status"], "Pending review");
        assert_eq!(json["approval_stage"], 1);
        assert_eq!(json["segment"]["attributes"]["country"], "DE");
        assert_eq!(json["content_id"], "00000000-0000-0000-0000-000000000002");
        assert_eq!(json["content"]["subject"], "s");
        assert_eq!(json["archived_at"], serde_json::Value::Null);
        assert_eq!(json["created_at"], "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn approvals_that_were_kept_without_a_name_have_none() {
        let at = "2026-01-01T00:00:00.000Z";
        let user = "00000000-0000-0000-0000-000000000004";
        let old =
            format!(r#"{{"stage":"a \"user_name\": b","user_id":"{user}","approved_at":"{at}"}}"#);
        let new =
            format!(r#"{{"stage":"c","user_id":"{user}","user_name":"Ada","approved_at":"{at}"}}"#);
        let sent = |kept: &str| {
            let approvals = Approvals::from_stored(kept.to_owned());
            serde_json::to_value(approvals).unwrap()
        };
        let mixed = sent(&format!("[{old},{new}]"));
        assert_eq!(mixed[0]["user_name"], serde_json::Value::Null);
        assert!(mixed[0].as_object().unwrap().contains_key("user_name"));
        assert_eq!(mixed[0]["stage"], r#"a "user_name": b"#);
        assert_eq!(mixed[1]["user_name"], "Ada");
        assert_eq!(sent("[]"), serde_json::json!([]));
    }

    fn content(subject: &str, body: &str) -> Content {
        Content {
            subject: subject.to_owned(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn a_placeholder_is_what_stands_between_double_braces() {
        for (subject, body, found) in [
            ("Hello", "world", None),
            ("{ {a} }", "}} {{", None),
            ("{{", "}}", None),
            (
                "Hello {{ first_name }}!",
                "{{ x }}",
                Some("{{ first_name }}"),
            ),
            ("Hello", "a }} b {{x}} {{y}}", Some("{{x}}")),
            ("", "{{}}", Some("{{}}")),
            ("", "{{{ x }}}", Some("{{{ x }}")),
            ("", "{{ a\nb }}", Some("{{ a\nb }}")),
            ("", "{{ a {{ b }}", Some("{{ a {{ b }}")),
        ] {
            assert_eq!(
                content(subject, body).placeholder(),
                found,
                "{subject} {body}"
            );
        }
        let long = content("s", &format!("é{{{{ {} }}}}", "é".repeat(150_000)));
        let found = long.placeholder().unwrap();
        assert!(found.starts_with("{{ é"), "{found}");
        assert_eq!(found.chars().count(), 100);
    }

    #[test]
    fn what_is_generated_gets_a_subject_of_one_line() {
        let made = content("Hello\r\nBcc: x\u{2028}y", "a\nb")
            .generated()
            .unwrap();
        assert_eq!(made, content("Hello  Bcc: x y", "a\nb"));
        let unfilled = content("s", "Dear {{ first_name }}").generated();
        assert_eq!(
            unfilled.unwrap_err().to_string(),
            "the placeholder `{{ first_name }}` is unfilled"
        );
    }
}
