use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, json};

use super::idempotency::{Once, Replayable};
use super::{Host, Listed, PageQuery, listed};
use crate::actor::Actor;
use crate::audit::AuditAction;
use crate::delivery::{Delivery, DeliveryState, MOST_PENDING, Outcome, Parcel, SendError};
use crate::error::{Error, IllegalTransition, Invalid};
use crate::event::{Event, WebhookUpdate};
use crate::feed::PublicEvent;
use crate::idempotency::IdempotencyKey;
use crate::ids::{AccountId, AuditEntryId, CampaignId, LeaseId, WebhookId};
use crate::page::{CursorKey, CursorScope};
use crate::ports::{
    CampaignStore, ChangeWebhook, CreateWebhook, Created, DeleteWebhook, DeliveryQueue,
    EventSender, IdempotencyStore, Replay, ReplayDeliveries, WebhookSecrets, WebhookStore,
    WebhookTargets,
};
use crate::webhook::{
    DisabledReason, SecretNumber, Webhook, WebhookProgress, WebhookSecret, WebhookStatus,
};

/// What webhooks need from the world besides a store.
#[derive(Clone)]
pub struct WebhookPorts {
    /// Knows where webhooks may point.
    pub targets: Arc<dyn WebhookTargets>,
    /// Knows their secrets.
    pub secrets: Arc<dyn WebhookSecrets>,
    /// Sends tests.
    pub sender: Arc<dyn EventSender>,
}

impl Default for WebhookPorts {
    /// Nothing can be sent.
    fn default() -> Self {
        Self {
            targets: Arc::new(NoWebhooks),
            secrets: Arc::new(NoWebhooks),
            sender: Arc::new(NoWebhooks),
        }
    }
}

/// Refuses every webhook: for programs that send nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWebhooks;

#[async_trait]
impl WebhookTargets for NoWebhooks {
    async fn check(&self, _url: &str) -> Result<(), Invalid> {
        Err(Invalid::new("this server sends no webhooks"))
    }
}

impl WebhookSecrets for NoWebhooks {
    fn secret(
        &self,
        _account: AccountId,
        _webhook: WebhookId,
        _number: SecretNumber,
    ) -> Result<WebhookSecret, Invalid> {
        Err(Invalid::new("this server sends no webhooks"))
    }
}

#[async_trait]
impl EventSender for NoWebhooks {
    async fn send(&self, _parcel: &Parcel) -> Outcome {
        Outcome {
            response: Err(SendError::NotAllowed),
            duration: std::time::Duration::ZERO,
        }
    }
}

/// A webhook that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct NewWebhook {
    /// Where events are sent.
    pub url: String,
    /// The types of events that it gets; `None` for all.
    pub types: Option<Vec<AuditAction>>,
    /// Only events about this campaign.
    pub campaign_id: Option<CampaignId>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether an event waits until the one before is delivered or given up.
    pub ordered: bool,
    /// It gets events after this number; those from now on when not given.
    pub after_sequence: Option<i64>,
}

/// Changes to a webhook. A field that is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct WebhookChange {
    /// Where events are sent.
    pub url: Option<String>,
    /// The types of events that it gets; an empty list for all.
    pub types: Option<Vec<AuditAction>>,
    /// Only events about this campaign; `Some(None)` for all events.
    pub campaign_id: Option<Option<CampaignId>>,
    /// What it is for; an empty text for none.
    pub description: Option<String>,
    /// Whether an event waits until the one before is delivered or given up.
    pub ordered: Option<bool>,
    /// Whether it gets events.
    pub status: Option<WebhookStatus>,
    /// With `enabled`: it gets all events after this number.
    pub after_sequence: Option<i64>,
}

/// A webhook, and the secret that its deliveries are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithSecret {
    /// The webhook.
    pub webhook: WebhookProgress,
    /// The secret.
    pub secret: WebhookSecret,
}

