//! Webhooks: the statements, which are the same on both databases.

use diesel::RunQueryDsl;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use rerun_core::Timestamp;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, WebhookId};
use rerun_core::page::{CreatedKey, Page, PageRequest};
use rerun_core::ports::{ChangeWebhook, CreateWebhook, Created, DeleteWebhook, IdempotencyKey};
use rerun_core::webhook::{DisabledReason, Webhook, WebhookProgress};

use super::types_json;
use crate::error::Failure;
use crate::responses::keep_response;
use crate::row::webhooks::{WebhookColumns, WebhookRow};
use crate::shared::{Append, Shared, int, number};
use crate::sql::sql;
use crate::types::{Id, Time};
use crate::webhook_columns;

/// The number of the account's newest entry.
pub(super) fn head<C: Shared>(conn: &mut C, account: AccountId) -> Result<i64, Failure> {
    let head = sql("SELECT seq FROM audit_heads WHERE account_id = ?")
        .bind::<Id, _>(account.as_uuid())
        .columns::<(BigInt,)>()
        .read(conn)?
        .pop();
    Ok(head.map_or(0, |(seq,): (i64,)| seq))
}

fn count<C: Shared>(conn: &mut C, account: AccountId) -> Result<i64, Failure> {
    let counted = sql("SELECT count(*) FROM webhooks \
                       WHERE account_id = ? AND deleted_at IS NULL")
    .bind::<Id, _>(account.as_uuid())
    .columns::<(BigInt,)>();
    number(conn, counted)
}

