//! Webhooks.

use async_trait::async_trait;

use crate::audit::AuditDraft;
use crate::error::StoreError;
use crate::idempotency::IdempotencyKey;
use crate::ids::{AccountId, WebhookId};
use crate::page::{CreatedKey, Page, PageRequest};
use crate::timestamp::Timestamp;
use crate::webhook::{Webhook, WebhookProgress};

/// A new webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// It gets events after this number, or after the newest if that is lower; `None` for those
    /// after the entry of its creation.
    pub after: Option<i64>,
    /// The most webhooks that the account may have, this one included.
    pub most: u32,
    /// The entry.
    pub audit: AuditDraft,
    /// The key that the webhook is kept under, as it is returned.
    pub key: Option<IdempotencyKey>,
}

/// What became of a new webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is there.
    Done(WebhookProgress),
    /// The account has as many webhooks as it may have. Nothing was written.
    TooMany,
}

/// A change of a webhook that a person makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeWebhook {
    /// The webhook as it is to be, with the version that the decision was made on: the store
    /// writes the next one. How far it is comes from the decision, too.
    pub changed: WebhookProgress,
    /// Whether it was disabled and is enabled now. What waits for it is due at once then, with all
    /// its attempts.
    pub enables: bool,
    /// The webhook gets all events after this number, or after the newest one if that is lower, also
    /// those that it has received. What waited before is dropped.
    pub after: Option<i64>,
    /// The entry; `None` when nothing changes, and the key alone is kept.
    pub audit: Option<AuditDraft>,
    /// The key that the webhook is kept under, as it is returned.
    pub key: Option<IdempotencyKey>,
}

/// The end of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteWebhook {
    /// The webhook as it was last, with the version that the decision was made on.
    pub last: WebhookProgress,
    /// When.
    pub at: Timestamp,
    /// The entry.
    pub audit: AuditDraft,
    /// The key that the webhook is kept under, as it is returned.
    pub key: Option<IdempotencyKey>,
}

/// Keeps webhooks. A method that writes does so in one transaction with its audit entry and what
/// is kept for the request's key.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait WebhookStore: Send + Sync {
    /// Writes a new webhook, unless the account has as many as it may have.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn create_webhook(&self, create: CreateWebhook) -> Result<Created, StoreError>;

    /// The webhook; `None` when there is none of this account.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_webhook(
        &self,
        account: AccountId,
        id: WebhookId,
    ) -> Result<Option<WebhookProgress>, StoreError>;

    /// The account's webhooks, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_webhooks(
        &self,
        account: AccountId,
        page: PageRequest<CreatedKey>,
    ) -> Result<Page<WebhookProgress, CreatedKey>, StoreError>;

    /// Writes a changed webhook; returns it as it is then.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it has another version by now, or is gone; others.
    async fn change_webhook(&self, change: ChangeWebhook) -> Result<WebhookProgress, StoreError>;

    /// Deletes a webhook: nothing of it can be read or sent from then on. What it had goes later,
    /// by [`sweep_deliveries`](super::DeliveryQueue::sweep_deliveries).
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it has another version by now, or is gone; others.
    async fn delete_webhook(&self, delete: DeleteWebhook) -> Result<(), StoreError>;
}
