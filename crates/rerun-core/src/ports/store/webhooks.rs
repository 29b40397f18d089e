//! Webhooks.

use async_trait::async_trait;

use crate::audit::AuditDraft;
use crate::error::StoreError;
use crate::idempotency::IdempotentResponse;
use crate::ids::{AccountId, WebhookId};
use crate::page::{CreatedKey, Page, PageRequest};
use crate::timestamp::Timestamp;
use crate::webhook::{Webhook, WebhookProgress};

/// A new webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// It gets events after this number; `None` for those after the entry of its creation.
    pub after: Option<i64>,
    /// The most webhooks that the account may have, this one included.
    pub most: u32,
    /// The entry.
    pub audit: AuditDraft,
    /// What is kept for the request's key.
    pub response: Option<IdempotentResponse>,
}

/// What became of a new webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is there.
    Done,
    /// The account has as many webhooks as it may have. Nothing was written.
    TooMany,
}

/// A change of a webhook that a person makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeWebhook {
    /// The webhook as it is to be, with the version that the decision was made on: the store
    /// writes the next one.
    pub webhook: Webhook,
    /// Whether it was disabled and is enabled now. What waits for it is due at once then, with all
    /// its attempts.
    pub enables: bool,
    /// It gets all events after this number, whatever it has got of them. What waits and is not
    /// after it is no longer sent.
    pub after: Option<i64>,
    /// The entry.
    pub audit: AuditDraft,
    /// What is kept for the request's key.
    pub response: Option<IdempotentResponse>,
}

/// The end of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteWebhook {
    /// The account.
    pub account_id: AccountId,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// When.
    pub at: Timestamp,
    /// The entry.
    pub audit: AuditDraft,
    /// What is kept for the request's key.
    pub response: Option<IdempotentResponse>,
}

/// Keeps webhooks. A method that writes does so in one transaction with its audit entry and the
/// response for the request's key.
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

    /// Writes a changed webhook.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it has another version by now, or is gone; others.
    async fn change_webhook(&self, change: ChangeWebhook) -> Result<(), StoreError>;

    /// Deletes a webhook: nothing of it can be read or sent from then on. What it had goes later,
    /// by [`DeliveryQueue::sweep`](super::DeliveryQueue::sweep).
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is gone; others.
    async fn delete_webhook(&self, delete: DeleteWebhook) -> Result<(), StoreError>;
}
