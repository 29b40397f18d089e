use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::audit::{AuditAction, Authorship, ChainHead};
use crate::event::{
    CampaignUpdate, ChangedMessages, Event, RulesChange, ScheduleChange, SkippedTimes, StartedRun,
    StatusChange, SuggestedRerun, WebhookUpdate,
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
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..3).prop_map(|fields| json!(fields)),
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
