use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use serde::Serialize;

use super::idempotency::{Once, Replayable};
use super::{Host, MAX_REASON_LENGTH, Settings};
use crate::actor::Actor;
use crate::campaign::ApprovalStages;
pub use crate::change::MessagesChanged;
use crate::change::{Edited, MessageChange, NewContent, Patch, Selection};
use crate::error::{Error, IllegalTransition, Invalid, StoreError};
use crate::ids::{AccountId, CampaignId, ContentId, MessageId, RunNumber};
use crate::message::{
    Approvals, Content, Message, MessageCommand, MessageParts, MessageState, Provenance,
    ReusedFrom, Source,
};
use crate::ports::{
    CampaignContext, CampaignStore, ChangeOutcome, HistoryStore, IdempotencyKey, IdempotencyStore,
    ReviewStore, WantedGroup,
};
use crate::review::{MessageRef, Review, SeenContents};
use crate::text;

/// A reviewer's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ReviewedMessages {
    /// These. An id that cannot name a message is `None`.
    Named(Vec<Option<MessageId>>),
    /// These, each only while it has the content that is named.
    Items(Vec<Item>),
    /// Every message of the current run that waits for a reviewer. When none waits, nothing changes,
    /// and the count of reviewed messages is 0.
    AllPending,
}

/// A message that a request names, with the content that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The message; `None` when the given id cannot name one.
    pub message_id: Option<MessageId>,
    /// The content; `None` when the given id cannot name one.
    pub content_id: Option<ContentId>,
}

/// A message to edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Target {
    /// This one, whatever content it has. An id that cannot name a message is `None`.
    Any(Option<MessageId>),
    /// This one, only while it has the content that is named.
    Seen(Item),
}

impl From<Option<MessageId>> for Target {
    fn from(message: Option<MessageId>) -> Self {
        Self::Any(message)
    }
}

impl From<Item> for Target {
    fn from(item: Item) -> Self {
        Self::Seen(item)
    }
}

impl Target {
    const fn message_id(self) -> Option<MessageId> {
        match self {
            Self::Any(message) => message,
            Self::Seen(item) => item.message_id,
        }
    }
}

/// Review, edits, publication.
#[derive(Clone)]
pub struct Reviews {
    store: Arc<dyn ReviewStore>,
    campaigns: Arc<dyn CampaignStore>,
    history: Arc<dyn HistoryStore>,
    once: Once,
    host: Host,
    settings: Settings,
}

/// What a decision is made on, and what it leads to apart from the messages it is about.
struct DecisionRequest<'a> {
    actor: &'a Actor,
    campaign: CampaignId,
    command: MessageCommand,
    /// The only stage whose messages it is about.
    stage: Option<&'a str>,
}

impl Reviews {
    /// The most messages that one request may name.
    pub const MAX_NAMED: usize = 10_000;

    /// Over these ports.
    #[must_use]
    pub fn new(
        store: Arc<dyn ReviewStore>,
        campaigns: Arc<dyn CampaignStore>,
        history: Arc<dyn HistoryStore>,
        responses: Arc<dyn IdempotencyStore>,
        host: Host,
        settings: Settings,
    ) -> Self {
        Self {
            store,
            campaigns,
            history,
            once: Once::new(responses, &host),
            host,
            settings,
        }
    }

