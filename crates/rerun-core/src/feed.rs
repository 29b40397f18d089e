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
        "A customer group was made.",
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
        "A campaign was made, or brought in with messages that were published elsewhere (`imported`).",
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
        "A campaign was changed. `changed` names the fields, without the texts.",
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
        "After an import into the group of the current run, a rerun would change something. \
         `matched` are segments that would reuse a message, `new` those that need one, and `gone` \
         those of the current run that the group does not have any more; `customers` has the \
         customers of each. `run_number` is the current run.",
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
        "Messages were rejected. The reason is left out.",
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
        "The text of a similar message was adopted for a message.",
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
        "What was still active of a past run was archived.",
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
        "A run was cancelled. The reason is left out.",
        &[CAMPAIGN, RUN, BEFORE, AFTER],
    ),
    (
        "rerun.retried",
        "Failed messages were queued again.",
        MESSAGES,
    ),
    (
        "run.completed",
        "The generation of a run ended well.",
        ENDED,
    ),
    (
        "run.failed",
        "The generation of a run ended with failures.",
        ENDED,
    ),
    ("schedule.created", "A schedule was made.", SCHEDULE),
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
        "Nothing was started at a time of a schedule, or at several (`times`) of which this is the last.",
        &[
            always("schedule_id", Kind::Id),
            CAMPAIGN,
            perhaps("name", Kind::Name),
            always("outcome", Kind::Outcome),
            always("scheduled_for", Kind::Time),
            always("times", Kind::Count),
        ],
    ),
    ("webhook.created", "A webhook was made.", &[WEBHOOK]),
    (
        "webhook.updated",
        "A webhook was changed. `changed` names the fields, without the texts.",
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
        "A webhook got another secret. For `keep_previous_seconds` the one before signs too.",
        &[WEBHOOK, always("keep_previous_seconds", Kind::Count)],
    ),
    (
        "webhook.disabled",
        "The system disabled a webhook, because its receiver responded with 410 (`gone`) or took \
         nothing for 5 days (`failing`).",
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
                    "audit entry {}: details are no JSON object: {error}",
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
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::audit::{AuditAction, Authorship, ChainHead};
    use crate::event::{
        CampaignUpdate, ChangedMessages, Event, RulesChange, ScheduleChange, SkippedTimes,
        StartedRun, StatusChange, SuggestedRerun, WebhookUpdate,
    };
    use crate::group::{DeletedCustomers, Imported};
    use crate::ids::{
        ContentId, CustomerGroupId, JobId, MessageId, RunNumber, ScheduleId, UserId, WebhookId,
    };
    use crate::message::ReusedFrom;
    use crate::outlook::Shares;
    use crate::{Actor, Person, UserName};

    #[test]
    fn every_type_of_event_is_described() {
        for (name, text, _) in TYPES {
            assert_eq!(says(name), *text);
            assert!(!text.is_empty(), "{name}");
        }
        assert_eq!(says("of.a.later.version"), "");
    }

    #[test]
    fn runs_are_counted_from_one_and_shares_have_their_three_numbers() {
        let run = |number: i64| Kind::RunNumber.admits(&number.into());
        assert!(run(1) && run(i32::MAX.into()));
        assert!(!run(0) && !run(-1) && !run(i64::from(i32::MAX) + 1));
        let shares = |value| Kind::Shares.admits(&value);
        assert!(shares(json!({ "matched": 1, "new": 2, "gone": 0 })));
        assert!(!shares(json!({ "matched": 1, "new": 2, "old": 0 })));
        assert!(!shares(json!({ "matched": 1, "new": 2, "gone": -1 })));
        assert!(!shares(json!({ "matched": 1, "new": 2 })));
        assert!(!shares(
            json!({ "matched": 1, "new": 2, "gone": 0, "old": 0 })
        ));
    }

    const SECRET: &str = "nobody else may read this";
    /// What the log has of an erased customer.
    const DIGEST: [u8; 32] = [0xc5; 32];

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn status() -> StatusChange {
        StatusChange {
            campaign_id: CampaignId::new(id(1)),
            run_number: RunNumber::FIRST,
            before: CampaignStatus::Processing,
            after: CampaignStatus::ReadyForReview,
        }
    }

    fn changed() -> ChangedMessages {
        ChangedMessages {
            status: status(),
            messages: 2,
            message_ids: Some(vec![MessageId::new(id(2)), MessageId::new(id(3))]),
        }
    }

    fn schedule() -> ScheduleChange {
        ScheduleChange {
            schedule_id: ScheduleId::new(id(12)),
            campaign_id: CampaignId::new(id(1)),
            name: "Weekly".to_owned(),
        }
    }

    /// An event of each kind that has something private.
    fn with_secrets(secret: &str) -> Vec<Event> {
        vec![
            Event::MessagesRejected {
                changed: changed(),
                reason: secret.to_owned(),
            },
            Event::RerunCancelled {
                status: status(),
                reason: Some(secret.to_owned()),
            },
            Event::CustomerErased {
                customer: DIGEST,
                groups: 2,
            },
            Event::SchedulePaused {
                schedule: schedule(),
                note: Some(secret.to_owned()),
            },
            Event::ScheduleSkipped(SkippedTimes {
                schedule: schedule(),
                outcome: Outcome::Missed,
                scheduled_for: Timestamp::UNIX_EPOCH,
                times: 2,
                reason: Some(secret.to_owned()),
            }),
        ]
    }

    #[expect(clippy::too_many_lines, reason = "a list")]
    fn others() -> Vec<Event> {
        let campaign_id = CampaignId::new(id(1));
        let customer_group_id = CustomerGroupId::new(id(4));
        let started = StartedRun {
            status: status(),
            job_uid: JobId::new(id(5)),
            customer_group_id,
            matched: 1,
            new: 2,
            archived_messages: 3,
            schedule_id: None,
        };
        let name = "Spring".to_owned();
        let webhook_id = WebhookId::new(id(7));
        vec![
            Event::GroupCreated {
                customer_group_id,
                name: name.clone(),
            },
            Event::GroupImported {
                customer_group_id,
                mode: ImportMode::Replace,
                imported: Imported {
                    rows: 1,
                    imported: 1,
                    updated: 0,
                    removed: 0,
                    duplicates: 0,
                    total: 1,
                },
            },
            Event::CampaignCreated {
                campaign_id,
                name: name.clone(),
            },
            Event::CampaignImported {
                campaign_id,
                run_number: RunNumber::FIRST,
                name: name.clone(),
            },
            Event::CampaignUpdated(update()),
            Event::CampaignDeleted {
                campaign_id,
                name: name.clone(),
                before: CampaignStatus::Published,
                messages: 7,
            },
            Event::GroupUpdated {
                customer_group_id,
                name: name.clone(),
            },
            Event::GroupDeleted {
                customer_group_id,
                name,
                customers: 7,
            },
            Event::CustomersDeleted {
                customer_group_id,
                deleted: DeletedCustomers {
                    deleted_customers: 2,
                    total: 5,
                },
            },
            Event::CampaignLaunched(started),
            Event::CampaignPublished(changed()),
            Event::MessagesApproved(changed()),
            Event::MessageEdited {
                changed: changed(),
                content_id: ContentId::new(id(6)),
            },
            Event::MessageAdopted {
                changed: changed(),
                content_id: ContentId::new(id(6)),
                reused_from: ReusedFrom {
                    message_id: MessageId::new(id(3)),
                    run_number: RunNumber::FIRST,
                },
            },
            Event::MessagesRegenerated(changed()),
            Event::RerunInitiated(started),
            Event::RerunRetried(changed()),
            Event::RerunSuggested(SuggestedRerun {
                campaign_id,
                run_number: RunNumber::FIRST,
                customer_group_id,
                segments: Shares {
                    matched: 3,
                    new: 2,
                    gone: 1,
                },
                customers: Shares::default(),
            }),
            Event::RunCompleted { status: status() },
            Event::RunFailed {
                status: status(),
                failed: 2,
            },
            Event::WebhookCreated { webhook_id },
            Event::WebhookUpdated(WebhookUpdate {
                webhook_id,
                changed: vec!["url", "status"],
                status: Some(WebhookStatus::Enabled),
                after_sequence: Some(7),
            }),
            Event::WebhookDeleted { webhook_id },
            Event::WebhookSecretRotated {
                webhook_id,
                keep_previous_seconds: 60,
            },
            Event::WebhookDisabled {
                webhook_id,
                reason: DisabledReason::Gone,
            },
            Event::ScheduleCreated(schedule()),
            Event::ScheduleUpdated(schedule()),
            Event::ScheduleDeleted(schedule()),
            Event::ScheduleResumed(schedule()),
        ]
    }

    /// A change of every field of a campaign.
    fn update() -> CampaignUpdate {
        CampaignUpdate {
            campaign_id: CampaignId::new(id(1)),
            name: Some("Spring".to_owned()),
            template: true,
            brief: true,
            approval_stages: Some(ApprovalStages::new(&["Legal"]).unwrap()),
            distinct_reviewers: Some(true),
            suggest_reruns: Some(false),
            segmentation: Some(RulesChange {
                segments_before: 3,
                segments_after: 2,
                conflicts: 1,
            }),
        }
    }

    fn entry(event: Event) -> AuditEntry {
        let person = Person {
            user_id: UserId::new(id(8)),
            user_name: Some(UserName::new("Ada").unwrap()),
            role_code: "ADMIN".into(),
            ip: Some([192, 0, 2, 77].into()),
        };
        let author = Authorship {
            entry_id: AuditEntryId::new(id(9)),
            actor: Actor::person(AccountId::new(id(10)), person).in_request("request-11"),
            at: Timestamp::from_timestamp_millis(1_767_225_600_123).unwrap(),
        };
        author.of(event).sealed(&ChainHead::EMPTY)
    }

    #[test]
    fn every_action_has_its_fields() {
        for action in AuditAction::ALL {
            let known = TYPES.iter().any(|(name, ..)| *name == action.as_str());
            assert!(known, "{action} has no row in the table of types");
        }
        for (name, _, fields) in TYPES {
            let rows = TYPES.iter().filter(|(other, ..)| other == name);
            assert_eq!(rows.count(), 1, "{name}");
            assert!(fields.iter().all(|field| field.name != "actor"), "{name}");
        }
    }

    #[test]
    fn every_action_has_an_example() {
        let examples = others().into_iter().chain(with_secrets(SECRET));
        let found: BTreeSet<&str> = examples.map(|event| event.action().as_str()).collect();
        for action in AuditAction::ALL {
            // Earlier versions wrote it.
            let is_old = *action == AuditAction::RerunArchived;
            assert!(is_old || found.contains(action.as_str()), "{action}");
        }
    }

    /// A detail of an event is public or in this list.
    #[test]
    fn an_event_has_every_field_of_its_type_and_no_detail_is_forgotten() {
        let private = ["reason", "note", "customer_sha256", "reused_from"];
        for event in others().into_iter().chain(with_secrets(SECRET)) {
            let entry = entry(event);
            let public = PublicEvent::of(&entry).unwrap();
            for field in fields(&entry.action).iter().filter(|field| field.always) {
                assert!(
                    public.data.contains_key(field.name),
                    "{public:?}: {field:?}"
                );
            }
            let details: Map<String, Value> = serde_json::from_str(&entry.details).unwrap();
            for name in details.keys().filter(|name| !private.contains(&&***name)) {
                assert!(public.data.contains_key(name), "{public:?}: {name}");
            }
        }
    }

    #[test]
    fn no_event_has_a_reason_a_note_an_address_or_a_customer() {
        let digest = hex::encode(DIGEST);
        for event in others().into_iter().chain(with_secrets(SECRET)) {
            let entry = entry(event);
            let public = json!(PublicEvent::of(&entry).unwrap()).to_string();
            for private in [SECRET, &digest, "192.0.2.77", "request-11"] {
                assert!(!public.contains(private), "{private}: {public}");
            }
        }
    }

    #[test]
    fn an_event_is_the_entry_without_what_is_private() {
        let event = with_secrets(SECRET).remove(0);
        let public = json!(PublicEvent::of(&entry(event)).unwrap());
        let expected = json!({
            "id": id(9), "type": "messages.rejected", "timestamp": "2026-01-01T00:00:00.123Z",
            "sequence": 1, "account_id": id(10),
            "data": {
                "campaign_id": id(1), "run_number": 1, "before": "Processing",
                "after": "Ready for review", "messages": 2, "message_ids": [id(2), id(3)],
                "actor": { "user_id": id(8), "user_name": "Ada", "role_code": "ADMIN" },
            },
        });
        assert_eq!(public, expected);
    }

    #[test]
    fn an_update_has_numbers_and_names() {
        let public = PublicEvent::of(&entry(Event::CampaignUpdated(update()))).unwrap();
        assert_eq!(
            public.data["changed"],
            json!([
                "name",
                "template",
                "brief",
                "approval_stages",
                "distinct_reviewers",
                "suggest_reruns",
                "segment_by"
            ])
        );
        assert_eq!(public.data["approval_stages"], json!(["Legal"]));
        assert_eq!(public.data["segments_after"], 2);
        assert_eq!(public.campaign_id(), Some(CampaignId::new(id(1))));
        let of_a_group = Event::GroupDeleted {
            customer_group_id: CustomerGroupId::new(id(4)),
            name: "Spring".to_owned(),
            customers: 7,
        };
        let public = PublicEvent::of(&entry(of_a_group)).unwrap();
        assert_eq!(public.campaign_id(), None);
    }

    #[test]
    fn details_that_are_no_object_are_corrupt() {
        for details in ["", "[]", "1", "{"] {
            let mut entry = entry(Event::RunCompleted { status: status() });
            entry.details = details.to_owned();
            let refused = PublicEvent::of(&entry);
            assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{details}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(json!(SECRET)),
            Just(json!(id(3))),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,3}", inner, 0..3)
                    .prop_map(|fields| json!(fields)),
            ]
        })
    }

    /// Every name that details may have, and names that no event has.
    fn any_name() -> impl Strategy<Value = String> {
        let mut names: Vec<String> = ["reason", "ip", "request_id", "subject", "body", "brief"]
            .map(ToOwned::to_owned)
            .into();
        let listed = TYPES.iter().flat_map(|(_, _, fields)| *fields);
        names.extend(listed.map(|field| field.name.to_owned()));
        prop_oneof![prop::sample::select(names), "[a-z_]{1,8}"]
    }

    proptest! {
        #[test]
        fn an_event_has_what_is_listed_and_nothing_else(
            row in 0..=TYPES.len(),
            details in prop::collection::btree_map(any_name(), any_json(), 0..12),
        ) {
            let action = TYPES.get(row).map_or("campaign.exploded", |(name, ..)| *name);
            let mut entry = entry(Event::RunCompleted { status: status() });
            entry.action = action.to_owned();
            entry.details = json!(details).to_string();
            let public = PublicEvent::of(&entry).unwrap();
            for (name, value) in &public.data {
                let field = fields(action).iter().find(|field| field.name == name);
                prop_assert!(name == "actor" || field.is_some_and(|f| f.kind.admits(value)));
            }
            let text = json!(public).to_string();
            prop_assert!(!text.contains("192.0.2.77") && !text.contains("request-11"));
            // A text comes through as a name alone.
            let names = fields(action).iter().any(|field| {
                matches!(field.kind, Kind::Name | Kind::Names | Kind::Stages)
            });
            prop_assert!(names || !text.contains(SECRET), "{text}");
        }
    }
}
