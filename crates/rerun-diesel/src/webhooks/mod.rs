//! Webhooks and deliveries: the statements that both databases have.

pub mod outcomes;
pub mod queue;
pub mod store;

use rerun_core::audit::AuditAction;
use rerun_core::delivery::{Attempt, Delivery};
use rerun_core::error::StoreError;
use rerun_core::webhook::Webhook;

use crate::row::json_list;
use crate::row::webhooks::AttemptRow;

/// The types of a webhook as they are stored.
fn types_json(types: Option<&[AuditAction]>) -> Option<String> {
    let names: Option<Vec<String>> =
        types.map(|types| types.iter().map(ToString::to_string).collect());
    names.map(|names| json_list(&names))
}

/// The entries `a` of an account's log that a webhook wants: the account, the numbers after and
/// up to which to look, and the campaign if the webhook has one.
fn wanted_sql(webhook: &Webhook) -> String {
    let of_types = webhook.types.as_ref().map_or_else(String::new, |types| {
        let names: Vec<String> = types.iter().map(|name| format!("'{name}'")).collect();
        format!(" AND a.action IN ({})", names.join(", "))
    });
    let of_campaign = if webhook.campaign_id.is_some() {
        " AND a.campaign_id = ?"
    } else {
        ""
    };
    format!("a.account_id = ? AND a.seq > ? AND a.seq <= ?{of_types}{of_campaign}")
}

/// Queues the entries that [`wanted_sql`] finds. Its values are the webhook's id, whether this is a
/// replay, the time, and then those of the condition. What is on its way is left alone.
fn queue_sql(webhook: &Webhook) -> String {
    format!(
        "INSERT INTO webhook_deliveries (account_id, webhook_id, seq, state, replayed, due_at) \
         SELECT a.account_id, ?, a.seq, 'pending', ?, ? FROM audit_entries a WHERE {} \
         ORDER BY a.seq \
         ON CONFLICT (account_id, webhook_id, seq) DO UPDATE SET {AGAIN}, \
           replayed = excluded.replayed AND (webhook_deliveries.replayed \
             OR webhook_deliveries.state <> 'pending'), due_at = excluded.due_at \
         WHERE webhook_deliveries.lease_id IS NULL",
        wanted_sql(webhook)
    )
}

/// What is different about a delivery that is queued again, apart from its due time.
const AGAIN: &str =
    "state = 'pending', attempts = 0, set_at = NULL, lease_id = NULL, ended_at = NULL";

/// The condition that a delivery is due. A lease is alive up to and including the moment that it
/// was taken until.
const DUE: &str = "due_at <= ? AND (lease_id IS NULL OR due_at < ?)";

/// Puts attempts, in their order, to the deliveries that they are of.
///
/// # Errors
/// [`StoreError::Corrupt`].
fn with_attempts(
    mut deliveries: Vec<Delivery>,
    attempts: Vec<AttemptRow>,
) -> Result<Vec<Delivery>, StoreError> {
    for row in attempts {
        let sequence = row.seq;
        let attempt = Attempt::try_from(row)?;
        let mut own = deliveries.iter_mut();
        if let Some(delivery) = own.find(|delivery| delivery.sequence == sequence) {
            delivery.attempts.push(attempt);
        }
    }
    Ok(deliveries)
}

/// Numbers as the members of an SQL list; 0, which no event has, for none.
fn numbers(numbers: impl IntoIterator<Item = i64>) -> String {
    let mut texts: Vec<String> = numbers
        .into_iter()
        .map(|number| number.to_string())
        .collect();
    if texts.is_empty() {
        texts.push("0".to_owned());
    }
    texts.join(", ")
}