    /// Approves or rejects messages of the current run: all of them, or none when one cannot be.
    /// With `stage`, only messages that wait at that stage: another one that is named is refused.
    ///
    /// # Errors
    /// [`Error::Invalid`] for too many messages, a message with two contents, too long a reason or
    /// a stage that the campaign does not have, and with [`Error::IdempotencyKeyReused`] for the
    /// key; [`Error::CampaignNotFound`]; [`Error::IllegalTransition`]; [`Error::MessageNotFound`];
    /// [`Error::ContentChanged`] for an item; [`Error::StageNotAllowed`] for a named message;
    /// [`Error::UnfilledPlaceholder`] for an approval; [`Error::Store`].
    pub async fn review(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        decision: &Decision,
        messages: &ReviewedMessages,
        stage: Option<&str>,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<MessagesChanged>, Error> {
        let (command, patch) = match decision {
            Decision::Approve => (MessageCommand::Approve, Patch::default()),
            Decision::Reject { reason } => {
                let reason = text::name("reason", reason, MAX_REASON_LENGTH)?;
                (MessageCommand::Reject, Patch::rejecting(reason))
            }
        };
        let wanted = DecisionRequest {
            actor,
            campaign,
            command,
            stage,
        };
        let named = match messages {
            ReviewedMessages::Named(ids) => Some(distinct(ids)?),
            ReviewedMessages::Items(items) => Some(distinct_items(items)?),
            ReviewedMessages::AllPending => None,
        };
        let body = (campaign, decision, messages, stage);
        self.once
            .run(actor, "messages.review", idempotency_key, &body, |key| {
                self.change(&wanted, named.as_ref(), patch.clone(), key)
            })
            .await
    }

    /// Replaces the content of one message of the current run; it goes back to the first stage.
    /// With an [`Item`], only while the message has the content that is named. Returns the message as the edit left it, and the campaign's stages at that time.
    ///
    /// # Errors
    /// [`Error::Invalid`] for content that breaks a rule, and with
    /// [`Error::IdempotencyKeyReused`] for the key; [`Error::CampaignNotFound`];
    /// [`Error::MessageNotFound`], also for a repeated edit of a message that is no longer there;
    /// [`Error::ContentChanged`]; [`Error::IllegalTransition`]; [`Error::Store`].
    pub async fn edit(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        message: impl Into<Target>,
        content: Content,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<(ApprovalStages, Message)>, Error> {
        content.check()?;
        let message = message.into();
        let body = (campaign, message, &content);
        let edited = self
            .once
            .run(actor, "messages.edit", idempotency_key, &body, |key| {
                self.rewrite(actor, campaign, message, &content, key)
            })
            .await?;
        let id = message.message_id().ok_or(Error::MessageNotFound)?;
        let found = self
            .history
            .find_message(actor.account_id, campaign, id)
            .await?;
        let found = found.ok_or(Error::MessageNotFound)?;
        edited.try_map(|edited| as_edited(found, content, edited))
    }

    async fn rewrite(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        message: Target,
        content: &Content,
        key: Option<IdempotencyKey>,
    ) -> Result<Edited, Error> {
        let wanted = DecisionRequest {
            actor,
            campaign,
            command: MessageCommand::Edit,
            stage: None,
        };
        let named = match message {
            Target::Any(message) => distinct(&[message])?,
            Target::Seen(item) => distinct_items(&[item])?,
        };
        let content_id = ContentId::new(self.host.ids.next());
        let patch = Patch::editing(NewContent {
            id: content_id,
            content: content.clone(),
            author: actor.required_person("edit a message")?.user_id,
        });
        let origin = patch.origin.ok_or(Error::MessageNotFound)?;
        let (change, run) = self.decide(&wanted, Some(&named), patch, key).await?;
        let edited = change.edited(run, origin);
        match self.store.change_messages(change).await? {
            ChangeOutcome::Changed { .. } => Ok(edited),
            ChangeOutcome::Unfilled(unfilled) => Err(unfilled.into()),
        }
    }

    /// Has a message of the current run take the content of the approved message that is suggested
    /// for it; it goes back to the first stage. Returns the message as that left it, and the
    /// campaign's stages at that time. `content` is the content that the message has until then.
    ///
    /// # Errors
    /// In this order: [`Error::Invalid`] and [`Error::IdempotencyKeyReused`] for the key;
    /// [`Error::CampaignNotFound`]; [`Error::MessageNotFound`]; [`Error::IllegalTransition`] for a
    /// message of a past run; [`Error::ContentChanged`]; [`Error::IllegalTransition`] unless the
    /// message waits for a reviewer, when nothing is suggested, and when the suggested text has
    /// values of the other segment; [`Error::Store`].
    pub async fn adopt(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        message: Option<MessageId>,
        content: Option<ContentId>,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<(ApprovalStages, Message)>, Error> {
        let body = (campaign, message, content);
        let adopted = self
            .once
            .run(actor, "messages.adopt", idempotency_key, &body, |key| {
                self.take_suggestion(actor, campaign, message, content, key)
            })
            .await?;
        let id = message.ok_or(Error::MessageNotFound)?;
        let origin = adopted.outcome.reused_from.ok_or(Error::MessageNotFound)?;
        let found = self.find(actor, campaign, id).await?;
        // A message of a past run never changes.
        let origin = self.find(actor, campaign, origin.message_id).await?;
        adopted.try_map(|adopted| as_adopted(found, origin, adopted))
    }

    async fn find(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        message: MessageId,
    ) -> Result<Message, Error> {
        let found = self
            .history
            .find_message(actor.account_id, campaign, message)
            .await?;
        found.ok_or(Error::MessageNotFound)
    }

    async fn take_suggestion(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        message: Option<MessageId>,
        content: Option<ContentId>,
        key: Option<IdempotencyKey>,
    ) -> Result<Edited, Error> {
        let wanted = DecisionRequest {
            actor,
            campaign,
            command: MessageCommand::Adopt,
            stage: None,
        };
        let named = distinct_items(&[Item {
            message_id: message,
            content_id: content,
        }])?;
        // The campaign is read first: what is read of it after that is as it was then, or the store
        // refuses the change.
        let (mut change, run) = self
            .decide(&wanted, Some(&named), Patch::default(), key)
            .await?;
        let id = message.ok_or(Error::MessageNotFound)?;
        let found = self.find(actor, campaign, id).await?;
        let suggestion = found
            .suggestion
            .as_ref()
            .ok_or(IllegalTransition::NoSuggestion)?;
        let suggestion = suggestion.read()?;
        if !suggestion.mentions.is_empty() {
            let values = suggestion.mentions;
            return Err(IllegalTransition::Mentions { values }.into());
        }
        let from = ReusedFrom {
            message_id: suggestion.message_id,
            run_number: suggestion.run_number,
        };
        let account = actor.account_id;
        let refs = self
            .store
            .message_refs(account, campaign, vec![from.message_id]);
        let author = refs.await?.first().and_then(|found| found.edited_by);
        let origin = self.find(actor, campaign, from.message_id).await?;
        let content = origin.content_id.ok_or(IllegalTransition::NoSuggestion)?;
        change.patch = Patch::adopting(content, author, from);
        let origin = change.patch.origin.ok_or(IllegalTransition::NoSuggestion)?;
        let adopted = change.edited(run, origin);
        match self.store.change_messages(change).await? {
            ChangeOutcome::Changed { .. } => Ok(adopted),
            ChangeOutcome::Unfilled(unfilled) => Err(unfilled.into()),
        }
    }

    /// Queues messages of the current run to be generated again.
    ///
    /// # Errors
    /// [`Error::Invalid`] for too many messages, and with [`Error::IdempotencyKeyReused`] for the
    /// key; [`Error::CampaignNotFound`]; [`Error::MessageNotFound`];
    /// [`Error::IllegalTransition`]; [`Error::Store`].
    pub async fn regenerate(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        messages: &[Option<MessageId>],
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<MessagesChanged>, Error> {
        let wanted = DecisionRequest {
            actor,
            campaign,
            command: MessageCommand::Regenerate,
            stage: None,
        };
        let named = distinct(messages)?;
        let body = (campaign, messages);
        self.once
            .run(
                actor,
                "messages.regenerate",
                idempotency_key,
                &body,
                |key| self.change(&wanted, Some(&named), Patch::queueing(), key),
            )
            .await
    }

    /// Queues the messages of the current run that could not be generated.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::IdempotencyKeyReused`] for the key;
    /// [`Error::CampaignNotFound`]; [`Error::IllegalTransition`]; [`Error::Store`].
    pub async fn retry(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<MessagesChanged>, Error> {
        let wanted = DecisionRequest {
            actor,
            campaign,
            command: MessageCommand::Retry,
            stage: None,
        };
        self.once
            .run(actor, "rerun.retry", idempotency_key, &campaign, |key| {
                self.change(&wanted, None, Patch::queueing(), key)
            })
            .await
    }

    /// Publishes the campaign with every message of its current run.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::IdempotencyKeyReused`] for the key;
    /// [`Error::CampaignNotFound`]; [`Error::IllegalTransition`]; [`Error::UnfilledPlaceholder`] for
    /// a message that was approved before placeholders were looked for; [`Error::Store`].
    pub async fn publish(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<MessagesChanged>, Error> {
        let wanted = DecisionRequest {
            actor,
            campaign,
            command: MessageCommand::Publish,
            stage: None,
        };
        self.once
            .run(
                actor,
                "campaign.publish",
                idempotency_key,
                &campaign,
                |key| self.change(&wanted, None, Patch::default(), key),
            )
            .await
    }

    /// Decides on fresh state, and has the decision made true.
    async fn change(
        &self,
        wanted: &DecisionRequest<'_>,
        named: Option<&Named>,
        patch: Patch,
        key: Option<IdempotencyKey>,
    ) -> Result<MessagesChanged, Error> {
        let (change, run_number) = self.decide(wanted, named, patch, key).await?;
        let campaign_id = change.campaign.id;
        match self.store.change_messages(change).await? {
            ChangeOutcome::Changed {
                messages,
                campaign_status,
            } => Ok(MessagesChanged {
                campaign_id,
                run_number,
                campaign_status,
                messages,
            }),
            ChangeOutcome::Unfilled(unfilled) => Err(unfilled.into()),
        }
    }

    /// The change that a request comes to on fresh state, and the run that it is about.
    async fn decide(
        &self,
        wanted: &DecisionRequest<'_>,
        named: Option<&Named>,
        patch: Patch,
        key: Option<IdempotencyKey>,
    ) -> Result<(MessageChange, RunNumber), Error> {
        let account = wanted.actor.account_id;
        let context = self
            .campaigns
            .campaign_context(account, wanted.campaign, WantedGroup::None)
            .await?;
        let CampaignContext {
            campaign,
            current_run,
            ..
        } = context.ok_or(Error::CampaignNotFound)?;
        let stage = wanted
            .stage
            .map(|name| campaign.approval_stages.number("stage", name))
            .transpose()?;
        campaign.check(wanted.command.action())?;
        let run = current_run.ok_or_else(|| {
            StoreError::corrupt(format!("campaigns: `{}` without a run", campaign.status))
        })?;
        let now = self.host.clock.now();
        let review = Review {
            command: wanted.command,
            stages: &campaign.approval_stages,
            stage,
            person: wanted.actor.as_person(),
            four_eyes: self.settings.four_eyes,
            distinct_reviewers: campaign.distinct_reviewers,
        };
        let (selection, states) = match named {
            None => {
                if matches!(
                    wanted.command,
                    MessageCommand::Approve | MessageCommand::Reject
                ) {
                    campaign.check_review_of_all(wanted.command.action())?;
                }
                let every = Selection::Every {
                    not_edited_by: review.not_edited_by(),
                    not_approved_by: review.not_approved_by(),
                };
                (every, review.all_states())
            }
            Some(named) => {
                let messages = self.named(account, campaign.id, named).await?;
                let states = review.states_of(run.number, &messages, &named.contents)?;
                (Selection::Ids(named.ids.clone()), states)
            }
        };
        let moves = review.moves(&states, now)?;
        let change = MessageChange {
            moves,
            command: wanted.command,
            selection,
            patch,
            author: self.host.author(wanted.actor, now),
            key,
            campaign,
            now,
        };
        Ok((change, run.number))
    }

    /// The named messages, each of which must be there.
    async fn named(
        &self,
        account: AccountId,
        campaign: CampaignId,
        named: &Named,
    ) -> Result<Vec<MessageRef>, Error> {
        let found = self
            .store
            .message_refs(account, campaign, named.ids.clone())
            .await?;
        if named.unknown || found.len() != named.ids.len() {
            return Err(Error::MessageNotFound);
        }
        Ok(found)
    }
}

struct Named {
    ids: Vec<MessageId>,
    /// Whether one of the given ids cannot name a message.
    unknown: bool,
    /// The contents that they must have.
    contents: SeenContents,
}

fn distinct_items(items: &[Item]) -> Result<Named, Invalid> {
    if items.len() > Reviews::MAX_NAMED {
        return Err(too_many("items", items.len()));
    }
    let mut contents = SeenContents::new();
    for item in items {
        let Some(message) = item.message_id else {
            continue;
        };
        match contents.entry(message) {
            Entry::Vacant(entry) => {
                entry.insert(item.content_id);
            }
            Entry::Occupied(seen) if *seen.get() == item.content_id => {}
            Entry::Occupied(_) => {
                return Err(Invalid::new(format!(
                    "`items` names the message {message} twice, with different contents"
                )));
            }
        }
    }
    let ids: Vec<_> = items.iter().map(|item| item.message_id).collect();
    Ok(Named {
        contents,
        ..distinct(&ids)?
    })
}

fn too_many(field: &str, given: usize) -> Invalid {
    Invalid::new(format!(
        "`{field}` may name at most {} messages, not {given}",
        Reviews::MAX_NAMED
    ))
}

fn distinct(ids: &[Option<MessageId>]) -> Result<Named, Invalid> {
    if ids.len() > Reviews::MAX_NAMED {
        return Err(too_many("message_ids", ids.len()));
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
        contents: SeenContents::new(),
    })
}

/// The message as the adoption left it, whatever it is now.
fn as_adopted(
    message: Message,
    origin: Message,
    adopted: Edited,
) -> Result<(ApprovalStages, Message), StoreError> {
    let (message, origin) = (message.into_parts(), origin.into_parts());
    let made_in = origin.provenance.map(|provenance| provenance.run_number);
    let message = Message::from_parts(MessageParts {
        content_id: Some(adopted.content_id),
        content: origin.content,
        content_model: origin.content_model,
        state: MessageState::PendingReview { stage: 0 },
        source: Source::Suggested,
        reused_from: adopted.reused_from,
        provenance: made_in.map(|run_number| Provenance {
            run_number,
            approvals: Approvals::from_stored("[]".to_owned()),
        }),
        archived_at: None,
        rejection_reason: None,
        error: None,
        updated_at: adopted.at,
        ..message
    })?;
    Ok((adopted.approval_stages, message))
}

/// The message as the edit left it, whatever it is now. What an edit does not touch (segment, time
/// of making) never changes; the text is in the request; the rest follows from the transition.
fn as_edited(
    message: Message,
    content: Content,
    edited: Edited,
) -> Result<(ApprovalStages, Message), StoreError> {
    let message = message.into_parts();
    let message = Message::from_parts(MessageParts {
        content_id: Some(edited.content_id),
        content: Some(content),
        content_model: None,
        state: MessageState::PendingReview { stage: 0 },
        source: Source::Edited,
        reused_from: None,
        provenance: Some(Provenance {
            run_number: edited.run_number,
            approvals: Approvals::from_stored("[]".to_owned()),
        }),
        archived_at: None,
        rejection_reason: None,
        error: None,
        updated_at: edited.at,
        ..message
    })?;
    Ok((edited.approval_stages, message))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::segment::SegmentBy;
    use crate::timestamp::Timestamp;

    /// A message whose generation failed, of a run that is archived.
    fn failed() -> Message {
        let segment_by = SegmentBy::new(&["country"]).unwrap();
        let (id, at) = (MessageId::new(Uuid::nil()), Timestamp::UNIX_EPOCH);
        let segment = segment_by.segment(|_| Some("DE"), 1);
        let parts = MessageParts {
            state: MessageState::GenerationFailed,
            archived_at: Some(at),
            error: Some("no".into()),
            ..MessageParts::generating(id, RunNumber::FIRST, 1, segment, at)
        };
        Message::from_parts(parts).unwrap()
    }

    #[test]
    fn what_a_message_was_is_told_whatever_became_of_it() {
        let content = Content {
            subject: "s".into(),
            body: "b".into(),
        };
        let edited = |reused_from| Edited {
            campaign_id: None,
            run_number: RunNumber::FIRST,
            content_id: ContentId::new(Uuid::nil()),
            reused_from,
            approval_stages: ApprovalStages::default(),
            at: Timestamp::UNIX_EPOCH,
        };
        let (_, by_hand) = as_edited(failed(), content.clone(), edited(None)).unwrap();
        let (_, origin) = as_edited(failed(), content.clone(), edited(None)).unwrap();
        let origin = origin.with(|origin| origin.content_model = Some("m".to_owned()));
        let origin = origin.unwrap();
        let of_a_person = as_edited(origin.clone(), content.clone(), edited(None));
        assert_eq!(of_a_person.unwrap().1.content_model, None);
        let from = ReusedFrom {
            message_id: MessageId::new(Uuid::from_u128(7)),
            run_number: RunNumber::FIRST,
        };
        let (_, adopted) = as_adopted(failed(), origin, edited(Some(from))).unwrap();
        assert_eq!(adopted.content_model.as_deref(), Some("m"));
        for message in [by_hand, adopted] {
            assert_eq!(message.content.as_ref(), Some(&content));
            assert_eq!((message.archived_at, &message.error), (None, &None));
        }
    }

    #[test]
    fn a_request_names_no_more_messages_than_allowed() {
        for (named, allowed) in [(0, true), (1, true), (2, false)] {
            let number = Reviews::MAX_NAMED - 1 + named;
            let ids = (0..number).map(|n| {
                let n = u128::try_from(n).unwrap();
                Some(MessageId::new(Uuid::from_u128(n)))
            });
            let ids: Vec<_> = ids.collect();
            assert_eq!(distinct(&ids).is_ok(), allowed, "{number} ids");
            let item = |id: &Option<MessageId>| Item {
                message_id: *id,
                content_id: None,
            };
            let items: Vec<Item> = ids.iter().map(item).collect();
            assert_eq!(distinct_items(&items).is_ok(), allowed, "{number} items");
        }
    }
}
