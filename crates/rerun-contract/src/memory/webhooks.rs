//! Webhooks.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::delivery::{DeliveryState, MOST_PENDING};
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, WebhookId};
use rerun_core::page::{CreatedKey, Page, PageRequest};
use rerun_core::ports::{
    ChangeWebhook, CreateWebhook, Created, DeleteWebhook, IdempotencyKey, WebhookStore,
};
use rerun_core::webhook::WebhookProgress;

use super::{Account, Hook, MemoryStore, newest_first};

impl Hook {
    pub(super) fn progress(&self) -> WebhookProgress {
        let pending = self
            .queue
            .iter()
            .filter(|(_, queued)| queued.state == DeliveryState::Pending);
        let first = pending.clone().find(|(_, queued)| !queued.replayed);
        WebhookProgress {
            webhook: self.webhook.clone(),
            delivered_sequence: first
                .map_or(self.cursor, |(sequence, _)| *sequence - 1)
                .min(self.cursor),
            pending: u64::try_from(pending.count())
                .unwrap_or(u64::MAX)
                .min(MOST_PENDING.into()),
        }
    }

    /// Takes what waits out of the queue, until the webhook is enabled.
    pub(super) fn park(&mut self) {
        for queued in self.queue.values_mut() {
            queued.due_at = None;
            queued.set_at = None;
            queued.lease = None;
        }
    }

    /// What waits is due at once, with all its attempts.
    fn unpark(&mut self, now: Timestamp) {
        let queue = self.queue.values_mut();
        for queued in queue.filter(|queued| queued.state == DeliveryState::Pending) {
            queued.due_at = Some(now);
            queued.set_at = None;
            queued.attempts = 0;
        }
    }

    /// Sets the webhook to a number. What waits and is not after it is given up.
    fn rewind(&mut self, cursor: i64, now: Timestamp) {
        self.cursor = cursor;
        for (_, queued) in self.queue.range_mut(..=cursor) {
            if queued.state == DeliveryState::Pending {
                queued.end(DeliveryState::Failed, now);
            }
        }
    }
}

impl Account {
    fn keep_webhook(
        &mut self,
        key: Option<&IdempotencyKey>,
        progress: &WebhookProgress,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let response = key.map(|key| key.answered(progress)).transpose()?;
        self.keep(response, now)
    }

    fn unmoved_webhook(&mut self, seen: &WebhookProgress) -> Result<&mut Hook, StoreError> {
        self.webhooks
            .get_mut(&seen.webhook.id)
            .filter(|hook| hook.webhook.version == seen.webhook.version)
            .ok_or(StoreError::Conflict)
    }
}

#[async_trait]
impl WebhookStore for MemoryStore {
    async fn create_webhook(&self, create: CreateWebhook) -> Result<Created, StoreError> {
        let CreateWebhook {
            webhook,
            after,
            most,
            audit,
            key,
        } = create;
        self.write_account(webhook.account_id, |account| {
            if account.webhooks.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
                return Ok(Created::TooMany);
            }
            account.record(audit);
            let own = account.head.seq;
            let at = webhook.created_at;
            let hook = Hook {
                webhook,
                cursor: after.map_or(own, |after| after.min(own)),
                queue: BTreeMap::new(),
            };
            let progress = hook.progress();
            account.webhooks.insert(hook.webhook.id, hook);
            account.keep_webhook(key.as_ref(), &progress, at)?;
            Ok(Created::Done(progress))
        })
    }

    async fn find_webhook(
        &self,
        account: AccountId,
        id: WebhookId,
    ) -> Result<Option<WebhookProgress>, StoreError> {
        Ok(self.read(account, |account| {
            account.webhooks.get(&id).map(Hook::progress)
        }))
    }

    async fn list_webhooks(
        &self,
        account: AccountId,
        request: PageRequest<CreatedKey>,
    ) -> Result<Page<WebhookProgress, CreatedKey>, StoreError> {
        let webhooks = self.read(account, |account| {
            account.webhooks.values().map(Hook::progress).collect()
        });
        Ok(newest_first(webhooks, &request, |progress| CreatedKey {
            created_at: progress.webhook.created_at,
            id: progress.webhook.id.as_uuid(),
        }))
    }

    async fn change_webhook(&self, change: ChangeWebhook) -> Result<WebhookProgress, StoreError> {
        let ChangeWebhook {
            changed: mut progress,
            enables,
            after,
            audit,
            key,
        } = change;
        let now = progress.webhook.updated_at;
        self.write_account(progress.webhook.account_id, |account| {
            let Some(audit) = audit else {
                account.keep_webhook(key.as_ref(), &progress, now)?;
                return Ok(progress);
            };
            let head = account.head.seq;
            let hook = account.unmoved_webhook(&progress)?;
            progress.webhook.version += 1;
            let failing_since = hook.webhook.failing_since;
            hook.webhook = progress.webhook.clone();
            hook.webhook.failing_since = failing_since.filter(|_since| !enables);
            if let Some(after) = after {
                let cursor = after.min(head);
                progress.delivered_sequence = cursor;
                hook.rewind(cursor, now);
            }
            if enables {
                hook.unpark(now);
            } else if progress.webhook.disabled.is_some() {
                hook.park();
            }
            account.keep_webhook(key.as_ref(), &progress, now)?;
            account.record(audit);
            Ok(progress)
        })
    }

    async fn delete_webhook(&self, delete: DeleteWebhook) -> Result<(), StoreError> {
        let DeleteWebhook {
            last,
            at,
            audit,
            key,
        } = delete;
        self.write_account(last.webhook.account_id, |account| {
            account.unmoved_webhook(&last)?;
            account.webhooks.remove(&last.webhook.id);
            account.keep_webhook(key.as_ref(), &last, at)?;
            account.record(audit);
            Ok(())
        })
    }
}
