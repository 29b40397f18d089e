use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use actix_web::test::TestRequest;
use rerun_core::actor::{Actor, Person, UserName};
use rerun_core::audit::{AuditAction, Authorship, ChainHead};
use rerun_core::campaign::CampaignStatus;
use rerun_core::diff::{DiffCounts, DiffItem};
use rerun_core::error::StoreError;
use rerun_core::event::{ChangedMessages, Event, StatusChange};
use rerun_core::group::{ImportMode, Imported};
use rerun_core::ids::{AuditEntryId, MessageId, RunNumber};
use rerun_core::message::{
    Approvals, Message, MessageState, Provenance, ReusedFrom, ReviewStatus, Source,
};
use rerun_core::page::{AuditKey, MessageKey, Page};
use rerun_core::plan::SegmentCandidate;
use rerun_core::ports::{
    CampaignContext, ChangeOutcome, Diff, History, ImportFailure, KeptResponse, MessageList,
    MessageSelection, SegmentCandidates,
};
use rerun_core::review::MessageRef;
use rerun_core::run::RunStatus;
use rerun_core::survey::{FieldReport, UnseenValue, ValueReport};
use serde_json::{Value, json};

use crate::Limits;
use crate::testing::{
    CONTENT, ID, Mocks, USER, account, campaign, group, message, now, request, run, segment,
};
use uuid::Uuid;

const AT: &str = "2026-11-23T09:00:00.000Z";
const OTHER: &str = "0193ed20-7b3c-7000-8000-00000000eeee";

const IMPORT: &str = "/v1/customer-group/import";

fn run_json() -> Value {
    json!({
        "run_number": 1, "job_uid": ID, "status": "Completed", "is_current": true,
        "synthesised": false, "customer_group": { "id": ID, "name": "Spring" },
        "customer_count": 3, "segments": { "total": 1, "matched": 0, "new": 1 },
        "messages": {
            "total": 1, "reused": 0, "generated": 1, "edited": 0, "generating": 0, "failed": 0,
            "pending": 0, "approved": 0, "rejected": 0, "published": 1, "archived": 0,
        },
        "usage": { "prompt_tokens": 0, "completion_tokens": 0 },
        "saved": { "messages": 0, "customers": 0, "prompt_tokens": 0, "completion_tokens": 0 },
        "resulting_status": "Ready for review", "initiated_by": USER,
        "initiated_by_name": null, "schedule_id": null, "error": null,
        "cancel_reason": null, "started_at": AT, "completed_at": AT,
    })
}

