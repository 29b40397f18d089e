use async_trait::async_trait;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, WebhookId};
use rerun_core::page::{CreatedKey, Page, PageRequest};
use rerun_core::ports::{ChangeWebhook, CreateWebhook, Created, DeleteWebhook, WebhookStore};
use rerun_core::webhook::WebhookProgress;
use rerun_diesel::webhooks::store;

use crate::PgStore;
use crate::write::{append_audit, transaction};

#[async_trait]
impl WebhookStore for PgStore {
    async fn create_webhook(&self, request: CreateWebhook) -> Result<Created, StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| store::create(conn, request, append_audit)))
            .await
    }

    async fn find_webhook(
        &self,
        account: AccountId,
        id: WebhookId,
    ) -> Result<Option<WebhookProgress>, StoreError> {
        self.db
            .run(move |conn| store::find(conn, account, id))
            .await
    }

    async fn list_webhooks(
        &self,
        account: AccountId,
        page: PageRequest<CreatedKey>,
    ) -> Result<Page<WebhookProgress, CreatedKey>, StoreError> {
        self.db
            .run(move |conn| store::list(conn, account, &page))
            .await
    }

    async fn change_webhook(&self, request: ChangeWebhook) -> Result<WebhookProgress, StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| store::change(conn, request, append_audit)))
            .await
    }

    async fn delete_webhook(&self, request: DeleteWebhook) -> Result<(), StoreError> {
        self.db
            .run(move |conn| transaction(conn, |conn| store::delete(conn, request, append_audit)))
            .await
    }
}
