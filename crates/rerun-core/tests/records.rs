//! Records whose fields contradict each other are refused, and a page counts each of their texts.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests misses their helpers"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use rerun_core::actor::UserName;
use rerun_core::audit::AuditEntry;
use rerun_core::campaign::{
    ApprovalStages, Campaign, CampaignParts, CampaignStatus, Stage, Template,
};
use rerun_core::delivery::{Attempt, Delivery, DeliveryState};
use rerun_core::diff::DiffItem;
use rerun_core::generation::{GenerationBrief, Metered, Saved, TokenCounts};
use rerun_core::group::{Customer, CustomerGroup};
use rerun_core::ids::{
    AccountId, AuditEntryId, CampaignId, ContentId, CustomerGroupId, JobId, MessageId, RunNumber,
    ScheduleId, UserId, WebhookId,
};
use rerun_core::message::{
    Approvals, Content, Message, MessageParts, MessageState, Provenance, ReusedFrom, ReviewStatus,
    Source,
};
use rerun_core::nearest::{Difference, Evidence, KeptSuggestion, Suggestion};
use rerun_core::page::Contents;
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{CustomerValues, MessageFilter};
use rerun_core::rekeying::{ConflictingMessage, KeyConflict};
use rerun_core::run::{MessageCounts, Run, RunGroup, RunParts, RunStatus, SegmentCounts};
use rerun_core::schedule::{
    Firing, FiringKey, Outcome, Overlap, Schedule, ScheduleState, ScheduleStatus, ScheduleView,
    Timing, When,
};
use rerun_core::segment::{Segment, SegmentBy, ValueSearch};
use rerun_core::usecases::{FilledSegment, PreviewItem};
use rerun_core::webhook::{Webhook, WebhookProgress};
use rerun_core::{StoreError, Timestamp};
use uuid::Uuid;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const ID: Uuid = Uuid::from_u128(1);

fn second() -> RunNumber {
    RunNumber::new(2).unwrap()
}

fn segment(value: &str) -> Segment {
    SegmentBy::new(&["country"])
        .unwrap()
        .segment(|_| Some(value), 3)
}

fn content() -> Content {
    Content {
        subject: "sub".into(),
        body: "body".into(),
    }
}

fn campaign() -> CampaignParts {
    CampaignParts {
        account_id: AccountId::new(ID),
        id: CampaignId::new(ID),
        name: "Offers".into(),
        customer_group_id: CustomerGroupId::new(ID),
        segment_by: SegmentBy::new(&["country"]).unwrap(),
        template: Template::default(),
        brief: Some("Be kind".into()),
        approval_stages: ApprovalStages::new(&["Legal"]).unwrap(),
        distinct_reviewers: false,
        suggest_reruns: true,
        status: CampaignStatus::Published,
        current_run: Some(RunNumber::FIRST),
        last_run: Some(second()),
        version: 1,
        created_by: UserId::new(ID),
        created_at: NOW,
        updated_at: NOW,
    }
}

/// Run 2, with two messages.
fn run() -> RunParts {
    RunParts {
        number: second(),
        job_uid: Some(JobId::new(ID)),
        status: RunStatus::Processing,
        synthesised: false,
        group: RunGroup {
            id: CustomerGroupId::new(ID),
            name: "Spring".into(),
        },
        customer_count: 5,
        segments: SegmentCounts {
            total: 2,
            matched: 1,
            new: 1,
        },
        counts: MessageCounts::default()
            .add(ReviewStatus::Approved, Source::Reused, 1)
            .add(ReviewStatus::Generating, Source::Generated, 1),
        resulting_status: CampaignStatus::ReadyForReview,
        initiated_by: None,
        initiated_by_name: Some(UserName::new("Ada").unwrap()),
        schedule_id: None,
        previous_run: Some(RunNumber::FIRST),
        error: Some("e".into()),
        cancel_reason: Some("r".into()),
        started_at: NOW,
        completed_at: None,
        archived_at: None,
        usage: TokenCounts::default(),
        saved: Saved::default(),
        metered: Metered::default(),
    }
}