/// What somebody wants to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayRequest {
    /// The first event.
    pub from_sequence: Option<i64>,
    /// The last event.
    pub to_sequence: Option<i64>,
    /// What was given up, in place of a range.
    pub failed: bool,
}

/// Webhooks: who gets events, and what became of them.
#[derive(Clone)]
pub struct Webhooks {
    store: Arc<dyn WebhookStore>,
    queue: Arc<dyn DeliveryQueue>,
    campaigns: Arc<dyn CampaignStore>,
    ports: WebhookPorts,
    once: Once,
    host: Host,
    most: u32,
    cursors: CursorKey,
}

/// Sorted, and each once.
fn distinct(mut types: Vec<AuditAction>) -> Vec<AuditAction> {
    types.sort_unstable_by_key(|action| action.as_str());
    types.dedup();
    types
}

fn not_negative(field: &str, number: Option<i64>) -> Result<(), Invalid> {
    if number.is_some_and(|number| number < 0) {
        return Err(Invalid::new(format!("`{field}` must be 0 or more")));
    }
    Ok(())
}

impl Webhooks {
    /// The most webhooks that an account may have unless something else is said.
    pub const MOST: u32 = 20;

    /// Over these ports.
    #[must_use]
    pub fn new(
        store: Arc<dyn WebhookStore>,
        queue: Arc<dyn DeliveryQueue>,
        campaigns: Arc<dyn CampaignStore>,
        responses: Arc<dyn IdempotencyStore>,
        ports: WebhookPorts,
        host: Host,
    ) -> Self {
        Self {
            store,
            queue,
            campaigns,
            ports,
            once: Once::new(responses, &host),
            host,
            most: Self::MOST,
            cursors: CursorKey::default(),
        }
    }

    /// Sets the most webhooks that an account may have.
    #[must_use]
    pub const fn at_most(mut self, most: u32) -> Self {
        self.most = most;
        self
    }

    /// Seals cursors with this key, in place of the one that everybody knows.
    #[must_use]
    pub const fn sealing_with(mut self, key: CursorKey) -> Self {
        self.cursors = key;
        self
    }

