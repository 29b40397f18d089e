use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::idempotency::{self, Answered};
use super::{MAX_REASON_LENGTH, Settings, Stamps, decide_again};
use crate::Timestamp;
use crate::audit::{AuditAction, AuditDraft, Caller};
use crate::campaign::{Campaign, CampaignStatus};
use crate::change::{Effect, MessageChange, Move, Selection};
use crate::error::{Error, IllegalTransition, Invalid, StoreError};
use crate::ids::{CampaignId, ContentId, MessageId, RunNumber};
use crate::message::{Approval, Content, Message, MessageCommand, MessageState};
use crate::ports::{
    CampaignContext, HistoryStore, IdempotencyStore, RerunStore, ReviewStore, WantedGroup,
};
use crate::run::Run;
use crate::text;

/// A reviewer's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The messages pass one stage.
    Approve,
    /// The messages are refused.
    Reject {
        /// Why.
        reason: String,
    },
}

/// Which messages a reviewer's word is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReviewedMessages {
    /// These. An id that cannot name a message is `None`.
    Named(Vec<Option<MessageId>>),
    /// Every message of the current run that waits for a reviewer.
    AllPending,
}

/// What a review, an edit or a queueing came to.
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

/// Review, edits, publication.
#[derive(Clone)]
pub struct Reviews {
    store: Arc<dyn ReviewStore>,
    campaigns: Arc<dyn RerunStore>,
    history: Arc<dyn HistoryStore>,
    responses: Arc<dyn IdempotencyStore>,
    stamps: Stamps,
    settings: Settings,
}

/// What a decision is made on, and what it leads to apart from the messages it is about.
struct Wish<'a> {
    caller: &'a Caller,
    campaign: CampaignId,
    command: MessageCommand,
    audit: AuditAction,
}

impl Reviews {
    /// The most messages that one request may name.
    pub const MAX_NAMED: usize = 10_000;

    /// Over these ports.
    #[must_use]
    pub fn new(
        store: Arc<dyn ReviewStore>,
        campaigns: Arc<dyn RerunStore>,
        history: Arc<dyn HistoryStore>,
        responses: Arc<dyn IdempotencyStore>,
        stamps: Stamps,
        settings: Settings,
    ) -> Self {
        Self {
            store,
            campaigns,
            history,
            responses,
            stamps,
            settings,
        }
    }

    /// Approves or rejects messages of the current run: all of them, or none when one cannot be.
    ///
    /// # Errors
    /// [`Error::MissingFields`] for a rejection without a reason; [`Error::Invalid`] for too
    /// many messages or too long a reason; [`Error::CampaignNotFound`];
    /// [`Error::IllegalTransition`]; [`Error::MessageNotFound`]; [`Error::Store`].
    pub async fn review(
        &self,
        caller: &Caller,
        campaign: CampaignId,
        decision: &Decision,
        messages: &ReviewedMessages,
    ) -> Result<MessagesChanged, Error> {
        let (command, action, effect) = match decision {
            Decision::Approve => (
                MessageCommand::Approve,
                AuditAction::MessagesApproved,
                Effect::Nothing,
            ),
            Decision::Reject { reason } => {
                let reason = text::name("reason", reason, MAX_REASON_LENGTH)?;
                let effect = Effect::Reject { reason };
                (
                    MessageCommand::Reject,
                    AuditAction::MessagesRejected,
                    effect,
                )
            }
        };
        let wish = Wish {
            caller,
            campaign,
            command,
            audit: action,
        };
        let named = match messages {
            ReviewedMessages::Named(ids) => Some(distinct(ids)?),
            ReviewedMessages::AllPending => None,
        };
        let (changed, _) = self.change(&wish, named.as_ref(), &effect, None).await?;
        Ok(changed)
    }

    /// Replaces the content of one message of the current run; it goes back to the first stage.
    ///
    /// # Errors
    /// [`Error::Invalid`] for content that breaks a rule; [`Error::CampaignNotFound`];
    /// [`Error::MessageNotFound`]; [`Error::IllegalTransition`]; [`Error::Store`].
    pub async fn edit(
        &self,
        caller: &Caller,
        campaign: CampaignId,
        message: Option<MessageId>,
        content: Content,
    ) -> Result<(Campaign, Message), Error> {
        content.check()?;
        let wish = Wish {
            caller,
            campaign,
            command: MessageCommand::Edit,
            audit: AuditAction::MessageEdited,
        };
        let content_id = ContentId::new(self.stamps.ids.next());
        let effect = Effect::Edit {
            content_id,
            content,
        };
        let named = Named {
            ids: message.into_iter().collect(),
            unknown: message.is_none(),
        };
        let (_, campaign) = self.change(&wish, Some(&named), &effect, None).await?;
        let found = match named.ids.first() {
            Some(id) => {
                self.history
                    .find_message(caller.account_id, campaign.id, *id)
                    .await?
            }
            None => None,
        };
        Ok((campaign, found.ok_or(Error::MessageNotFound)?))
    }

