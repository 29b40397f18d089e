use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use rerun_core::campaign::CampaignStatus;
use rerun_core::error::StoreError;
use rerun_core::ids::{ContentId, MessageId, RunNumber};
use rerun_core::message::{Content, Message, MessageState, ReusedFrom, ReviewStatus, Source};
use rerun_core::page::{MessageKey, Page};
use rerun_core::plan::SegmentCandidate;
use rerun_core::ports::{
    CampaignContext, ChangeOutcome, KeptResponse, MessageList, MessageSelection, SegmentCandidates,
};
use rerun_core::review::MessageRef;
use rerun_wire::items::MessageItem;
use serde_json::{Value, json};

use crate::testing::{ID, Mocks, campaign, group, message, request, run, segment};
use uuid::Uuid;

const AT: &str = "2026-11-23T09:00:00.000Z";
const OTHER: &str = "0193ed20-7b3c-7000-8000-00000000eeee";

fn message_list(messages: Page<Message, MessageKey>) -> MessageList {
    let campaign = campaign(CampaignStatus::Published);
    MessageList {
        current_run: campaign.current_run,
        approval_stages: campaign.approval_stages.clone(),
        run_exists: true,
        messages,
    }
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
    let content_id = ContentId::parse(answer.json()["content_id"].as_str().unwrap());
    let was = message(MessageState::PendingReview { stage: 0 });
    assert_ne!(content_id, was.content_id, "the content is new");
    let edited = was.with(|edited| {
        edited.content_id = content_id;
        edited.content = Some(Content {
            subject: "s".to_owned(),
            body: "b".to_owned(),
        });
        edited.source = Source::Edited;
    });
    let campaign = campaign(CampaignStatus::ReadyForReview);
    let edited = edited.unwrap();
    let item = MessageItem::new(&campaign.approval_stages, &edited);
    assert_eq!(answer.json(), serde_json::to_value(item).unwrap());
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
                let generating = message.with(|message| {
                    message.content_id = None;
                    message.content = None;
                    message.provenance = None;
                    message.state = MessageState::Generating;
                    message.source = Source::Reused;
                    message.reused_from = Some(ReusedFrom {
                        message_id: message.id,
                        run_number: RunNumber::FIRST,
                    });
                });
                message = generating.unwrap();
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
    let (key, before) = (segment().key, MessageItem::COLUMNS_BEFORE.join(","));
    let header = format!(
        "{before},country,tier,{}\n",
        MessageItem::COLUMNS_AFTER.join(",")
    );
    let rows = answer.text.strip_prefix(&header).unwrap();
    let second = format!("\n{ID},1,{key},DE,,3,,,Generating,,reused,{ID},1,");
    let (first, rest) = rows.split_once(&second).unwrap();
    let begin = format!("{ID},1,{key},DE,,3,Hi,\"Dear, \"\"you\"\"\n=1+1\",Pending review,Draft,");
    assert!(first.starts_with(&begin), "{first}");
    assert_eq!(rest.lines().count(), 1, "{rest}");
    let answer = two_pages(false).post(path, &body("jsonl")).await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["segment"]["key"], key.to_string());
    assert_eq!(lines[1]["content"], Value::Null);
    // What breaks off after the status was sent cannot be told apart by it, but by its end.
    assert_eq!(two_pages(true).post(path, &body("csv")).await.text, "");
}
