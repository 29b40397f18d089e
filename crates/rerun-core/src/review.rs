//! The rules of a decision about messages of a campaign's current run: which of them it is about,
//! and from which state to which they go.

use std::collections::HashMap;

use crate::actor::Person;
use crate::campaign::ApprovalStages;
use crate::change::Move;
use crate::error::{Error, IllegalTransition, Invalid};
use crate::ids::{ContentId, MessageId, RunNumber, UserId};
use crate::message::{Approval, MessageCommand, MessageState};
use crate::timestamp::Timestamp;

/// What a review decision needs to know of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// The user whose own edits it must not pass: the four-eyes rule.
    pub not_edited_by: Option<UserId>,
}

impl Review<'_> {
    /// The states that the named messages are in, each once. `contents` has the content that each
    /// message must have; it has no entry for a message that may have any.
    ///
    /// # Errors
    /// [`IllegalTransition`] for a message of another run than the current one;
    /// [`Error::ContentChanged`] for one that has other content; [`IllegalTransition`] for one whose
    /// content the user wrote, and for one that does not wait at the stage.
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
            if message.edited_by.is_some() && message.edited_by == self.not_edited_by {
                return Err(IllegalTransition::OwnEdit.into());
            }
            if !states.contains(&message.state) {
                states.push(message.state);
            }
        }
        if let Some(stage) = self.stage {
            self.check_stage(stage, &states)?;
        }
        Ok(states)
    }

    /// The states of every message that it is about when none is named: those that allow the
    /// command, but for a review only the pending ones, and with a stage only those that wait there.
    #[must_use]
    pub fn all_states(&self) -> Vec<MessageState> {
        let pending_only = match self.command {
            MessageCommand::Approve | MessageCommand::Reject => true,
            MessageCommand::Generated
            | MessageCommand::GenerationFailed
            | MessageCommand::Retry
            | MessageCommand::Edit
            | MessageCommand::Regenerate
            | MessageCommand::Publish => false,
        };
        MessageState::all(self.stages)
            .into_iter()
            .filter(|state| !pending_only || state.stage().is_some())
            .filter(|state| self.stage.is_none() || state.stage() == self.stage)
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
    pub fn moves(
        &self,
        from: &[MessageState],
        approver: Option<&Person>,
        now: Timestamp,
    ) -> Result<Vec<Move>, Error> {
        let passing = |stage: &str| {
            let nobody = || Invalid::new("only a person can approve messages, not the system");
            let person = approver.ok_or_else(nobody)?;
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
