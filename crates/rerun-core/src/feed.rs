//! Events as other systems get them: entries of the audit log without private details.
//!
//! This module lists, field by field, which details of an entry an event has. Everything else stays
//! in the log: IP addresses, texts, reasons, data of customers.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::audit::AuditEntry;
use crate::error::StoreError;
use crate::group::ImportMode;
use crate::ids::{AccountId, AuditEntryId, CampaignId};
use crate::page::Page;
use crate::schedule::Outcome;
use crate::stages::ApprovalStages;
use crate::status::{CampaignStatus, DisabledReason, WebhookStatus};
use crate::timestamp::Timestamp;

/// What a field of an event's `data` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A UUID.
    Id,
    /// UUIDs.
    Ids,
    /// The number of a run.
    RunNumber,
    /// The status of a campaign.
    Status,
    /// A number, 0 or more.
    Count,
    /// A name that somebody gave.
    Name,
    /// Names.
    Names,
    /// Approval stages, as they are declared.
    Stages,
    /// The numbers `matched`, `new` and `gone`.
    Shares,
    /// Whether something is so.
    Flag,
    /// Whether an import replaces a group's customers.
    Mode,
    /// Whether a webhook gets events.
    WebhookStatus,
    /// Why the system disabled a webhook.
    DisabledReason,
    /// What became of a time of a schedule.
    Outcome,
    /// A time.
    Time,
}

/// What [`Kind::Shares`] has.
pub const SHARES: [&str; 3] = ["matched", "new", "gone"];

impl Kind {
    /// Whether the value is of this kind.
    #[must_use]
    pub fn admits(self, value: &Value) -> bool {
        let is_id = |value: &Value| value.as_str().and_then(parsed_id).is_some();
        let all = |test: &dyn Fn(&Value) -> bool| {
            value.as_array().is_some_and(|items| items.iter().all(test))
        };
        match self {
            Self::Id => is_id(value),
            Self::Ids => all(&is_id),
            Self::RunNumber => value
                .as_i64()
                .is_some_and(|number| i32::try_from(number).is_ok_and(|number| number > 0)),
            Self::Status => is_one_of::<CampaignStatus>(value),
            Self::Count => value.is_u64(),
            Self::Shares => value.as_object().is_some_and(|shares| {
                shares.len() == SHARES.len()
                    && SHARES
                        .iter()
                        .all(|name| shares.get(*name).is_some_and(Value::is_u64))
            }),
            Self::Name => value.is_string(),
            Self::Names => all(&Value::is_string),
            Self::Stages => ApprovalStages::deserialize(value).is_ok(),
            Self::Flag => value.is_boolean(),
            Self::Mode => is_one_of::<ImportMode>(value),
            Self::WebhookStatus => is_one_of::<WebhookStatus>(value),
            Self::DisabledReason => is_one_of::<DisabledReason>(value),
            Self::Outcome => is_one_of::<Outcome>(value),
            Self::Time => crate::timestamp::deserialize(value).is_ok(),
        }
    }
}

fn is_one_of<T: FromStr>(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<T>().is_ok())
}

fn parsed_id(text: &str) -> Option<Uuid> {
    CampaignId::parse(text).map(CampaignId::as_uuid)
}

/// A field of an event's `data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name, as in the details of the audit entry.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether every event of the type has it.
    pub always: bool,
}

const fn always(name: &'static str, kind: Kind) -> Field {
    let always = true;
    Field { name, kind, always }
}

const fn perhaps(name: &'static str, kind: Kind) -> Field {
    let always = false;
    Field { name, kind, always }
}

const CAMPAIGN: Field = always("campaign_id", Kind::Id);
const RUN: Field = always("run_number", Kind::RunNumber);
const BEFORE: Field = always("before", Kind::Status);
const AFTER: Field = always("after", Kind::Status);
const GROUP: Field = always("customer_group_id", Kind::Id);