    /// Queues messages of the current run to be generated anew.
    ///
    /// # Errors
    /// [`Error::Invalid`] for too many messages; [`Error::CampaignNotFound`];
    /// [`Error::MessageNotFound`]; [`Error::IllegalTransition`]; [`Error::Store`].
    pub async fn regenerate(
        &self,
        caller: &Caller,
        campaign: CampaignId,
        messages: &[Option<MessageId>],
    ) -> Result<MessagesChanged, Error> {
        let wish = Wish {
            caller,
            campaign,
            command: MessageCommand::Regenerate,
            audit: AuditAction::MessagesRegenerated,
        };
        let named = distinct(messages)?;
        let (changed, _) = self
            .change(&wish, Some(&named), &Effect::Queue, None)
            .await?;
        Ok(changed)
    }

    /// Queues the messages of the current run that could not be generated.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::IdempotencyKeyReused`] for the key;
    /// [`Error::CampaignNotFound`]; [`Error::IllegalTransition`]; [`Error::Store`].
    pub async fn retry(
        &self,
        caller: &Caller,
        campaign: CampaignId,
        idempotency_key: Option<&str>,
    ) -> Result<Answered<MessagesChanged>, Error> {
        let wish = Wish {
            caller,
            campaign,
            command: MessageCommand::Retry,
            audit: AuditAction::RerunRetried,
        };
        self.change_all(
            &wish,
            "rerun.retry",
            idempotency_key,
            &Effect::Queue,
            |run| (run.counts.failed, CampaignStatus::Processing),
        )
        .await
    }

    /// Publishes the campaign with every message of its current run.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::IdempotencyKeyReused`] for the key;
    /// [`Error::CampaignNotFound`]; [`Error::IllegalTransition`]; [`Error::Store`].
    pub async fn publish(
        &self,
        caller: &Caller,
        campaign: CampaignId,
        idempotency_key: Option<&str>,
    ) -> Result<Answered<MessagesChanged>, Error> {
        let wish = Wish {
            caller,
            campaign,
            command: MessageCommand::Publish,
            audit: AuditAction::CampaignPublished,
        };
        self.change_all(
            &wish,
            "campaign.publish",
            idempotency_key,
            &Effect::Nothing,
            |run| (run.counts.approved, CampaignStatus::Published),
        )
        .await
    }

    /// A change of every message that allows it, under an idempotency key. `foreseen` says how
    /// many messages will change and the campaign's status then, which is certain while the
    /// campaign is at its version.
    async fn change_all(
        &self,
        wish: &Wish<'_>,
        endpoint: &'static str,
        key: Option<&str>,
        effect: &Effect,
        foreseen: impl Fn(&Run) -> (u32, CampaignStatus) + Sync,
    ) -> Result<Answered<MessagesChanged>, Error> {
        let key = idempotency::key(endpoint, key, &wish.campaign)?;
        let now = self.stamps.clock.now();
        let kept = || idempotency::kept(&self.responses, wish.caller, key.as_ref(), now);
        if let Some(kept) = kept().await? {
            return Ok(kept);
        }
        let keep = |campaign: &Campaign, run: &Run| {
            let (messages, campaign_status) = foreseen(run);
            let outcome = MessagesChanged {
                campaign_id: campaign.id,
                run_number: run.number,
                campaign_status,
                messages,
            };
            idempotency::keep(key.as_ref(), &outcome)
        };
        match self.change(wish, None, effect, Some(&keep)).await {
            Ok((changed, _)) => Ok(Answered::now(changed)),
            // The request that got there first may have been this one's twin.
            Err(refusal) => kept().await?.ok_or(refusal),
        }
    }

    /// Decides on fresh state until the decision holds, and has it made true.
    async fn change(
        &self,
        wish: &Wish<'_>,
        named: Option<&Named>,
        effect: &Effect,
        response: Option<&Keep<'_>>,
    ) -> Result<(MessagesChanged, Campaign), Error> {
        let account = wish.caller.account_id;
        let mut decisions = 0;
        loop {
            let context = self
                .campaigns
                .campaign_context(account, wish.campaign, WantedGroup::None)
                .await?;
            let CampaignContext {
                campaign,
                current_run,
                ..
            } = context.ok_or(Error::CampaignNotFound)?;
            campaign.check(wish.command.action())?;
            let run = current_run.ok_or_else(|| {
                StoreError::corrupt(format!("campaigns: `{}` without a run", campaign.status))
            })?;
            let now = self.stamps.clock.now();
            let (selection, states) = match named {
                None => (self.everything(wish), Self::all_states(wish, &campaign)),
                Some(named) => {
                    let states = self.states(wish, &campaign, &run, named).await?;
                    (Selection::Ids(named.ids.clone()), states)
                }
            };
            let change = MessageChange {
                moves: moves(wish, &campaign, &states, now)?,
                selection,
                effect: effect.clone(),
                user_id: wish.caller.user_id,
                audit: self.audit(wish, named, effect, now),
                response: match response {
                    Some(keep) => keep(&campaign, &run)?,
                    None => None,
                },
                campaign: campaign.clone(),
                now,
            };
            match self.store.change_messages(change).await {
                Ok(outcome) => {
                    let changed = MessagesChanged {
                        campaign_id: campaign.id,
                        run_number: run.number,
                        campaign_status: outcome.campaign_status,
                        messages: outcome.messages,
                    };
                    return Ok((changed, campaign));
                }
                Err(error) => decide_again(error, &mut decisions)?,
            }
        }
    }