    /// Makes a webhook.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a field out of range; then [`Error::CampaignNotFound`]; then
    /// [`Error::Invalid`] for a URL that may not be called, without anything to derive secrets
    /// from, and when the account has as many webhooks as it may have;
    /// [`Error::IdempotencyKeyReused`]; [`Error::Store`].
    pub async fn create(
        &self,
        actor: &Actor,
        mut new: NewWebhook,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<WithSecret>, Error> {
        Webhook::check_url(&new.url)?;
        if let Some(description) = &new.description {
            Webhook::check_description(description)?;
        }
        not_negative("after_sequence", new.after_sequence)?;
        if new.types.as_ref().is_some_and(Vec::is_empty) {
            return Err(Invalid::new("`types` must name at least one type").into());
        }
        new.types = new.types.map(distinct);
        let made = self
            .once
            .run(actor, "webhook.create", idempotency_key, &new, |key| {
                self.make(actor, &new, key)
            })
            .await?;
        self.showing_secret(made)
    }

    async fn make(
        &self,
        actor: &Actor,
        new: &NewWebhook,
        key: Option<IdempotencyKey>,
    ) -> Result<WebhookProgress, Error> {
        let account_id = actor.account_id;
        self.check_campaign(account_id, new.campaign_id).await?;
        let id = WebhookId::new(self.host.ids.next());
        self.ports.secrets.secret(account_id, id, 1)?;
        self.ports.targets.check(&new.url).await?;
        let at = self.host.clock.now();
        let webhook = Webhook {
            account_id,
            id,
            url: new.url.clone(),
            types: new.types.clone(),
            campaign_id: new.campaign_id,
            description: new.description.clone(),
            ordered: new.ordered,
            disabled: None,
            failing_since: None,
            secret_number: 1,
            previous_secret_until: None,
            version: 1,
            created_at: at,
            updated_at: at,
        };
        let event = Event::WebhookCreated { webhook_id: id };
        let create = CreateWebhook {
            webhook,
            after: new.after_sequence,
            most: self.most,
            audit: self.host.author(actor, at).of(event),
            key,
        };
        match self.store.create_webhook(create).await? {
            Created::Done(progress) => Ok(progress),
            Created::TooMany => Err(Invalid::new(format!(
                "the account has {} webhooks, which is the most that it may have",
                self.most
            ))
            .into()),
        }
    }

    async fn check_campaign(
        &self,
        account: AccountId,
        campaign: Option<CampaignId>,
    ) -> Result<(), Error> {
        if let Some(campaign) = campaign {
            let found = self.campaigns.find_campaign(account, campaign).await?;
            found.ok_or(Error::CampaignNotFound)?;
        }
        Ok(())
    }

    /// Adds the secret that the webhook had then.
    fn showing_secret(
        &self,
        answered: Replayable<WebhookProgress>,
    ) -> Result<Replayable<WithSecret>, Error> {
        let webhook = &answered.outcome.webhook;
        let number = webhook.secret_number;
        let secrets = &self.ports.secrets;
        let secret = secrets.secret(webhook.account_id, webhook.id, number)?;
        Ok(answered.map(|webhook| WithSecret { webhook, secret }))
    }

    /// The webhook.
    ///
    /// # Errors
    /// [`Error::WebhookNotFound`], [`Error::Store`].
    pub async fn get(&self, actor: &Actor, id: WebhookId) -> Result<WebhookProgress, Error> {
        let found = self.store.find_webhook(actor.account_id, id).await?;
        found.ok_or(Error::WebhookNotFound)
    }

    /// The account's webhooks, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is not valid; [`Error::Store`].
    pub async fn list(
        &self,
        actor: &Actor,
        page: &PageQuery,
    ) -> Result<Listed<WebhookProgress>, Error> {
        let scope = CursorScope {
            key: self.cursors,
            list: "webhooks",
            account: actor.account_id,
            narrowed_by: "",
        };
        let page = page.resolve(scope)?;
        let page = self.store.list_webhooks(actor.account_id, page).await?;
        listed(page, scope)
    }

    /// Changes a webhook. A change that changes nothing has no audit entry.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a field out of range, for nothing to change, and for an
    /// `after_sequence` without `enabled`; then [`Error::WebhookNotFound`]; then
    /// [`Error::CampaignNotFound`]; then [`Error::Invalid`] for a URL that may not be called;
    /// [`Error::IdempotencyKeyReused`]; [`Error::Store`].
    pub async fn update(
        &self,
        actor: &Actor,
        id: WebhookId,
        mut change: WebhookChange,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<WebhookProgress>, Error> {
        if change == WebhookChange::default() {
            return Err(Invalid::new("the request names nothing to change").into());
        }
        if let Some(url) = &change.url {
            Webhook::check_url(url)?;
        }
        if let Some(description) = &change.description {
            Webhook::check_description(description)?;
        }
        not_negative("after_sequence", change.after_sequence)?;
        if change.after_sequence.is_some() && change.status != Some(WebhookStatus::Enabled) {
            return Err(Invalid::new(
                "`after_sequence` can be given with the status `enabled` only",
            )
            .into());
        }
        change.types = change.types.map(distinct);
        let request = (id, &change);
        self.once
            .run(actor, "webhook.update", idempotency_key, &request, |key| {
                self.try_update(actor, id, &change, key)
            })
            .await
    }

    async fn try_update(
        &self,
        actor: &Actor,
        id: WebhookId,
        change: &WebhookChange,
        key: Option<IdempotencyKey>,
    ) -> Result<WebhookProgress, Error> {
        let before = self.get(actor, id).await?;
        let campaign = change.campaign_id.flatten();
        if campaign != before.webhook.campaign_id {
            self.check_campaign(actor.account_id, campaign).await?;
        }
        if let Some(url) = &change.url {
            self.ports.targets.check(url).await?;
        }
        let at = self.host.clock.now();
        let mut changed = before.clone();
        let names = change.apply(&mut changed.webhook);
        let changes_nothing = names.is_empty() && change.after_sequence.is_none();
        if changes_nothing && key.is_none() {
            return Ok(before);
        }
        let event = Event::WebhookUpdated(WebhookUpdate {
            webhook_id: id,
            status: names.contains(&"status").then(|| changed.webhook.status()),
            changed: names,
            after_sequence: change.after_sequence,
        });
        let audit = (!changes_nothing).then(|| self.host.author(actor, at).of(event));
        if audit.is_some() {
            changed.webhook.updated_at = at;
        }
        let write = ChangeWebhook {
            enables: changed.webhook.disabled.is_none() && before.webhook.disabled.is_some(),
            changed,
            after: change.after_sequence,
            audit,
            key,
        };
        Ok(self.store.change_webhook(write).await?)
    }

    /// Deletes a webhook; returns it as it was last.
    ///
    /// # Errors
    /// [`Error::WebhookNotFound`], [`Error::IdempotencyKeyReused`], [`Error::Store`].
    pub async fn delete(
        &self,
        actor: &Actor,
        id: WebhookId,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<WebhookProgress>, Error> {
        self.once
            .run(actor, "webhook.delete", idempotency_key, &id, |key| {
                self.try_delete(actor, id, key)
            })
            .await
    }

    async fn try_delete(
        &self,
        actor: &Actor,
        id: WebhookId,
        key: Option<IdempotencyKey>,
    ) -> Result<WebhookProgress, Error> {
        let last = self.get(actor, id).await?;
        let at = self.host.clock.now();
        let event = Event::WebhookDeleted { webhook_id: id };
        let delete = DeleteWebhook {
            last: last.clone(),
            at,
            audit: self.host.author(actor, at).of(event),
            key,
        };
        self.store.delete_webhook(delete).await?;
        Ok(last)
    }

    /// Gives a webhook another secret. The previous one signs too, for this many seconds.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a time out of range, and without anything to derive secrets from;
    /// [`Error::WebhookNotFound`]; [`Error::IdempotencyKeyReused`]; [`Error::Store`].
    pub async fn rotate_secret(
        &self,
        actor: &Actor,
        id: WebhookId,
        keep_previous_seconds: Option<i64>,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<WithSecret>, Error> {
        let seconds = keep_previous_seconds.unwrap_or(Webhook::DEFAULT_KEEP_SECONDS);
        let kept = u32::try_from(seconds)
            .ok()
            .filter(|_| seconds <= Webhook::MAX_KEEP_SECONDS)
            .ok_or_else(|| {
                Invalid::new(format!(
                    "`keep_previous_seconds` must be from 0 to {}, not {seconds}",
                    Webhook::MAX_KEEP_SECONDS
                ))
            })?;
        let endpoint = "webhook.rotate_secret";
        let rotated = self
            .once
            .run(actor, endpoint, idempotency_key, &(id, kept), |key| {
                self.try_rotate(actor, id, kept, key)
            })
            .await?;
        self.showing_secret(rotated)
    }

    async fn try_rotate(
        &self,
        actor: &Actor,
        id: WebhookId,
        keep_previous_seconds: u32,
        key: Option<IdempotencyKey>,
    ) -> Result<WebhookProgress, Error> {
        let mut changed = self.get(actor, id).await?;
        let at = self.host.clock.now();
        let kept = std::time::Duration::from_secs(keep_previous_seconds.into());
        let webhook = &mut changed.webhook;
        webhook.secret_number = webhook.secret_number.saturating_add(1);
        webhook.previous_secret_until = (!kept.is_zero()).then(|| at + kept);
        webhook.updated_at = at;
        let secrets = &self.ports.secrets;
        secrets.secret(actor.account_id, id, webhook.secret_number)?;
        let event = Event::WebhookSecretRotated {
            webhook_id: id,
            keep_previous_seconds,
        };
        let change = ChangeWebhook {
            changed,
            enables: false,
            after: None,
            audit: Some(self.host.author(actor, at).of(event)),
            key,
        };
        Ok(self.store.change_webhook(change).await?)
    }

    /// Sends a `webhook.test` now, once. It is not part of the log: its id is new, and its number is 0.
    ///
    /// # Errors
    /// [`Error::WebhookNotFound`]; [`Error::Invalid`] without anything to derive secrets from;
    /// [`Error::Store`].
    pub async fn test(&self, actor: &Actor, id: WebhookId) -> Result<Outcome, Error> {
        let webhook = self.get(actor, id).await?.webhook;
        let secrets = &self.ports.secrets;
        secrets.secret(actor.account_id, id, webhook.secret_number)?;
        let now = self.host.clock.now();
        let mut data = Map::new();
        data.insert("webhook_id".to_owned(), json!(id));
        let parcel = Parcel {
            account_id: actor.account_id,
            webhook_id: id,
            lease: LeaseId::new(self.host.ids.next()),
            secrets: webhook.signing(now),
            url: webhook.url,
            event: PublicEvent {
                id: AuditEntryId::new(self.host.ids.next()),
                event_type: "webhook.test".to_owned(),
                timestamp: now,
                sequence: 0,
                account_id: actor.account_id,
                data,
            },
            attempt: 1,
        };
        Ok(self.ports.sender.send(&parcel).await)
    }

    /// The webhook's deliveries, newest event first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is not valid; [`Error::WebhookNotFound`];
    /// [`Error::Store`].
    pub async fn deliveries(
        &self,
        actor: &Actor,
        id: WebhookId,
        state: Option<DeliveryState>,
        page: &PageQuery,
    ) -> Result<Listed<Delivery>, Error> {
        let narrowed_by = format!("{id} {}", state.map_or("", DeliveryState::as_str));
        let scope = CursorScope {
            key: self.cursors,
            list: "deliveries",
            account: actor.account_id,
            narrowed_by: &narrowed_by,
        };
        let page = page.resolve(scope)?;
        let webhook = self.get(actor, id).await?.webhook;
        let account = actor.account_id;
        let mut page = self.queue.list_deliveries(account, id, state, page).await?;
        if webhook.disabled.is_some() {
            for delivery in &mut page.items {
                delivery.next_attempt_at = None;
            }
        }
        listed(page, scope)
    }

    /// Sends events again, with the ids that they have; returns how many are queued.
    ///
    /// # Errors
    /// [`Error::MissingFields`] when it is not said which; [`Error::Invalid`] for a range that ends
    /// before it begins, for a range and `failed`, and for more than [`MOST_PENDING`] events;
    /// [`Error::WebhookNotFound`]; [`Error::IllegalTransition`] for a disabled webhook;
    /// [`Error::IdempotencyKeyReused`]; [`Error::Store`].
    pub async fn replay(
        &self,
        actor: &Actor,
        id: WebhookId,
        request: ReplayRequest,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<u32>, Error> {
        let what = request.checked()?;
        let fingerprint = match what {
            Replay::Range { from, to } => (id, Some((from, to))),
            Replay::Failed => (id, None),
        };
        let endpoint = "webhook.replay";
        self.once
            .run(actor, endpoint, idempotency_key, &fingerprint, |key| {
                self.try_replay(actor, id, what, key)
            })
            .await
    }

    async fn try_replay(
        &self,
        actor: &Actor,
        id: WebhookId,
        what: Replay,
        key: Option<IdempotencyKey>,
    ) -> Result<u32, Error> {
        if self.get(actor, id).await?.webhook.disabled.is_some() {
            return Err(IllegalTransition::DisabledWebhook.into());
        }
        let replay = ReplayDeliveries {
            account_id: actor.account_id,
            webhook_id: id,
            what,
            most: MOST_PENDING,
            now: self.host.clock.now(),
            key,
        };
        let queued = self.queue.replay_deliveries(replay).await?;
        let too_many = || {
            Invalid::new(format!(
                "a replay sends at most {MOST_PENDING} events: ask for a smaller range"
            ))
        };
        Ok(queued.ok_or_else(too_many)?)
    }
}

impl ReplayRequest {
    fn checked(self) -> Result<Replay, Error> {
        let Self {
            from_sequence,
            to_sequence,
            failed,
        } = self;
        match (from_sequence, to_sequence) {
            (None, None) if failed => Ok(Replay::Failed),
            (_, _) if failed => Err(Invalid::new("give a range or `failed`, not both").into()),
            (Some(from), Some(to)) => {
                not_negative("from_sequence", Some(from))?;
                if to < from {
                    return Err(Invalid::new(
                        "`to_sequence` must not be less than `from_sequence`",
                    )
                    .into());
                }
                Ok(Replay::Range { from, to })
            }
            (from, to) => {
                let missing = [("from_sequence", from), ("to_sequence", to)];
                let names = missing.iter().filter(|(_, value)| value.is_none());
                Err(Error::MissingFields(names.map(|(name, _)| *name).collect()))
            }
        }
    }
}

impl WebhookChange {
    /// Changes the webhook; returns the names of the fields that are different now.
    fn apply(&self, webhook: &mut Webhook) -> Vec<&'static str> {
        let before = webhook.clone();
        if let Some(url) = &self.url {
            webhook.url.clone_from(url);
        }
        if let Some(types) = &self.types {
            webhook.types = (!types.is_empty()).then(|| types.clone());
        }
        if let Some(campaign) = self.campaign_id {
            webhook.campaign_id = campaign;
        }
        if let Some(description) = &self.description {
            webhook.description = (!description.is_empty()).then(|| description.clone());
        }
        if let Some(ordered) = self.ordered {
            webhook.ordered = ordered;
        }
        match self.status {
            Some(WebhookStatus::Enabled) if before.disabled.is_some() => {
                webhook.disabled = None;
                webhook.failing_since = None;
            }
            Some(WebhookStatus::Disabled) if before.disabled.is_none() => {
                webhook.disabled = Some(DisabledReason::Requested);
            }
            Some(WebhookStatus::Enabled | WebhookStatus::Disabled) | None => {}
        }
        let changed = [
            ("url", webhook.url != before.url),
            ("types", webhook.types != before.types),
            ("campaign_id", webhook.campaign_id != before.campaign_id),
            ("description", webhook.description != before.description),
            ("ordered", webhook.ordered != before.ordered),
            ("status", webhook.status() != before.status()),
        ];
        let names = changed.into_iter();
        names
            .filter_map(|(name, changed)| changed.then_some(name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::timestamp::Timestamp;

    fn webhook(disabled: Option<DisabledReason>) -> Webhook {
        let at = Timestamp::UNIX_EPOCH;
        Webhook {
            account_id: AccountId::new(Uuid::nil()),
            id: WebhookId::new(Uuid::nil()),
            url: "https://example.com/hook".into(),
            types: None,
            campaign_id: None,
            description: None,
            ordered: false,
            disabled,
            failing_since: Some(at),
            secret_number: 1,
            previous_secret_until: None,
            version: 1,
            created_at: at,
            updated_at: at,
        }
    }

    #[test]
    fn a_status_that_a_webhook_has_already_changes_nothing() {
        let enabled = (None, WebhookStatus::Enabled);
        let failing = (Some(DisabledReason::Failing), WebhookStatus::Disabled);
        for (disabled, status) in [enabled, failing] {
            let change = WebhookChange {
                status: Some(status),
                ..WebhookChange::default()
            };
            let mut changed = webhook(disabled);
            assert_eq!(change.apply(&mut changed), [""; 0]);
            assert_eq!(changed, webhook(disabled));
        }
    }

    #[tokio::test]
    async fn without_webhooks_no_target_is_taken() {
        assert!(NoWebhooks.check("https://example.com").await.is_err());
    }
}