#[actix_web::test]
async fn history_shows_runs() {
    let mut mocks = Mocks::default();
    mocks.history.expect_history().returning(|owner, _, page| {
        assert_eq!((owner, page.limit.get()), (account(), 1));
        let runs = Page {
            items: vec![run()],
            next: Some(RunNumber::FIRST),
        };
        Ok(Some(History {
            status: CampaignStatus::Published,
            current_run: Some(RunNumber::FIRST),
            runs,
        }))
    });
    let body = json!({ "campaign_id": ID.to_uppercase(), "limit": 1 });
    let answer = mocks.post("/v1/campaign/rerun/history", &body).await;
    let mut body = answer.json();
    assert!(
        body["next_cursor"]
            .as_str()
            .is_some_and(|cursor| !cursor.is_empty())
    );
    body["next_cursor"] = Value::Null;
    assert_eq!(
        body,
        json!({
            "campaign_id": ID, "campaign_status": "Published", "current_run_number": 1,
            "runs": [run_json()], "next_cursor": null,
        }),
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

fn message_json() -> Value {
    json!({
        "id": ID, "run_number": 1,
        "segment": {
            "key": segment().key.to_string(),
            "attributes": { "country": "DE", "tier": null }, "customer_count": 3,
        },
        "content_id": CONTENT, "content": { "subject": "Hi", "body": "Dear, \"you\"\n=1+1" },
        "review_status": "Pending review", "approval_stage": "Legal", "source": "generated",
        "reused_from": null, "provenance": null, "archived": false, "archived_at": null,
        "rejection_reason": null, "error": null, "suggestion": null, "created_at": AT,
        "updated_at": AT,
    })
}

fn message_list(messages: Page<Message, MessageKey>) -> MessageList {
    let campaign = campaign(CampaignStatus::Published);
    MessageList {
        current_run: campaign.current_run,
        approval_stages: campaign.approval_stages,
        run_exists: true,
        messages,
    }
}

/// The history has one run.
fn with_run(mocks: &mut Mocks) {
    mocks.history.expect_history().returning(|_, _, _| {
        Ok(Some(History {
            status: CampaignStatus::Published,
            current_run: Some(RunNumber::FIRST),
            runs: Page {
                items: vec![run()],
                next: None,
            },
        }))
    });
}

#[actix_web::test]
async fn messages_are_selected_and_shown() {
    use MessageSelection::{CurrentRun, EveryRun, Run};
    let one = RunNumber::FIRST;
    for (body, selected, number) in [
        (json!({}), CurrentRun, json!(1)),
        (json!({ "include_archived": false }), CurrentRun, json!(1)),
        (json!({ "include_archived": true }), EveryRun, Value::Null),
        (json!({ "run_number": 1 }), Run(one), json!(1)),
        (
            json!({ "run_number": 1, "include_archived": false }),
            Run(one),
            json!(1),
        ),
    ] {
        let mut mocks = Mocks::default();
        if selected != EveryRun {
            with_run(&mut mocks);
        }
        mocks
            .history
            .expect_messages()
            .returning(move |_, _, selection, _| {
                assert_eq!(selection, selected);
                Ok(Some(message_list(Page {
                    items: vec![message(MessageState::PendingReview { stage: 1 })],
                    next: None,
                })))
            });
        let mut body = body;
        body["campaign_id"] = json!(ID);
        let answer = mocks.post("/v1/campaign/rerun/messages", &body).await;
        assert_eq!(
            answer.json(),
            json!({
                "campaign_id": ID, "run_number": number,
                "counts": if number.is_null() { Value::Null } else { run_json()["messages"].clone() },
                "messages": [message_json()], "next_cursor": null,
            }),
        );
    }
}

#[actix_web::test]
async fn a_list_goes_on_with_the_run_that_it_began_with() {
    let mut mocks = Mocks::default();
    with_run(&mut mocks);
    mocks.history.expect_messages().returning(|_, _, _, _| {
        let items = vec![message(MessageState::Published)];
        let messages = Page { items, next: None };
        Ok(Some(MessageList {
            current_run: RunNumber::new(2),
            ..message_list(messages)
        }))
    });
    let answer = mocks
        .post("/v1/campaign/rerun/messages", &json!({ "campaign_id": ID }))
        .await;
    assert_eq!(answer.json()["run_number"], 1);
}

#[actix_web::test]
async fn a_reused_message_tells_where_it_comes_from() {
    let mut mocks = Mocks::default();
    with_run(&mut mocks);
    mocks.history.expect_messages().returning(|_, _, _, _| {
        let mut reused = message(MessageState::Approved);
        reused.source = Source::Reused;
        let from = (MessageId::parse(OTHER).unwrap(), RunNumber::FIRST);
        reused.reused_from = Some(ReusedFrom {
            message_id: from.0,
            run_number: from.1,
        });
        let approvals = format!(r#"[{{"stage":"Legal","user_id":"{USER}","approved_at":"{AT}"}}]"#);
        reused.provenance = Some(Provenance {
            run_number: RunNumber::FIRST,
            approvals: Approvals::from_stored(approvals),
        });
        reused.archived_at = Some(now());
        let messages = Page {
            items: vec![reused],
            next: None,
        };
        Ok(Some(message_list(messages)))
    });
    let answer = mocks
        .post("/v1/campaign/rerun/messages", &json!({ "campaign_id": ID }))
        .await;
    let item = &answer.json()["messages"][0];
    assert_eq!(
        item["reused_from"],
        json!({ "message_id": OTHER, "run_number": 1 })
    );
    assert_eq!(
        item["provenance"],
        json!({
            "run_number": 1,
            "approvals": [
                { "stage": "Legal", "user_id": USER, "user_name": null, "approved_at": AT },
            ],
        }),
    );
    assert_eq!(
        (&item["archived"], &item["archived_at"]),
        (&json!(true), &json!(AT))
    );
    assert_eq!(item["approval_stage"], Value::Null);
}

/// Ports that have the campaign.
fn with_campaign() -> Mocks {
    let mut mocks = Mocks::default();
    mocks
        .campaigns
        .expect_find_campaign()
        .returning(|_, _| Ok(Some(campaign(CampaignStatus::Published))));
    mocks
}

#[actix_web::test]
async fn a_run_that_is_not_there_is_missed() {
    let mut mocks = with_campaign();
    mocks.history.expect_messages().returning(|_, _, _, _| {
        let messages = Page {
            items: Vec::new(),
            next: None,
        };
        Ok(Some(MessageList {
            run_exists: false,
            ..message_list(messages)
        }))
    });
    let body = json!({ "campaign_id": ID, "run_number": 9, "format": "csv" });
    let answer = mocks.post("/v1/campaign/messages/export", &body).await;
    assert_eq!(answer.error().1, "run_not_found");
}

/// Ports for a rerun of a published campaign to a group of one segment, new or not.
fn rerunnable(new: bool) -> Mocks {
    let mut mocks = Mocks::default();
    mocks
        .campaigns
        .expect_campaign_context()
        .returning(|_, _, _| {
            Ok(Some(CampaignContext {
                campaign: campaign(CampaignStatus::Published),
                current_run: Some(run()),
                group: Some(group()),
            }))
        });
    mocks
        .reruns
        .expect_suggestions()
        .returning(|_, _, _| Ok(Some(std::collections::HashMap::new())));
    mocks
        .reruns
        .expect_segment_candidates()
        .returning(move |_| {
            let reusable = (!new).then(|| rerun_core::plan::ReuseCandidate {
                message_id: MessageId::parse(OTHER).unwrap(),
                run_number: RunNumber::FIRST,
                status: ReviewStatus::Published,
            });
            let segment = SegmentCandidate {
                key: segment().key,
                customer_count: 3,
                reusable,
            };
            let all = rerun_core::segment::FieldValues {
                customers: 3,
                ..rerun_core::segment::FieldValues::default()
            };
            Ok(SegmentCandidates {
                group_version: 1,
                segments: vec![segment],
                fields: vec![all; 2],
            })
        });
    mocks
}

#[actix_web::test]
async fn initiate_answers_and_replays_and_wakes_the_worker_once() {
    let kept = Arc::new(Mutex::new(None));
    let woken = Arc::default();
    let call = || {
        let mut mocks = Mocks {
            woken: Arc::clone(&woken),
            ..rerunnable(true)
        };
        let store = Arc::clone(&kept);
        mocks.reruns.expect_start_run().returning(move |start| {
            *store.lock().unwrap() = start.response;
            Ok(())
        });
        let store = Arc::clone(&kept);
        mocks
            .responses
            .expect_find_response()
            .returning(move |_, key, _| {
                assert_eq!(key, "k-1");
                let kept: Option<rerun_core::ports::IdempotentResponse> =
                    store.lock().unwrap().clone();
                Ok(kept.map(|kept| KeptResponse {
                    endpoint: kept.key.endpoint.to_owned(),
                    fingerprint: kept.key.fingerprint,
                    response: kept.response,
                }))
            });
        let body = json!({ "campaign_id": ID, "new_customer_group_id": ID });
        let request = request("/v1/campaign/rerun/initiate");
        let request = request.insert_header(("idempotency-key", "k-1"));
        async move { mocks.call(request.set_payload(body.to_string())).await }
    };
    let (first, second) = (call().await, call().await);
    let mut body = first.json();
    assert!(Uuid::try_parse(body["job_uid"].as_str().unwrap()).is_ok());
    body["job_uid"] = Value::Null;
    assert_eq!(
        body,
        json!({
            "campaign_id": ID, "run_number": 2, "job_uid": null, "run_status": "Queued",
            "campaign_status": "Processing", "resulting_status": "Ready for review",
            "customer_group": { "id": ID, "name": "Spring" }, "customer_count": 3,
            "segments": { "total": 1, "matched": 0, "new": 1 }, "archived_messages": 1,
            "started_at": AT, "completed_at": null,
        }),
    );
    assert_eq!(first.header("idempotent-replay"), None);
    assert_eq!((second.status, &second.text), (first.status, &first.text));
    assert_eq!(second.header("idempotent-replay"), Some("true"));
    assert_eq!(woken.load(Ordering::Relaxed), 1);
}

#[actix_web::test]
async fn a_rerun_without_new_segments_wakes_nobody() {
    let woken = Arc::default();
    let mut mocks = Mocks {
        woken: Arc::clone(&woken),
        ..rerunnable(false)
    };
    mocks.reruns.expect_start_run().returning(|_| Ok(()));
    let body = json!({ "campaign_id": ID, "new_customer_group_id": ID, "reuse_from": "any_run" });
    let body = mocks
        .post("/v1/campaign/rerun/initiate", &body)
        .await
        .json();
    assert_eq!(
        (
            &body["run_status"],
            &body["campaign_status"],
            &body["completed_at"]
        ),
        (&json!("Completed"), &json!("Ready to publish"), &json!(AT)),
    );
    assert_eq!(woken.load(Ordering::Relaxed), 0);
}

#[actix_web::test]
async fn preview_tells_what_would_be() {
    let mut mocks = rerunnable(false);
    mocks
        .reruns
        .expect_segments()
        .returning(|_, _, _, _| Ok(vec![segment()]));
    mocks.reruns.expect_survey().returning(|_, _| {
        let unseen = UnseenValue {
            value: "de".to_owned(),
            customers: 2,
            looks_like: Some("DE".to_owned()),
        };
        Ok(Some(ValueReport {
            single_customer_segments: 4,
            needless: 5,
            fields: vec![
                FieldReport {
                    distinct: 6,
                    unseen_values: vec![unseen],
                },
                FieldReport::default(),
            ],
        }))
    });
    let body = json!({ "campaign_id": ID, "new_customer_group_id": ID });
    let answer = mocks.post("/v1/campaign/rerun/preview", &body).await;
    assert_eq!(
        answer.json(),
        json!({
            "campaign_id": ID, "customer_group": { "id": ID, "name": "Spring" },
            "customer_count": 3, "segments": { "total": 1, "matched": 1, "new": 0 },
            "resulting_status": "Ready to publish",
            "fields": [
                {
                    "name": "country", "customers_without_value": 0, "distinct": 6, "unparsed": 0,
                    "unseen_values": [{ "value": "de", "customers": 2, "looks_like": "DE" }],
                },
                {
                    "name": "tier", "customers_without_value": 0, "distinct": 0, "unparsed": 0,
                    "unseen_values": [],
                },
            ],
            "single_customer_segments": 4, "needless": 5,
            "items": [{
                "segment": message_json()["segment"], "outcome": "matched",
                "reuses": { "message_id": OTHER, "run_number": 1 },
                "suggestion": null,
            }],
            "next_cursor": null,
        }),
    );
}

#[actix_web::test]
async fn archive_cancel_and_diff_answer() {
    let body = json!({ "campaign_id": ID, "run_number": 1 });
    let answer = rerunnable(true)
        .post("/v1/campaign/rerun/archive", &body)
        .await;
    assert_eq!(answer.error().2, "The current run cannot be archived");

    let mut mocks = Mocks::default();
    mocks
        .campaigns
        .expect_campaign_context()
        .returning(|_, _, _| {
            let campaign = campaign(CampaignStatus::ReadyToPublish);
            Ok(Some(CampaignContext {
                campaign,
                current_run: Some(run()),
                group: None,
            }))
        });
    mocks.reruns.expect_cancel_run().returning(|cancel| {
        assert_eq!(cancel.run.status, RunStatus::Cancelled);
        Ok(())
    });
    let body = json!({ "campaign_id": ID, "reason": "wrong group" });
    let answer = mocks.post("/v1/campaign/rerun/cancel", &body).await;
    assert_eq!(
        answer.json(),
        json!({
            "campaign_id": ID, "run_number": 1, "campaign_status": "Draft",
            "current_run_number": null,
        }),
    );

    let mut mocks = Mocks::default();
    mocks.history.expect_diff().returning(|_, _, _, _, _| {
        let item = DiffItem::new(
            1,
            segment(),
            MessageId::parse(ID),
            MessageId::parse(OTHER),
            false,
        );
        let counts = DiffCounts {
            kept_changed: 1,
            ..DiffCounts::default()
        };
        Ok(Some(Diff {
            runs_exist: true,
            counts,
            items: Page {
                items: vec![item],
                next: None,
            },
        }))
    });
    let body = json!({ "campaign_id": ID, "from_run": 1, "to_run": 2 });
    let answer = mocks.post("/v1/campaign/rerun/diff", &body).await;
    assert_eq!(
        answer.json(),
        json!({
            "campaign_id": ID, "from_run": 1, "to_run": 2,
            "counts": { "added": 0, "removed": 0, "kept_same": 0, "kept_changed": 1 },
            "items": [{
                "segment": message_json()["segment"], "change": "kept_changed", "from": ID,
                "to": OTHER,
            }],
            "next_cursor": null,
        }),
    );
}

/// Ports on which a change of the one message goes through.
fn changeable(status: CampaignStatus, after: CampaignStatus) -> Mocks {
    let mut mocks = Mocks::default();
    mocks
        .campaigns
        .expect_campaign_context()
        .returning(move |_, _, _| {
            let campaign = campaign(status);
            Ok(Some(CampaignContext {
                campaign,
                current_run: Some(run()),
                group: None,
            }))
        });
    mocks.reviews.expect_message_refs().returning(|_, _, ids| {
        let state = MessageState::PendingReview { stage: 1 };
        let found = ids.into_iter().map(|id| MessageRef {
            id,
            run_number: RunNumber::FIRST,
            content_id: None,
            state,
            edited_by: None,
            approved_by: Vec::new(),
        });
        Ok(found.collect())
    });
    mocks.reviews.expect_change_messages().returning(move |_| {
        Ok(ChangeOutcome::Changed {
            messages: 1,
            campaign_status: after,
        })
    });
    mocks
}

#[actix_web::test]
async fn changes_of_messages_answer_each_with_its_own_count() {
    use CampaignStatus::{GenerationFailed, Processing, Published, ReadyForReview, ReadyToPublish};
    let changed = |status: &str, count: &str| json!({ "campaign_id": ID, "run_number": 1, "campaign_status": status, count: 1 });
    for (path, before, after, body, expected, wakes) in [
        (
            "/v1/campaign/messages/review",
            ReadyForReview,
            ReadyToPublish,
            json!({ "decision": "approve", "all": true }),
            changed("Ready to publish", "reviewed_messages"),
            0,
        ),
        (
            "/v1/campaign/messages/review",
            ReadyForReview,
            ReadyForReview,
            json!({ "decision": "reject", "message_ids": [ID, ID], "reason": "no" }),
            changed("Ready for review", "reviewed_messages"),
            0,
        ),
        (
            "/v1/campaign/messages/regenerate",
            ReadyForReview,
            Processing,
            json!({ "message_ids": [ID] }),
            changed("Processing", "queued_messages"),
            1,
        ),
        (
            "/v1/campaign/rerun/retry",
            GenerationFailed,
            Processing,
            json!({}),
            changed("Processing", "queued_messages"),
            1,
        ),
        (
            "/v1/campaign/publish",
            ReadyToPublish,
            Published,
            json!({}),
            changed("Published", "published_messages"),
            0,
        ),
    ] {
        let woken = Arc::default();
        let mocks = Mocks {
            woken: Arc::clone(&woken),
            ..changeable(before, after)
        };
        let mut body = body;
        body["campaign_id"] = json!(ID);
        let answer = mocks.post(path, &body).await;
        assert_eq!(answer.json(), expected, "{path}");
        assert_eq!(woken.load(Ordering::Relaxed), wakes, "{path}");
    }
}

#[actix_web::test]
async fn an_edit_answers_the_message() {
    let mut mocks = changeable(
        CampaignStatus::ReadyForReview,
        CampaignStatus::ReadyForReview,
    );
    mocks
        .history
        .expect_find_message()
        .returning(|_, _, _| Ok(Some(message(MessageState::PendingReview { stage: 1 }))));
    let body = json!({
        "campaign_id": ID, "message_id": ID, "content": { "subject": "s", "body": "b" },
    });
    let answer = mocks.post("/v1/campaign/messages/edit", &body).await;
    // As the edit left it, whatever the message is when it is read.
    let mut edited = message_json();
    let content_id = answer.json()["content_id"].clone();
    assert_ne!(content_id, edited["content_id"], "the content is new");
    edited["content_id"] = content_id;
    edited["content"] = json!({ "subject": "s", "body": "b" });
    edited["approval_stage"] = json!("Draft");
    edited["source"] = json!("edited");
    edited["provenance"] = json!({ "run_number": 1, "approvals": [] });
    assert_eq!(answer.json(), edited);
    let mocks = changeable(
        CampaignStatus::ReadyForReview,
        CampaignStatus::ReadyForReview,
    );
    let body = json!({
        "campaign_id": ID, "message_id": "x", "content": { "subject": "s", "body": "b" },
    });
    let answer = mocks.post("/v1/campaign/messages/edit", &body).await;
    assert_eq!(answer.error().1, "message_not_found");
}

#[actix_web::test]
async fn a_refused_transition_names_status_and_action() {
    let mocks = changeable(CampaignStatus::Draft, CampaignStatus::Draft);
    let answer = mocks
        .post("/v1/campaign/publish", &json!({ "campaign_id": ID }))
        .await;
    let expected = "cannot publish a campaign that is `Draft`";
    assert_eq!(
        answer.error(),
        (409, "invalid_transition".into(), expected.into())
    );
}

fn campaign_json() -> Value {
    json!({
        "id": ID, "name": "Hello", "status": "Published", "customer_group_id": ID,
        "segment_by": ["country", "tier"],
        "template": { "subject": "Hi", "body": "Dear {{ tier }}" }, "brief": null,
        "approval_stages": ["Draft", "Legal"], "distinct_reviewers": false,
        "suggest_reruns": true, "current_run_number": 1, "created_by": USER,
        "created_at": AT, "updated_at": AT,
    })
}

#[actix_web::test]
async fn campaigns_are_made_and_shown() {
    let mut mocks = Mocks::default();
    // Of an empty group the fields are not known yet.
    mocks.groups.expect_find_group().returning(|_, _| {
        let mut empty = group();
        empty.customer_count = 0;
        Ok(Some(empty))
    });
    mocks.templates.expect_check().returning(|_, _| Ok(()));
    mocks
        .campaigns
        .expect_create_campaign()
        .returning(|_, _, _| Ok(()));
    let body = json!({
        "name": "Hello", "customer_group_id": ID, "segment_by": ["country", "tier"],
        "template": { "subject": "Hi", "body": "Dear {{ tier }}" },
        "approval_stages": ["Draft", "Legal"], "brief": "short",
    });
    let made = mocks.post("/v1/campaign/create", &body).await.json();
    let mut expected = campaign_json();
    expected["id"] = made["id"].clone();
    expected["status"] = json!("Draft");
    expected["current_run_number"] = Value::Null;
    expected["brief"] = json!("short");
    assert_eq!(made, expected);

    let mut mocks = Mocks::default();
    mocks
        .campaigns
        .expect_find_campaign()
        .returning(|_, _| Ok(Some(campaign(CampaignStatus::Published))));
    let answer = mocks
        .post("/v1/campaign/get", &json!({ "campaign_id": ID }))
        .await;
    assert_eq!(answer.json(), campaign_json());

    let mut mocks = Mocks::default();
    mocks
        .campaigns
        .expect_list_campaigns()
        .returning(|_, status, _| {
            assert_eq!(status, Some(CampaignStatus::Published));
            Ok(Page {
                items: vec![campaign(CampaignStatus::Published)],
                next: None,
            })
        });
    let answer = mocks
        .post("/v1/campaign/list", &json!({ "status": "Published" }))
        .await;
    assert_eq!(
        answer.json(),
        json!({ "campaigns": [campaign_json()], "next_cursor": null })
    );
}

fn group_json() -> Value {
    json!({ "id": ID, "name": "Spring", "customer_count": 3, "fields": ["country", "tier"], "created_at": AT, "updated_at": AT })
}

#[actix_web::test]
async fn customer_groups_are_made_and_shown() {
    let mut mocks = Mocks::default();
    mocks
        .groups
        .expect_create_group()
        .returning(|_, _, _| Ok(()));
    let made = mocks
        .post("/v1/customer-group/create", &json!({ "name": " Spring " }))
        .await
        .json();
    assert_eq!(
        (&made["name"], &made["customer_count"], &made["fields"]),
        (&json!("Spring"), &json!(0), &json!([]))
    );

    let mut mocks = Mocks::default();
    mocks
        .groups
        .expect_find_group()
        .returning(|_, _| Ok(Some(group())));
    let answer = mocks
        .post(
            "/v1/customer-group/get",
            &json!({ "customer_group_id": ID }),
        )
        .await;
    assert_eq!(answer.json(), group_json());

    let mut mocks = Mocks::default();
    mocks.groups.expect_list_groups().returning(|_, _| {
        Ok(Page {
            items: vec![group()],
            next: None,
        })
    });
    let answer = mocks.post("/v1/customer-group/list", &json!({})).await;
    assert_eq!(
        answer.json(),
        json!({ "customer_groups": [group_json()], "next_cursor": null })
    );
}

fn csv(query: &str) -> TestRequest {
    request(&format!("{IMPORT}{query}")).insert_header(("content-type", "text/csv; charset=utf-8"))
}

#[actix_web::test]
async fn an_import_gives_the_store_its_rows() {
    let mut mocks = Mocks::default();
    mocks
        .groups
        .expect_find_group()
        .returning(|_, _| Ok(Some(group())));
    mocks
        .groups
        .expect_import_customers()
        .returning(|owner, _, file, audit, _| {
            assert_eq!((owner, audit.customer_group_id), (account(), group().id));
            assert_eq!(
                (&*file.fields, file.mode),
                (&["country".to_owned()][..], ImportMode::Replace)
            );
            let rows: Vec<_> = file.rows.map(|row| row.unwrap()).collect();
            assert_eq!(rows.len(), 2);
            assert_eq!(rows[1].values, [None]);
            Ok(Imported {
                rows: 2,
                imported: 1,
                updated: 0,
                removed: 4,
                duplicates: 1,
                total: 5,
            })
        });
    let body = "customer_ref,country\na,DE\nb,\n";
    let answer = mocks
        .call(csv(&format!("?customer_group_id={ID}&mode=replace")).set_payload(body))
        .await;
    assert_eq!(
        answer.json(),
        json!({
            "rows": 2, "imported": 1, "updated": 0, "removed": 4, "duplicates": 1, "total": 5,
            "fields": ["country"],
        })
    );
}

/// Ports of an import into a group that is there, by a store that stops at the first bad row.
fn importing() -> Mocks {
    let mut mocks = Mocks::default();
    mocks
        .groups
        .expect_find_group()
        .returning(|_, _| Ok(Some(group())));
    mocks
        .groups
        .expect_import_customers()
        .returning(|_, _, file, _, _| {
            let rows = file
                .rows
                .collect::<Result<Vec<_>, _>>()
                .map_err(ImportFailure::Rejected)?;
            let total = u64::try_from(rows.len()).unwrap();
            Ok(Imported {
                rows: total,
                imported: total,
                updated: 0,
                removed: 0,
                duplicates: 0,
                total,
            })
        });
    mocks
}

#[actix_web::test]
async fn an_import_is_refused_for_the_first_thing_wrong() {
    let query = format!("?customer_group_id={ID}");
    let answer = Mocks::default().call(csv("").set_payload("x")).await;
    assert_eq!(
        (answer.error().0, &answer.json()["fields"]),
        (401, &json!(["customer_group_id"]))
    );
    let answer = Mocks::default()
        .call(csv("?customer_group_id=").set_payload("x"))
        .await;
    assert_eq!(answer.error().0, 401);
    let twice = format!("{query}&customer_group_id={ID}");
    assert_eq!(
        Mocks::default()
            .call(csv(&twice).set_payload("x"))
            .await
            .error()
            .0,
        400
    );
    for mode in ["", "Merge", "append"] {
        let refused = Mocks::default()
            .call(csv(&format!("{query}&mode={mode}")).set_payload("x"))
            .await;
        assert_eq!(refused.error().0, 400, "{mode}");
        assert!(refused.error().2.contains("`mode`"), "{mode}");
    }
    let mut mocks = Mocks::default();
    mocks.groups.expect_find_group().returning(|_, _| Ok(None));
    let answer = mocks
        .call(csv("?customer_group_id=x").set_payload(""))
        .await;
    assert_eq!(answer.error().1, "customer_group_not_found");
    for (body, said) in [
        ("", "no column `customer_ref`"),
        ("country\nDE\n", "no column `customer_ref`"),
        ("customer_ref,a\nx,1\ny\n", "line 3: 1 values"),
        ("customer_ref,a\nx,\"1\n", "line 2: a quote is never closed"),
    ] {
        let answer = importing().call(csv(&query).set_payload(body)).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, &*code), (400, "invalid_request"), "{body}");
        assert!(message.contains(said), "{message}");
    }
    let limits = Limits {
        max_import_bytes: 15,
        ..Limits::default()
    };
    for (body, status) in [("customer_ref\nab", 200), ("customer_ref\nabc", 413)] {
        let mocks = Mocks {
            limits,
            ..importing()
        };
        let answer = mocks.call(csv(&query).set_payload(body)).await;
        assert_eq!(answer.status.as_u16(), status);
    }
    let json = request(&format!("{IMPORT}{query}"));
    assert_eq!(
        Mocks::default().call(json.set_payload("x")).await.error().0,
        415
    );
}

/// A store with two pages of one message each, of which reading the second may fail.
fn two_pages(broken: bool) -> Mocks {
    let mut mocks = with_campaign();
    mocks
        .history
        .expect_messages()
        .returning(move |_, _, selection, page| {
            assert_eq!(selection, MessageSelection::Run(RunNumber::FIRST));
            let first = page.after.is_none();
            if broken && !first {
                return Err(StoreError::Backend("gone".into()));
            }
            let mut message = message(MessageState::PendingReview { stage: 0 });
            if !first {
                message.content_id = None;
                message.content = None;
                message.state = MessageState::Generating;
                message.reused_from = Some(ReusedFrom {
                    message_id: message.id,
                    run_number: RunNumber::FIRST,
                });
            }
            let next = first.then_some(MessageKey {
                run_number: RunNumber::FIRST,
                segment_no: 1,
            });
            let messages = Page {
                items: vec![message],
                next,
            };
            Ok(Some(message_list(messages)))
        });
    mocks
}

#[actix_web::test]
async fn an_export_is_a_file_of_all_pages() {
    let body = |format: &str| json!({ "campaign_id": ID, "run_number": 1, "format": format });
    let path = "/v1/campaign/messages/export";
    let answer = two_pages(false).post(path, &body("csv")).await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/csv; charset=utf-8")
    );
    let file = format!("attachment; filename=\"campaign-{ID}-run-1.csv\"");
    assert_eq!(answer.header("content-disposition"), Some(&*file));
    let key = segment().key;
    assert_eq!(
        answer.text,
        format!(
            "message_id,run_number,segment_key,country,tier,customer_count,subject,body,\
             review_status,approval_stage,source,reused_from_message_id,reused_from_run_number,\
             archived,archived_at,rejection_reason,error,created_at,updated_at,content_id\n\
             {ID},1,{key},DE,,3,Hi,\"Dear, \"\"you\"\"\n=1+1\",Pending review,Draft,generated,,,\
             false,,,,{AT},{AT},{CONTENT}\n\
             {ID},1,{key},DE,,3,,,Generating,,generated,{ID},1,false,,,,{AT},{AT},\n",
        ),
    );
    let answer = two_pages(false).post(path, &body("jsonl")).await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["segment"], message_json()["segment"]);
    assert_eq!(lines[1]["content"], Value::Null);
    // What breaks off after the status was sent cannot be told apart by it, but by its end.
    assert_eq!(two_pages(true).post(path, &body("csv")).await.text, "");
}