const STARTED: &[Field] = &[
    CAMPAIGN,
    RUN,
    BEFORE,
    AFTER,
    GROUP,
    always("job_uid", Kind::Id),
    always("matched", Kind::Count),
    always("new", Kind::Count),
    always("archived_messages", Kind::Count),
];

const MESSAGES: &[Field] = &[
    CAMPAIGN,
    RUN,
    BEFORE,
    AFTER,
    always("messages", Kind::Count),
    perhaps("message_ids", Kind::Ids),
];

const ENDED: &[Field] = &[CAMPAIGN, RUN, BEFORE, AFTER, always("failed", Kind::Count)];

const WEBHOOK: Field = always("webhook_id", Kind::Id);

const SCHEDULE: &[Field] = &[
    always("schedule_id", Kind::Id),
    perhaps("campaign_id", Kind::Id),
    perhaps("customer_group_id", Kind::Id),
    perhaps("name", Kind::Name),
];

/// Each type of event with its description and the fields of `data`, except `actor`.
const TYPES: &[(&str, &str, &[Field])] = &[
    (
        "customer_group.created",
        "A customer group was created.",
        &[GROUP, always("name", Kind::Name)],
    ),
    (
        "customer_group.imported",
        "Customers were imported into a group.",
        &[
            GROUP,
            always("mode", Kind::Mode),
            perhaps("rows", Kind::Count),
            perhaps("imported", Kind::Count),
            perhaps("updated", Kind::Count),
            perhaps("removed", Kind::Count),
            perhaps("duplicates", Kind::Count),
            perhaps("total", Kind::Count),
        ],
    ),
    (
        "customer_group.updated",
        "A customer group was changed.",
        &[GROUP, perhaps("name", Kind::Name)],
    ),
    (
        "customer_group.deleted",
        "A customer group was deleted.",
        &[
            GROUP,
            perhaps("name", Kind::Name),
            perhaps("customers", Kind::Count),
            perhaps("deleted_customers", Kind::Count),
        ],
    ),
    (
        "customers.deleted",
        "Customers were deleted from a group.",
        &[
            GROUP,
            perhaps("customers", Kind::Count),
            perhaps("deleted_customers", Kind::Count),
            perhaps("total", Kind::Count),
        ],
    ),
    (
        "customer.erased",
        "A customer was deleted from every group.",
        &[
            perhaps("groups", Kind::Count),
            perhaps("erased_groups", Kind::Count),
        ],
    ),
    (
        "campaign.created",
        "A campaign was created, or it was imported with messages that were published elsewhere \
         (`imported` is true).",
        &[
            CAMPAIGN,
            perhaps("run_number", Kind::RunNumber),
            always("name", Kind::Name),
            perhaps("imported", Kind::Flag),
            AFTER,
        ],
    ),
    (
        "campaign.updated",
        "A campaign was changed. `changed` has the names of the changed fields, but not their \
         texts.",
        &[
            CAMPAIGN,
            always("changed", Kind::Names),
            perhaps("name", Kind::Name),
            perhaps("approval_stages", Kind::Stages),
            perhaps("distinct_reviewers", Kind::Flag),
            perhaps("suggest_reruns", Kind::Flag),
            perhaps("segments_before", Kind::Count),
            perhaps("segments_after", Kind::Count),
            perhaps("conflicts", Kind::Count),
        ],
    ),
    (
        "campaign.deleted",
        "A campaign was deleted with all its runs.",
        &[
            CAMPAIGN,
            always("name", Kind::Name),
            BEFORE,
            always("messages", Kind::Count),
        ],
    ),
    (
        "campaign.rerun_suggested",
        "After an import into the current run's group, a rerun would change something. `segments` \
         counts the segments that would reuse a message (`matched`), those that would need a new \
         message (`new`), and those of the current run that the group no longer has \
         (`gone`). `customers` counts the customers in these segments. `run_number` is the \
         current run.",
        &[
            CAMPAIGN,
            RUN,
            GROUP,
            always("segments", Kind::Shares),
            always("customers", Kind::Shares),
        ],
    ),
    (
        "campaign.launched",
        "A campaign's first run was started.",
        STARTED,
    ),
    ("campaign.published", "A campaign was published.", MESSAGES),
    (
        "messages.approved",
        "Messages passed an approval stage.",
        MESSAGES,
    ),
    (
        "messages.rejected",
        "Messages were rejected. The event does not contain the reason.",
        MESSAGES,
    ),
    (
        "message.edited",
        "A message was edited.",
        &[
            CAMPAIGN,
            RUN,
            BEFORE,
            AFTER,
            always("messages", Kind::Count),
            perhaps("message_ids", Kind::Ids),
            always("content_id", Kind::Id),
        ],
    ),
    (
        "message.adopted",
        "The suggestion for a message was used: the message got the text of a similar message.",
        &[
            CAMPAIGN,
            RUN,
            BEFORE,
            AFTER,
            always("messages", Kind::Count),
            perhaps("message_ids", Kind::Ids),
            perhaps("content_id", Kind::Id),
        ],
    ),
    (
        "messages.regenerated",
        "Messages were queued to be generated again.",
        MESSAGES,
    ),
    (
        "rerun.initiated",
        "A rerun was started, by a person or by a schedule.",
        &[
            CAMPAIGN,
            RUN,
            BEFORE,
            AFTER,
            GROUP,
            always("job_uid", Kind::Id),
            always("matched", Kind::Count),
            always("new", Kind::Count),
            always("archived_messages", Kind::Count),
            perhaps("schedule_id", Kind::Id),
        ],
    ),
    (
        "rerun.archived",
        "The messages of a past run that were still active were archived.",
        &[
            CAMPAIGN,
            RUN,
            perhaps("before", Kind::Status),
            perhaps("after", Kind::Status),
            perhaps("messages", Kind::Count),
            perhaps("archived_messages", Kind::Count),
        ],
    ),
    (
        "rerun.cancelled",
        "A run was cancelled. The event does not contain the reason.",
        &[CAMPAIGN, RUN, BEFORE, AFTER],
    ),
    (
        "rerun.retried",
        "Messages whose generation failed were queued to be generated again.",
        MESSAGES,
    ),
    (
        "run.completed",
        "The generation of a run ended without failures.",
        ENDED,
    ),
    (
        "run.failed",
        "The generation of a run ended, and at least one message failed.",
        ENDED,
    ),
    ("schedule.created", "A schedule was created.", SCHEDULE),
    ("schedule.updated", "A schedule was changed.", SCHEDULE),
    ("schedule.deleted", "A schedule was deleted.", SCHEDULE),
    ("schedule.paused", "A schedule was paused.", SCHEDULE),
    (
        "schedule.resumed",
        "A paused schedule was resumed.",
        SCHEDULE,
    ),
    (
        "schedule.skipped",
        "No run was started at a time of a schedule. If several times passed without a run, one \
         event stands for all of them: `times` is their number, and `scheduled_for` is the last \
         one.",
        &[
            always("schedule_id", Kind::Id),
            CAMPAIGN,
            perhaps("name", Kind::Name),
            always("outcome", Kind::Outcome),
            always("scheduled_for", Kind::Time),
            always("times", Kind::Count),
        ],
    ),
    ("webhook.created", "A webhook was created.", &[WEBHOOK]),
    (
        "webhook.updated",
        "A webhook was changed. `changed` has the names of the changed fields, but not their \
         texts.",
        &[
            WEBHOOK,
            always("changed", Kind::Names),
            perhaps("status", Kind::WebhookStatus),
            perhaps("after_sequence", Kind::Count),
        ],
    ),
    ("webhook.deleted", "A webhook was deleted.", &[WEBHOOK]),
    (
        "webhook.secret_rotated",
        "A webhook got a new secret. For `keep_previous_seconds`, deliveries are also signed with \
         the previous secret.",
        &[WEBHOOK, always("keep_previous_seconds", Kind::Count)],
    ),
    (
        "webhook.disabled",
        "The system disabled a webhook, because its receiver responded with 410 (`gone`) or \
         accepted no event for 5 days (`failing`).",
        &[WEBHOOK, always("disabled_reason", Kind::DisabledReason)],
    ),
];

