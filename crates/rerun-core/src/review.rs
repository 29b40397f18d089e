//! The rules of a decision about messages of a campaign's current run: which messages it is about,
//! and how their states change.

use std::collections::HashMap;

use crate::actor::Person;
use crate::campaign::ApprovalStages;
use crate::change::Move;
use crate::error::{Error, IllegalTransition, Invalid};
use crate::ids::{ContentId, MessageId, RunNumber, UserId};
use crate::message::{Approval, MessageCommand, MessageState};
use crate::timestamp::Timestamp;

/// What a review decision needs to know of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRef {
    /// The message.
    pub id: MessageId,
    /// Its run.
    pub run_number: RunNumber,
    /// Its content; `None` while it has none.
    pub content_id: Option<ContentId>,
    /// Where its review stands.
    pub state: MessageState,
    /// Who wrote its content, when a person did.
    pub edited_by: Option<UserId>,
    /// Who has approved its content.
    pub approved_by: Vec<UserId>,
}

/// The contents that a decision is about, by message. `None` is an id that no content has.
pub type SeenContents = HashMap<MessageId, Option<ContentId>>;

/// A decision that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Review<'a> {
    /// What is done to the messages.
    pub command: MessageCommand,
    /// The campaign's stages.
    pub stages: &'a ApprovalStages,
    /// The only stage whose messages it is about.
    pub stage: Option<u8>,
    /// Who decides; `None`: the system.
    pub person: Option<&'a Person>,
    /// Whether people cannot approve their own edits (the four-eyes rule).
    pub four_eyes: bool,
    /// Whether each person can approve a message at one stage only.
    pub distinct_reviewers: bool,
}