fn insert<C: Shared>(conn: &mut C, webhook: &Webhook, cursor: i64) -> Result<(), Failure> {
    sql(
        "INSERT INTO webhooks (account_id, id, url, types, campaign_id, description, ordered, \
           disabled_reason, failing_since, secret_number, previous_secret_until, cursor_seq, \
           version, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind::<Id, _>(webhook.account_id.as_uuid())
    .bind::<Id, _>(webhook.id.as_uuid())
    .bind::<Text, _>(webhook.url.as_str())
    .bind::<Nullable<Text>, _>(types_json(webhook.types.as_deref()))
    .bind::<Nullable<Id>, _>(webhook.campaign_id.map(CampaignId::as_uuid))
    .bind::<Nullable<Text>, _>(webhook.description.as_deref())
    .bind::<Bool, _>(webhook.ordered)
    .bind::<Nullable<Text>, _>(webhook.disabled.map(DisabledReason::as_str))
    .bind::<Nullable<Time>, _>(webhook.failing_since)
    .bind::<Integer, _>(int(webhook.secret_number)?)
    .bind::<Nullable<Time>, _>(webhook.previous_secret_until)
    .bind::<BigInt, _>(cursor)
    .bind::<BigInt, _>(webhook.version)
    .bind::<Time, _>(webhook.created_at)
    .bind::<Time, _>(webhook.updated_at)
    .execute(conn)?;
    Ok(())
}

/// See [`create_webhook`](rerun_core::ports::WebhookStore::create_webhook).
///
/// # Errors
/// [`Failure`].
pub fn create<C: Shared>(
    conn: &mut C,
    create: CreateWebhook,
    append: Append<C>,
) -> Result<Created, Failure> {
    let CreateWebhook {
        webhook,
        after,
        most,
        audit,
        key,
    } = create;
    let account = webhook.account_id;
    if count(conn, account)? >= i64::from(most) {
        return Ok(Created::TooMany);
    }
    insert(conn, &webhook, 0)?;
    append(conn, audit)?;
    // Under the lock of the account's head nobody else creates one.
    if count(conn, account)? > i64::from(most) {
        return Err(StoreError::Conflict.into());
    }
    let own = head(conn, account)?;
    let cursor = after.map_or(own, |after| after.min(own));
    sql("UPDATE webhooks SET cursor_seq = ? WHERE account_id = ? AND id = ?")
        .bind::<BigInt, _>(cursor)
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(webhook.id.as_uuid())
        .execute(conn)?;
    let at = webhook.created_at;
    let progress = WebhookProgress {
        webhook,
        delivered_sequence: cursor,
        pending: 0,
    };
    keep(conn, account, key.as_ref(), &progress, at)?;
    Ok(Created::Done(progress))
}

fn keep<C: Shared>(
    conn: &mut C,
    account: AccountId,
    key: Option<&IdempotencyKey>,
    progress: &WebhookProgress,
    now: Timestamp,
) -> Result<(), Failure> {
    let response = key.map(|key| key.answered(progress)).transpose()?;
    keep_response(conn, account, response.as_ref(), now)
}

/// See [`change_webhook`](rerun_core::ports::WebhookStore::change_webhook).
///
/// # Errors
/// [`Failure`].
pub fn change<C: Shared>(
    conn: &mut C,
    change: ChangeWebhook,
    append: Append<C>,
) -> Result<WebhookProgress, Failure> {
    let ChangeWebhook {
        changed: mut progress,
        enables,
        after,
        audit,
        key,
    } = change;
    let account = progress.webhook.account_id;
    let id = progress.webhook.id.as_uuid();
    let now = progress.webhook.updated_at;
    let Some(audit) = audit else {
        keep(conn, account, key.as_ref(), &progress, now)?;
        return Ok(progress);
    };
    let webhook = &mut progress.webhook;
    let seen = webhook.version;
    webhook.version += 1;
    let written = sql(
        "UPDATE webhooks SET url = ?, types = ?, campaign_id = ?, description = ?, ordered = ?, \
           disabled_reason = ?, failing_since = CASE WHEN ? THEN NULL ELSE failing_since END, \
           secret_number = ?, previous_secret_until = ?, version = ?, updated_at = ? \
         WHERE account_id = ? AND id = ? AND version = ? AND deleted_at IS NULL",
    )
    .bind::<Text, _>(webhook.url.as_str())
    .bind::<Nullable<Text>, _>(types_json(webhook.types.as_deref()))
    .bind::<Nullable<Id>, _>(webhook.campaign_id.map(CampaignId::as_uuid))
    .bind::<Nullable<Text>, _>(webhook.description.as_deref())
    .bind::<Bool, _>(webhook.ordered)
    .bind::<Nullable<Text>, _>(webhook.disabled.map(DisabledReason::as_str))
    .bind::<Bool, _>(enables)
    .bind::<Integer, _>(int(webhook.secret_number)?)
    .bind::<Nullable<Time>, _>(webhook.previous_secret_until)
    .bind::<BigInt, _>(webhook.version)
    .bind::<Time, _>(now)
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(id)
    .bind::<BigInt, _>(seen)
    .execute(conn)?;
    if written == 0 {
        return Err(StoreError::Conflict.into());
    }
    if let Some(after) = after {
        let cursor = after.min(head(conn, account)?);
        progress.delivered_sequence = cursor;
        rewind(conn, account, progress.webhook.id, cursor, now)?;
    }
    if enables {
        sql(
            "UPDATE webhook_deliveries SET due_at = ?, set_at = NULL, attempts = 0 \
             WHERE account_id = ? AND webhook_id = ? AND state = 'pending'",
        )
        .bind::<Time, _>(now)
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(id)
        .execute(conn)?;
    } else if progress.webhook.disabled.is_some() {
        park(conn, account, progress.webhook.id)?;
    }
    keep(conn, account, key.as_ref(), &progress, now)?;
    append(conn, audit)?;
    Ok(progress)
}

/// Sets a webhook back, or ahead, to a number. What waits and is not after it is given up.
fn rewind<C: Shared>(
    conn: &mut C,
    account: AccountId,
    webhook: WebhookId,
    cursor: i64,
    now: Timestamp,
) -> Result<(), Failure> {
    sql("UPDATE webhooks SET cursor_seq = ? WHERE account_id = ? AND id = ?")
        .bind::<BigInt, _>(cursor)
        .bind::<Id, _>(account.as_uuid())
        .bind::<Id, _>(webhook.as_uuid())
        .execute(conn)?;
    sql(
        "UPDATE webhook_deliveries SET state = 'failed', due_at = NULL, set_at = NULL, \
           lease_id = NULL, ended_at = ? \
         WHERE account_id = ? AND webhook_id = ? AND state = 'pending' AND seq <= ?",
    )
    .bind::<Time, _>(now)
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(webhook.as_uuid())
    .bind::<BigInt, _>(cursor)
    .execute(conn)?;
    Ok(())
}

/// Takes what waits for a webhook out of the queue, until the webhook is enabled.
pub(super) fn park<C: Shared>(
    conn: &mut C,
    account: AccountId,
    webhook: WebhookId,
) -> Result<(), Failure> {
    sql(
        "UPDATE webhook_deliveries SET due_at = NULL, set_at = NULL, lease_id = NULL \
         WHERE account_id = ? AND webhook_id = ? AND state = 'pending'",
    )
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(webhook.as_uuid())
    .execute(conn)?;
    Ok(())
}

/// See [`delete_webhook`](rerun_core::ports::WebhookStore::delete_webhook).
///
/// # Errors
/// [`Failure`].
pub fn delete<C: Shared>(
    conn: &mut C,
    delete: DeleteWebhook,
    append: Append<C>,
) -> Result<(), Failure> {
    let DeleteWebhook {
        last,
        at,
        audit,
        key,
    } = delete;
    let webhook = &last.webhook;
    let account = webhook.account_id;
    let deleted = sql("UPDATE webhooks SET deleted_at = ?, version = version + 1 \
                       WHERE account_id = ? AND id = ? AND version = ? AND deleted_at IS NULL")
    .bind::<Time, _>(at)
    .bind::<Id, _>(account.as_uuid())
    .bind::<Id, _>(webhook.id.as_uuid())
    .bind::<BigInt, _>(webhook.version)
    .execute(conn)?;
    if deleted == 0 {
        return Err(StoreError::Conflict.into());
    }
    park(conn, account, webhook.id)?;
    keep(conn, account, key.as_ref(), &last, at)?;
    append(conn, audit)
}

/// See [`find_webhook`](rerun_core::ports::WebhookStore::find_webhook).
///
/// # Errors
/// [`Failure`].
pub fn find<C: Shared>(
    conn: &mut C,
    account: AccountId,
    id: WebhookId,
) -> Result<Option<WebhookProgress>, Failure> {
    let row = sql(concat!(
        "SELECT ",
        webhook_columns!(),
        " FROM webhooks w WHERE w.account_id = ? AND w.id = ? AND w.deleted_at IS NULL"
    ))
    .bind_times::<Id, _>(3, account.as_uuid())
    .bind::<Id, _>(id.as_uuid())
    .columns::<WebhookColumns>()
    .read::<_, WebhookRow>(conn)?
    .pop();
    Ok(row.map(WebhookProgress::try_from).transpose()?)
}

/// See [`list_webhooks`](rerun_core::ports::WebhookStore::list_webhooks).
///
/// # Errors
/// [`Failure`].
pub fn list<C: Shared>(
    conn: &mut C,
    account: AccountId,
    page: &PageRequest<CreatedKey>,
) -> Result<Page<WebhookProgress, CreatedKey>, Failure> {
    let text = format!(
        "SELECT {} FROM webhooks w WHERE w.account_id = ? AND w.deleted_at IS NULL {} \
         ORDER BY w.created_at DESC, w.id DESC LIMIT ?",
        webhook_columns!(),
        if page.after.is_some() {
            "AND (w.created_at, w.id) < (?, ?)"
        } else {
            ""
        },
    );
    let mut query = sql(&text).bind_times::<Id, _>(3, account.as_uuid());
    if let Some(after) = page.after {
        query = query
            .bind::<Time, _>(after.created_at)
            .bind::<Id, _>(after.id);
    }
    let webhooks = query
        .bind::<BigInt, _>(i64::from(page.limit.get()) + 1)
        .columns::<WebhookColumns>()
        .read::<_, WebhookRow>(conn)?
        .into_iter()
        .map(WebhookProgress::try_from);
    Ok(Page::read(webhooks, page.limit, |progress| CreatedKey {
        created_at: progress.webhook.created_at,
        id: progress.webhook.id.as_uuid(),
    })?)
}