/// Returns the fields of `data` for this type of event, except `actor`. An unknown type, which a later
/// version wrote, has no fields.
#[must_use]
pub fn fields(event_type: &str) -> &'static [Field] {
    row(event_type).map_or(&[], |(_, _, fields)| fields)
}

/// Returns the description of this type of event; empty for an unknown type.
#[must_use]
pub fn says(event_type: &str) -> &'static str {
    row(event_type).map_or("", |(_, says, _)| says)
}

fn row(event_type: &str) -> Option<&'static (&'static str, &'static str, &'static [Field])> {
    TYPES.iter().find(|(name, ..)| *name == event_type)
}

/// An event as other systems get it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PublicEvent {
    /// The id of the audit entry. An event that is delivered twice has the same id both times.
    pub id: AuditEntryId,
    /// Its type: the action of the entry.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When it happened.
    #[serde(with = "crate::timestamp")]
    pub timestamp: Timestamp,
    /// Its number in the account's log.
    pub sequence: i64,
    /// The account.
    pub account_id: AccountId,
    /// The rest, typed for each type.
    pub data: Map<String, Value>,
}

impl PublicEvent {
    /// The event of an entry. A detail of another kind than the type's field has is left out.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the details are not a JSON object.
    pub fn of(entry: &AuditEntry) -> Result<Self, StoreError> {
        let mut details: Map<String, Value> =
            serde_json::from_str(&entry.details).map_err(|error| {
                StoreError::corrupt(format!(
                    "audit entry {}: the details are not a JSON object: {error}",
                    entry.id
                ))
            })?;
        if let Some(campaign) = entry.campaign_id {
            details.insert("campaign_id".to_owned(), json!(campaign));
        }
        if let Some(run) = entry.run_number {
            details.insert("run_number".to_owned(), json!(run));
        }
        let mut data = Map::new();
        for field in fields(&entry.action) {
            let value = details.remove(field.name);
            if let Some(value) = value.filter(|value| field.kind.admits(value)) {
                data.insert(field.name.to_owned(), value);
            }
        }
        let actor = entry.user_id.map_or(Value::Null, |user_id| {
            json!({
                "user_id": user_id,
                "user_name": entry.user_name,
                "role_code": entry.role_code,
            })
        });
        data.insert("actor".to_owned(), actor);
        Ok(Self {
            id: entry.id,
            event_type: entry.action.clone(),
            timestamp: entry.created_at,
            sequence: entry.seq,
            account_id: entry.account_id,
            data,
        })
    }

    /// The campaign that the event is about, if it is about one.
    #[must_use]
    pub fn campaign_id(&self) -> Option<CampaignId> {
        let id = self.data.get("campaign_id").and_then(Value::as_str);
        id.and_then(CampaignId::parse)
    }
}

/// A part of an account's events.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage<T> {
    /// The events, oldest first.
    pub events: Vec<T>,
    /// Pass this as the next `after_sequence`. It also skips events that the filter left out.
    pub next_sequence: i64,
    /// The number of the account's newest event; 0 before the first.
    pub head_sequence: i64,
}

impl<T> EventPage<T> {
    /// What was read after the number `after` when the newest event was `head`: a page by number.
    #[must_use]
    pub fn new(page: Page<T, i64>, after: i64, head: i64) -> Self {
        Self {
            events: page.items,
            next_sequence: page.next.unwrap_or_else(|| head.max(after)),
            head_sequence: head,
        }
    }
}

#[cfg(test)]
mod tests;