impl Review<'_> {
    /// Who approves, if the decision is an approval.
    fn approver(&self) -> Option<&Person> {
        self.person
            .filter(|_| self.command == MessageCommand::Approve)
    }

    /// The user whose own edits the decision must not pass.
    #[must_use]
    pub fn not_edited_by(&self) -> Option<UserId> {
        let approver = self.approver().filter(|_| self.four_eyes);
        approver.map(|person| person.user_id)
    }

    /// The user whose own approvals at an earlier stage the decision must not follow.
    #[must_use]
    pub fn not_approved_by(&self) -> Option<UserId> {
        let approver = self.approver().filter(|_| self.distinct_reviewers);
        approver.map(|person| person.user_id)
    }

    /// Whether the role of who decides allows it for messages in this state.
    fn role_allows(&self, state: MessageState) -> bool {
        match (state.stage(), self.approver()) {
            (Some(waiting), Some(person)) => self.stages.can_pass(waiting, &person.role_code),
            (None, _) | (_, None) => true,
        }
    }

    /// The states that the named messages are in, each once. `contents` has the content that each
    /// message must have; it has no entry for a message that may have any.
    ///
    /// # Errors
    /// [`IllegalTransition`] for a message of another run than the current one;
    /// [`Error::ContentChanged`] for one that has other content; [`IllegalTransition`] for one that
    /// does not wait at the stage; [`Error::StageNotAllowed`] for one at a stage that the role cannot
    /// pass; [`IllegalTransition`] for one whose content the user wrote, or approved before.
    pub fn states_of(
        &self,
        current: RunNumber,
        messages: &[MessageRef],
        contents: &SeenContents,
    ) -> Result<Vec<MessageState>, Error> {
        if messages.iter().any(|message| message.run_number != current) {
            let action = self.command.action();
            return Err(IllegalTransition::Archived { action }.into());
        }
        let changed = |message: &&MessageRef| {
            let seen = contents.get(&message.id);
            seen.is_some_and(|seen| seen.is_none() || *seen != message.content_id)
        };
        if let Some(message) = messages.iter().find(changed) {
            return Err(Error::ContentChanged(message.id));
        }
        let mut states: Vec<MessageState> = Vec::new();
        for message in messages {
            if !states.contains(&message.state) {
                states.push(message.state);
            }
        }
        if let Some(stage) = self.stage {
            self.check_stage(stage, &states)?;
        }
        if let Some(state) = states.iter().find(|state| !self.role_allows(**state)) {
            let name = state.stage().and_then(|stage| self.stages.name(stage));
            return Err(Error::StageNotAllowed(name.unwrap_or_default().to_owned()));
        }
        let (editor, reviewer) = (self.not_edited_by(), self.not_approved_by());
        for message in messages {
            if message.edited_by.is_some() && message.edited_by == editor {
                return Err(IllegalTransition::OwnEdit.into());
            }
            if reviewer.is_some_and(|user| message.approved_by.contains(&user)) {
                return Err(IllegalTransition::OwnApproval.into());
            }
        }
        Ok(states)
    }

    /// The states of every message that it is about when none is named: those that allow the
    /// command, but for a review only the pending ones, with a stage only those that wait there, and
    /// for an approval only those at stages that the role can pass.
    #[must_use]
    pub fn all_states(&self) -> Vec<MessageState> {
        let pending_only = match self.command {
            MessageCommand::Approve | MessageCommand::Reject => true,
            MessageCommand::Generated
            | MessageCommand::GenerationFailed
            | MessageCommand::Retry
            | MessageCommand::Edit
            | MessageCommand::Adopt
            | MessageCommand::Regenerate
            | MessageCommand::Publish => false,
        };
        MessageState::all(self.stages)
            .into_iter()
            .filter(|state| !pending_only || state.stage().is_some())
            .filter(|state| self.stage.is_none() || state.stage() == self.stage)
            .filter(|state| self.role_allows(*state))
            .filter(|state| state.apply(self.command, self.stages).is_ok())
            .collect()
    }

    /// Refuses messages that do not wait at the stage.
    fn check_stage(&self, stage: u8, found: &[MessageState]) -> Result<(), IllegalTransition> {
        let name = |stage| self.stages.name(stage).unwrap_or_default().to_owned();
        match found.iter().find(|message| message.stage() != Some(stage)) {
            None => Ok(()),
            Some(elsewhere) => Err(IllegalTransition::Stage {
                action: self.command.action(),
                stage: name(stage),
                status: elsewhere.status(),
                waits_at: elsewhere.stage().map(name),
            }),
        }
    }

    /// Where messages in these states go. Whoever approves is noted with the stage that is passed.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] for a state that does not allow the command; [`Error::Invalid`]
    /// when nobody would approve.
    pub fn moves(&self, from: &[MessageState], now: Timestamp) -> Result<Vec<Move>, Error> {
        let passing = |stage: &str| {
            let nobody = || Invalid::new("only a person can approve messages, not the system");
            let person = self.person.ok_or_else(nobody)?;
            Ok::<_, Invalid>(Approval {
                stage: stage.to_owned(),
                user_id: person.user_id,
                user_name: person.user_name.clone(),
                approved_at: now,
            })
        };
        let step = |from: &MessageState| {
            let to = from.apply(self.command, self.stages)?;
            let passed = match self.command {
                MessageCommand::Approve => from.stage().and_then(|stage| self.stages.name(stage)),
                MessageCommand::Generated
                | MessageCommand::GenerationFailed
                | MessageCommand::Retry
                | MessageCommand::Reject
                | MessageCommand::Edit
                | MessageCommand::Adopt
                | MessageCommand::Regenerate
                | MessageCommand::Publish => None,
            };
            Ok(Move {
                from: *from,
                to,
                approval: passed.map(passing).transpose()?,
            })
        };
        from.iter().map(step).collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::stages::Stage;

    const ROLES: [&str; 3] = ["ADMIN", "EDITOR", "LAWYER"];

    fn user(n: u128) -> UserId {
        UserId::new(Uuid::from_u128(n))
    }

    /// One case of the table: who decides what about which message, under which rules.
    #[derive(Debug, Clone, Copy)]
    struct Case {
        /// The stage at which the message waits, and the one that the request names.
        at: u8,
        stage: Option<u8>,
        /// Whether the second stage is for lawyers only.
        lawyers: bool,
        role: &'static str,
        /// The users who wrote and who approved the message's content; user 1 decides.
        edited_by: Option<u128>,
        approved_by: Option<u128>,
        four_eyes: bool,
        distinct_reviewers: bool,
    }

    impl Case {
        /// The refusal of an approval, by the words of the API's rules. `None`: it is allowed.
        fn refusal(&self) -> Option<&'static str> {
            if self.stage.is_some_and(|stage| stage != self.at) {
                Some("cannot approve at the stage")
            } else if self.lawyers && self.at == 1 && self.role != "LAWYER" {
                Some("your role cannot approve at the stage `Legal`")
            } else if self.four_eyes && self.edited_by == Some(1) {
                Some("a message that you edited")
            } else if self.distinct_reviewers && self.approved_by == Some(1) {
                Some("a message at two stages")
            } else {
                None
            }
        }

        fn check(&self) {
            let legal = if self.lawyers {
                Stage::of_roles("Legal", ["LAWYER"])
            } else {
                "Legal".into()
            };
            let stages = ApprovalStages::declare(vec!["Draft".into(), legal]).unwrap();
            let person = Person::new(user(1), self.role);
            let message = MessageRef {
                id: MessageId::new(Uuid::from_u128(7)),
                run_number: RunNumber::FIRST,
                content_id: None,
                state: MessageState::PendingReview { stage: self.at },
                edited_by: self.edited_by.map(user),
                approved_by: self.approved_by.map(user).into_iter().collect(),
            };
            let review = Review {
                command: MessageCommand::Approve,
                stages: &stages,
                stage: self.stage,
                person: Some(&person),
                four_eyes: self.four_eyes,
                distinct_reviewers: self.distinct_reviewers,
            };
            let named = |review: &Review<'_>| {
                let messages = std::slice::from_ref(&message);
                review.states_of(RunNumber::FIRST, messages, &SeenContents::new())
            };
            match (named(&review), self.refusal()) {
                (Ok(allowed), None) => assert_eq!(allowed, [message.state], "{self:?}"),
                (Err(refused), Some(said)) => {
                    let refused = refused.to_string();
                    assert!(refused.contains(said), "{self:?}: {refused}");
                }
                (named, expected) => panic!("{self:?}: {named:?}, not {expected:?}"),
            }
            // `all` leaves out what cannot be named.
            let all = review.all_states().contains(&message.state)
                && (review.not_edited_by().is_none()
                    || review.not_edited_by() != message.edited_by)
                && review
                    .not_approved_by()
                    .is_none_or(|user| !message.approved_by.contains(&user));
            assert_eq!(all, self.refusal().is_none(), "{self:?}: all");
            // Anybody can reject: the rules are about approvals.
            let rejection = Review {
                command: MessageCommand::Reject,
                ..review
            };
            let at_stage = self.stage.is_none_or(|stage| stage == self.at);
            assert_eq!(named(&rejection).is_ok(), at_stage, "{self:?}: reject");
            assert_eq!(
                rejection.all_states().contains(&message.state),
                at_stage,
                "{self:?}: reject"
            );
            assert_eq!(
                (rejection.not_edited_by(), rejection.not_approved_by()),
                (None, None)
            );
        }
    }

    /// Every combination of stage, role, four eyes, distinct reviewers, and named or all.
    #[test]
    fn who_can_approve_which_message() {
        let people = [None, Some(1), Some(2)];
        for at in [0, 1] {
            for stage in [None, Some(0), Some(1)] {
                for role in ROLES {
                    for edited_by in people {
                        for approved_by in people {
                            for rules in 0..8 {
                                Case {
                                    at,
                                    stage,
                                    lawyers: rules & 1 != 0,
                                    role,
                                    edited_by,
                                    approved_by,
                                    four_eyes: rules & 2 != 0,
                                    distinct_reviewers: rules & 4 != 0,
                                }
                                .check();
                            }
                        }
                    }
                }
            }
        }
    }
}