/// A message that waits for a reviewer.
fn message() -> MessageParts {
    let (id, run) = (MessageId::new(ID), RunNumber::FIRST);
    MessageParts {
        content_id: Some(ContentId::new(ID)),
        content: Some(content()),
        state: MessageState::PendingReview { stage: 1 },
        provenance: Some(Provenance {
            run_number: run,
            approvals: Approvals::from_stored("[]".into()),
        }),
        ..MessageParts::generating(id, run, 1, segment("DE"), NOW)
    }
}

fn from() -> ReusedFrom {
    ReusedFrom {
        message_id: MessageId::new(ID),
        run_number: RunNumber::FIRST,
    }
}

/// A change that makes fields contradict each other, and a part of the error's text.
type Contradiction<T> = (fn(&mut T), &'static str);

#[test]
fn a_campaign_that_contradicts_itself_is_refused() {
    let campaign = Campaign::from_parts(campaign()).unwrap();
    let changed = |change: fn(&mut CampaignParts)| campaign.clone().with(change);
    assert!(changed(|parts| parts.current_run = parts.last_run).is_ok());
    let draft = |parts: &mut CampaignParts| {
        parts.status = CampaignStatus::Draft;
        parts.current_run = None;
    };
    assert!(changed(draft).is_ok());
    let contradictions: [fn(&mut CampaignParts); 4] = [
        |parts| parts.status = CampaignStatus::Draft,
        |parts| parts.current_run = None,
        |parts| parts.last_run = None,
        |parts| parts.current_run = RunNumber::new(3),
    ];
    for change in contradictions {
        let refused = changed(change);
        assert!(
            matches!(refused, Err(StoreError::Corrupt(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn a_run_that_contradicts_itself_is_refused() {
    let run = Run::from_parts(run()).unwrap();
    let changed = |change: fn(&mut RunParts)| run.clone().with(change);
    let ended = |parts: &mut RunParts| {
        parts.status = RunStatus::Cancelled;
        parts.completed_at = Some(NOW);
        parts.archived_at = Some(NOW);
    };
    assert!(changed(ended).is_ok());
    assert!(changed(|parts| parts.previous_run = None).is_ok());
    let contradictions: Vec<Contradiction<RunParts>> = vec![
        (|parts| parts.counts.reused = 2, "counts"),
        (|parts| parts.counts.edited = 1, "counts"),
        (|parts| parts.counts.suggested = 1, "counts"),
        (|parts| parts.counts.generated = 0, "counts"),
        (|parts| parts.counts.generating = 2, "counts"),
        (|parts| parts.counts.failed = 1, "counts"),
        (|parts| parts.counts.pending = 1, "counts"),
        (|parts| parts.counts.approved = 0, "counts"),
        (|parts| parts.counts.rejected = 1, "counts"),
        (|parts| parts.counts.published = u32::MAX, "counts"),
        (|parts| parts.segments.total = 3, "counts"),
        (|parts| parts.segments.matched = 2, "counts"),
        (|parts| parts.segments.new = 0, "counts"),
        (|parts| parts.completed_at = Some(NOW), "completed"),
        (|parts| parts.status = RunStatus::Failed, "completed"),
        (
            |parts| {
                parts.status = RunStatus::Completed;
                parts.completed_at = Some(NOW - Duration::from_millis(1));
            },
            "before its start",
        ),
        (
            |parts| {
                parts.status = RunStatus::Cancelled;
                parts.completed_at = Some(NOW);
            },
            "not archived",
        ),
        (|parts| parts.synthesised = true, "synthesised"),
        (|parts| parts.job_uid = None, "synthesised"),
        (|parts| parts.previous_run = Some(parts.number), "later"),
    ];
    for (change, said) in contradictions {
        let refused = changed(change).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn a_message_that_contradicts_itself_is_refused() {
    let message = Message::from_parts(message()).unwrap();
    let changed = |change: fn(&mut MessageParts)| message.clone().with(change);
    let without_content = |parts: &mut MessageParts| {
        parts.content_id = None;
        parts.content = None;
        parts.provenance = None;
    };
    for source in [Source::Reused, Source::Suggested] {
        let reused = message.clone().with(|parts| {
            parts.source = source;
            parts.reused_from = Some(from());
        });
        assert!(reused.is_ok());
    }
    for state in [MessageState::Generating, MessageState::GenerationFailed] {
        let waiting = message.clone().with(|parts| {
            without_content(parts);
            parts.state = state;
        });
        assert!(waiting.is_ok());
    }
    let contradictions: Vec<Contradiction<MessageParts>> = vec![
        (|parts| parts.content_id = None, "a part of a content"),
        (|parts| parts.content = None, "a part of a content"),
        (|parts| parts.provenance = None, "a part of a content"),
        (
            |parts| {
                *parts = MessageParts::generating(
                    parts.id,
                    parts.run_number,
                    parts.segment_no,
                    parts.segment.clone(),
                    NOW,
                );
                parts.content_model = Some("m".into());
            },
            "a part of a content",
        ),
        (without_content, "no content"),
        (|parts| parts.source = Source::Reused, "a source"),
        (|parts| parts.reused_from = Some(from()), "a source"),
        (|parts| parts.error = Some("e".into()), "an error"),
        (
            |parts| parts.rejection_reason = Some("r".into()),
            "a rejection",
        ),
        (
            |parts| {
                parts.state = MessageState::Approved;
                parts.suggestion = Some(KeptSuggestion::from_stored("{}".into()));
            },
            "a suggestion",
        ),
    ];
    for (change, said) in contradictions {
        let refused = changed(change).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn a_filter_takes_what_has_all_that_it_names() {
    let message = Message::from_parts(message()).unwrap();
    let every = MessageFilter {
        status: Some(ReviewStatus::PendingReview),
        stage: Some(1),
        source: Some(Source::Generated),
        segment: Some(ValueSearch::new("segment", "de").unwrap()),
    };
    assert!(every.takes(&message).unwrap());
    assert!(MessageFilter::default().takes(&message).unwrap());
    for other in [
        MessageFilter {
            status: Some(ReviewStatus::Approved),
            ..every.clone()
        },
        MessageFilter {
            stage: Some(0),
            ..every.clone()
        },
        MessageFilter {
            source: Some(Source::Edited),
            ..every.clone()
        },
        MessageFilter {
            segment: Some(ValueSearch::new("segment", "fr").unwrap()),
            ..every.clone()
        },
    ] {
        assert!(!other.takes(&message).unwrap(), "{other:?}");
    }
}

#[test]
fn counts_add_up() {
    let mut counts = MessageCounts::default();
    for (status, n) in [
        (ReviewStatus::Generating, 1),
        (ReviewStatus::GenerationFailed, 2),
        (ReviewStatus::PendingReview, 4),
        (ReviewStatus::Approved, 8),
        (ReviewStatus::Rejected, 16),
        (ReviewStatus::Published, 32),
    ] {
        counts = counts.add(status, Source::Generated, n);
    }
    assert_eq!((counts.total(), counts.unpublished()), (63, 31));
    let run = Run::from_parts(RunParts {
        counts,
        segments: SegmentCounts {
            total: 63,
            matched: 0,
            new: 63,
        },
        ..run()
    });
    let run = run.unwrap();
    assert_eq!(run.archived(), 0);
    let archived = run.with(|run| run.archived_at = Some(NOW)).unwrap();
    assert_eq!(archived.archived(), 63);
}

/// Each change makes a text longer by five letters, and a page must count them.
fn assert_counted<T: Clone>(of: &T, bytes: fn(&T) -> usize, changes: &[fn(&mut T)]) {
    for (place, change) in changes.iter().enumerate() {
        let mut longer = of.clone();
        change(&mut longer);
        assert_eq!(bytes(&longer), bytes(of) + 5, "change {place}");
    }
}

fn lengthen(text: &mut Option<String>) {
    text.get_or_insert_default().push_str("abcde");
}

fn longer_segment(of: &mut Segment) {
    *of = segment("DEabcde");
}

#[test]
fn a_page_counts_the_texts_of_campaigns() {
    let campaigns = |parts: &CampaignParts| Campaign::from_parts(parts.clone()).unwrap().bytes();
    assert_counted(
        &campaign(),
        campaigns,
        &[
            |to| to.name.push_str("abcde"),
            |to| to.template.subject.push_str("abcde"),
            |to| to.template.body.push_str("abcde"),
            |to| lengthen(&mut to.brief),
            |to| to.segment_by = SegmentBy::new(&["countryabcde"]).unwrap(),
            |to| to.approval_stages = ApprovalStages::new(&["Legalabcde"]).unwrap(),
        ],
    );
    let staged = |stages: &Vec<Stage>| {
        let approval_stages = ApprovalStages::declare(stages.clone()).unwrap();
        Campaign::from_parts(CampaignParts {
            approval_stages,
            ..campaign()
        })
        .unwrap()
        .bytes()
    };
    let of_role = vec![Stage::of_roles("Legal", ["LAWYER"])];
    assert_counted(
        &of_role,
        staged,
        &[|to| *to = vec![Stage::of_roles("Legal", ["LAWYERabcde"])]],
    );
    let of_two = vec![Stage::of_roles("Legal", ["LAWYER", "BOSS"])];
    assert_eq!(staged(&of_two), staged(&of_role) + "\"BOSS\",".len());
    let more = vec!["Legal".into(), "Board".into()];
    let plain = staged(&vec!["Legal".into()]);
    let frame = r#"{"name":"","roles":[]},"#.len();
    assert_eq!(staged(&more), plain + "Board".len() + frame);
    let ruled = |json: &str| {
        let segment_by = SegmentBy::from_rules_json(json).unwrap();
        let bytes = Campaign::from_parts(CampaignParts {
            segment_by: segment_by.clone(),
            ..campaign()
        })
        .unwrap()
        .bytes();
        assert_eq!(segment_by.rules_json(), Some(json));
        (bytes, Some(json.len()))
    };
    let (bytes, length) = ruled(r#"[{"field":"country","normalise":["casefold"]}]"#);
    assert_eq!(
        Some(bytes),
        length.map(|length| length + campaigns(&campaign()))
    );
}

#[test]
fn a_page_counts_the_texts_of_runs_and_messages() {
    let runs = |parts: &RunParts| Run::from_parts(parts.clone()).unwrap().bytes();
    assert_counted(
        &run(),
        runs,
        &[
            |to| to.group.name.push_str("abcde"),
            |to| to.initiated_by_name = Some(UserName::new("Adaabcde").unwrap()),
            |to| lengthen(&mut to.error),
            |to| lengthen(&mut to.cancel_reason),
        ],
    );
    let messages = |parts: &MessageParts| Message::from_parts(parts.clone()).unwrap().bytes();
    let kept = MessageParts {
        content_model: Some("m".into()),
        suggestion: Some(KeptSuggestion::from_stored("{}".into())),
        ..message()
    };
    assert_counted(
        &kept,
        messages,
        &[
            |to| longer_segment(&mut to.segment),
            |to| to.content.as_mut().unwrap().subject.push_str("abcde"),
            |to| to.content.as_mut().unwrap().body.push_str("abcde"),
            |to| lengthen(&mut to.content_model),
            |to| {
                to.provenance.as_mut().unwrap().approvals =
                    Approvals::from_stored("[     ]".into());
            },
            |to| to.suggestion = Some(KeptSuggestion::from_stored("{     }".into())),
        ],
    );
    let rejected = MessageParts {
        state: MessageState::Rejected,
        rejection_reason: Some("r".into()),
        ..message()
    };
    assert_counted(
        &rejected,
        messages,
        &[|to| lengthen(&mut to.rejection_reason)],
    );
    let failed = MessageParts {
        state: MessageState::GenerationFailed,
        error: Some("e".into()),
        ..message()
    };
    assert_counted(&failed, messages, &[|to| lengthen(&mut to.error)]);
}

#[test]
fn a_page_counts_the_texts_of_groups_and_entries() {
    let group = CustomerGroup {
        account_id: AccountId::new(ID),
        id: CustomerGroupId::new(ID),
        name: "Spring".into(),
        customer_count: 1,
        fields: vec!["country".into()],
        created_at: NOW,
        updated_at: NOW,
    };
    assert_counted(
        &group,
        CustomerGroup::bytes,
        &[
            |to| to.name.push_str("abcde"),
            |to| to.fields[0].push_str("abcde"),
            |to| to.fields.push("ab".into()),
        ],
    );
    let customer = Customer {
        customer_ref: "1".into(),
        profile: BTreeMap::from([("country".into(), "DE".into())]),
    };
    let with = |field: &str, value: &str| {
        let mut customer = customer.clone();
        customer.profile.insert(field.into(), value.into());
        customer.bytes()
    };
    assert_counted(
        &customer,
        Customer::bytes,
        &[
            |to| to.customer_ref.push_str("abcde"),
            |to| {
                to.profile
                    .values_mut()
                    .for_each(|value| value.push_str("abcde"));
            },
        ],
    );
    assert_eq!(
        with("tier", "gold"),
        customer.bytes() + "\"tier\":\"gold\",".len()
    );
    let values = CustomerValues {
        customer_ref: "1".into(),
        values: vec![Some("DE".into()), None],
    };
    assert_eq!(values.bytes(), 2);

    let entry = AuditEntry {
        seq: 1,
        id: AuditEntryId::new(ID),
        account_id: AccountId::new(ID),
        action: "campaign.created".into(),
        campaign_id: None,
        run_number: None,
        user_id: None,
        user_name: Some("Ada".into()),
        role_code: Some("ADMIN".into()),
        ip: None,
        request_id: Some("r-1".into()),
        details: "{}".into(),
        created_at: NOW,
        hash: [0; 32],
    };
    assert_counted(
        &entry,
        AuditEntry::bytes,
        &[
            |to| to.action.push_str("abcde"),
            |to| lengthen(&mut to.user_name),
            |to| lengthen(&mut to.role_code),
            |to| lengthen(&mut to.request_id),
            |to| to.details.push_str("abcde"),
        ],
    );
}

#[test]
fn a_page_counts_the_texts_of_segments_and_suggestions() {
    let no_message = None::<MessageId>;
    let item = DiffItem::new(
        1,
        segment("DE"),
        Some(MessageId::new(ID)),
        no_message,
        false,
    );
    assert_counted(
        &item,
        DiffItem::bytes,
        &[|to| longer_segment(&mut to.segment)],
    );
    let filled = FilledSegment {
        segment: segment("DE"),
        content: content(),
    };
    assert_counted(
        &filled,
        FilledSegment::bytes,
        &[
            |to| longer_segment(&mut to.segment),
            |to| to.content.body.push_str("abcde"),
        ],
    );
    let suggestion = Suggestion {
        message_id: MessageId::new(ID),
        run_number: RunNumber::FIRST,
        differs: vec![Difference {
            field: "tier".into(),
            from: Some("gold".into()),
            to: Some("silver".into()),
        }],
        evidence: Evidence { pairs: 0, same: 0 },
        mentions: vec!["x".into()],
    };
    let item = PreviewItem {
        segment: segment("DE"),
        reuses: None,
        suggestion: Some(suggestion),
    };
    assert_counted(
        &item,
        PreviewItem::bytes,
        &[
            |to| longer_segment(&mut to.segment),
            |to| {
                let suggestion = to.suggestion.as_mut().unwrap();
                suggestion.differs[0].field.push_str("abcde");
            },
            |to| lengthen(&mut to.suggestion.as_mut().unwrap().differs[0].from),
            |to| lengthen(&mut to.suggestion.as_mut().unwrap().differs[0].to),
            |to| {
                to.suggestion
                    .as_mut()
                    .unwrap()
                    .mentions
                    .push("abcde".into());
            },
        ],
    );
    let conflict = KeyConflict {
        segment: segment("DE"),
        messages: Vec::new(),
    };
    assert_counted(
        &conflict,
        KeyConflict::bytes,
        &[|to| longer_segment(&mut to.segment)],
    );
    let message = ConflictingMessage {
        message_id: MessageId::new(ID),
        run_number: RunNumber::FIRST,
    };
    let two = KeyConflict {
        messages: vec![message, message],
        ..conflict.clone()
    };
    assert_eq!(two.bytes(), conflict.bytes() + 160);
    let brief = GenerationBrief {
        template: Template {
            subject: "sub".into(),
            body: "body".into(),
        },
        brief: Some("Be kind".into()),
        segment_by: SegmentBy::new(&["country"]).unwrap(),
    };
    assert_counted(
        &brief,
        GenerationBrief::size,
        &[
            |to| to.template.subject.push_str("abcde"),
            |to| to.template.body.push_str("abcde"),
            |to| lengthen(&mut to.brief),
        ],
    );
}

#[test]
fn a_page_counts_the_texts_of_schedules_and_webhooks() {
    let schedule = Schedule {
        account_id: AccountId::new(ID),
        id: ScheduleId::new(ID),
        campaign_id: CampaignId::new(ID),
        name: "Mondays".into(),
        timing: Timing::Cron("0 9 * * 1".into()),
        time_zone: "UTC".into(),
        customer_group_id: None,
        reuse_from: ReuseFrom::CurrentRun,
        when: When::GroupChanged,
        overlap: Overlap::Skip,
        catch_up_seconds: 0,
        jitter_seconds: 0,
        ends_at: None,
        state: ScheduleState {
            status: ScheduleStatus::Active,
            note: Some("n".into()),
            next_time: None,
            due_at: None,
            waiting: None,
            refusals: 0,
        },
        version: 1,
        created_by: UserId::new(ID),
        created_by_name: Some(UserName::new("Ada").unwrap()),
        role_code: "ADMIN".into(),
        created_at: NOW,
        updated_at: NOW,
    };
    let firing = Firing {
        key: FiringKey {
            scheduled_for: NOW,
            triggered: false,
        },
        fired_at: NOW,
        outcome: Outcome::Refused,
        run_number: None,
        reason: Some("r".into()),
    };
    assert_counted(&firing, Firing::bytes, &[|to| lengthen(&mut to.reason)]);
    assert_counted(
        &ScheduleView {
            schedule,
            last_firing: Some(firing),
        },
        ScheduleView::bytes,
        &[
            |to| to.schedule.name.push_str("abcde"),
            |to| to.schedule.timing = Timing::Cron("0 9 * * 1    5".into()),
            |to| to.schedule.time_zone.push_str("abcde"),
            |to| lengthen(&mut to.schedule.state.note),
            |to| to.schedule.created_by_name = Some(UserName::new("Adaabcde").unwrap()),
            |to| lengthen(&mut to.last_firing.as_mut().unwrap().reason),
        ],
    );
    let webhook = Webhook {
        account_id: AccountId::new(ID),
        id: WebhookId::new(ID),
        url: "https://example.com/hook".into(),
        types: None,
        campaign_id: None,
        description: Some("d".into()),
        ordered: false,
        disabled: None,
        failing_since: None,
        secret_number: 1,
        previous_secret_until: None,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    };
    assert_counted(
        &WebhookProgress {
            webhook,
            delivered_sequence: 0,
            pending: 0,
        },
        WebhookProgress::bytes,
        &[
            |to| to.webhook.url.push_str("abcde"),
            |to| lengthen(&mut to.webhook.description),
        ],
    );
    let attempt = Attempt {
        at: NOW,
        status: Some(204),
        duration: Duration::ZERO,
        error: None,
    };
    let delivery = Delivery {
        event_id: AuditEntryId::new(ID),
        event_type: "run.failed".into(),
        sequence: 1,
        state: DeliveryState::Delivered,
        attempts: vec![attempt, attempt],
        next_attempt_at: None,
    };
    assert_eq!(delivery.bytes(), 200);
}