#[actix_web::test]
async fn the_audit_log_shows_entries() {
    let mut mocks = Mocks::default();
    mocks.audit.expect_list_audit().returning(|_, filter, _| {
        assert_eq!(filter.action, Some(AuditAction::CampaignPublished));
        let person = Person {
            user_id: rerun_core::ids::UserId::parse(USER).unwrap(),
            user_name: Some(UserName::new("Ada").unwrap()),
            role_code: "ADMIN".into(),
            ip: "::1".parse().ok(),
        };
        let author = Authorship {
            entry_id: AuditEntryId::parse(OTHER).unwrap(),
            actor: Actor::person(account(), person).in_request("r-1"),
            at: now(),
        };
        let event = Event::CampaignPublished(ChangedMessages {
            status: StatusChange {
                campaign_id: filter.campaign_id.unwrap(),
                run_number: RunNumber::FIRST,
                before: CampaignStatus::ReadyToPublish,
                after: CampaignStatus::Published,
            },
            messages: 3,
            message_ids: None,
        });
        let entry = author.of(event).sealed(&ChainHead::EMPTY);
        Ok(Some(Page {
            items: vec![entry],
            next: Some(AuditKey(1)),
        }))
    });
    let body = json!({ "campaign_id": ID, "action": "campaign.published" });
    let answer = mocks.post("/v1/audit/list", &body).await.json();
    assert_eq!(
        answer["entries"],
        json!([{
            "id": OTHER, "sequence": 1, "action": "campaign.published", "campaign_id": ID, "run_number": 1,
            "user_id": USER, "user_name": "Ada", "role_code": "ADMIN", "ip": "::1", "request_id": "r-1",
            "details": { "before": "Ready to publish", "after": "Published", "messages": 3 },
            "created_at": AT,
        }]),
    );
    assert!(answer["next_cursor"].is_string());
}