    fn four_eyes(&self, wish: &Wish<'_>) -> bool {
        self.settings.four_eyes && wish.command == MessageCommand::Approve
    }

    fn everything(&self, wish: &Wish<'_>) -> Selection {
        Selection::Every {
            not_edited_by: self.four_eyes(wish).then_some(wish.caller.user_id),
        }
    }

    /// The states that a change of everything is about: those that allow the command, but for a
    /// review only the pending ones.
    fn all_states(wish: &Wish<'_>, campaign: &Campaign) -> Vec<MessageState> {
        let stages = &campaign.approval_stages;
        let pending_only = match wish.command {
            MessageCommand::Approve | MessageCommand::Reject => true,
            MessageCommand::Generated
            | MessageCommand::GenerationFailed
            | MessageCommand::Retry
            | MessageCommand::Edit
            | MessageCommand::Regenerate
            | MessageCommand::Publish => false,
        };
        MessageState::all(stages)
            .into_iter()
            .filter(|state| !pending_only || state.stage().is_some())
            .filter(|state| state.apply(wish.command, stages).is_ok())
            .collect()
    }

    /// The states that the named messages are in.
    async fn states(
        &self,
        wish: &Wish<'_>,
        campaign: &Campaign,
        run: &Run,
        named: &Named,
    ) -> Result<Vec<MessageState>, Error> {
        let action = wish.command.action();
        let account = wish.caller.account_id;
        let refs = self
            .store
            .message_refs(account, campaign.id, named.ids.clone())
            .await?;
        if named.unknown || refs.len() != named.ids.len() {
            return Err(Error::MessageNotFound);
        }
        let mut states: Vec<MessageState> = Vec::new();
        for message in refs {
            if message.run_number != run.number {
                return Err(IllegalTransition::Archived { action }.into());
            }
            if self.four_eyes(wish) && message.edited_by == Some(wish.caller.user_id) {
                return Err(IllegalTransition::OwnEdit.into());
            }
            if !states.contains(&message.state) {
                states.push(message.state);
            }
        }
        Ok(states)
    }

    fn audit(
        &self,
        wish: &Wish<'_>,
        named: Option<&Named>,
        effect: &Effect,
        now: Timestamp,
    ) -> AuditDraft {
        let audit = self.stamps.audit(wish.caller, wish.audit, now);
        let audit = match named {
            // Some thousand ids would make the entry larger than what it tells.
            Some(named) if named.ids.len() <= MAX_AUDITED_IDS => audit.with(
                "message_ids",
                named
                    .ids
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
            ),
            Some(_) | None => audit,
        };
        match effect {
            Effect::Reject { reason } => audit.with("reason", reason.as_str()),
            Effect::Edit { content_id, .. } => audit.with("content_id", content_id.to_string()),
            Effect::Nothing | Effect::Queue => audit,
        }
    }
}

/// The most message ids that an audit entry names one by one.
const MAX_AUDITED_IDS: usize = 100;

type Keep<'a> = dyn Fn(&Campaign, &Run) -> Result<Option<crate::ports::IdempotentResponse>, Error>
    + Send
    + Sync
    + 'a;

struct Named {
    ids: Vec<MessageId>,
    /// Whether one of the given ids cannot name a message.
    unknown: bool,
}

fn distinct(ids: &[Option<MessageId>]) -> Result<Named, Invalid> {
    if ids.len() > Reviews::MAX_NAMED {
        return Err(Invalid::new(format!(
            "`message_ids` may name at most {} messages, not {}",
            Reviews::MAX_NAMED,
            ids.len()
        )));
    }
    let mut seen = HashSet::new();
    Ok(Named {
        ids: ids
            .iter()
            .flatten()
            .copied()
            .filter(|id| seen.insert(*id))
            .collect(),
        unknown: ids.iter().any(Option::is_none),
    })
}

fn moves(
    wish: &Wish<'_>,
    campaign: &Campaign,
    from: &[MessageState],
    now: Timestamp,
) -> Result<Vec<Move>, IllegalTransition> {
    let stages = &campaign.approval_stages;
    let step = |from: &MessageState| {
        let to = from.apply(wish.command, stages)?;
        let passed = match wish.command {
            MessageCommand::Approve => from.stage().and_then(|stage| stages.name(stage)),
            MessageCommand::Generated
            | MessageCommand::GenerationFailed
            | MessageCommand::Retry
            | MessageCommand::Reject
            | MessageCommand::Edit
            | MessageCommand::Regenerate
            | MessageCommand::Publish => None,
        };
        let approval = passed.map(|stage| Approval {
            stage: stage.to_owned(),
            user_id: wish.caller.user_id,
            approved_at: now,
        });
        Ok(Move {
            from: *from,
            to,
            approval,
        })
    };
    from.iter().map(step).collect()
}
