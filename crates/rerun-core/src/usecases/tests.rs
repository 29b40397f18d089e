//! Use cases against mocked ports. The mocks are those that the feature `mocks` gives to other
//! crates, so these tests also show how to test your own code.

use std::sync::Arc;

use mockall::predicate::eq;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::*;
use crate::actor::{Actor, Person};
use crate::campaign::{ApprovalStages, Campaign, CampaignParts, CampaignStatus, Template};
use crate::error::IllegalTransition;
use crate::group::CustomerGroup;
use crate::ids::{AccountId, CampaignId, CustomerGroupId, JobId, MessageId, RunNumber, UserId};
use crate::message::{Content, MessageCommand, MessageState, ReviewStatus, Source};
use crate::missing_field::UnknownSegmentField;
use crate::page::Page;
use crate::plan::{ReuseCandidate, ReuseFrom, SegmentCandidate};
use crate::ports::{
    CampaignContext, ChangeOutcome, History, IDEMPOTENCY_WINDOW, IdempotencyKey, KeptResponse,
    MessageList, MessageSelection, MockCampaignStore, MockClock, MockCustomerGroupStore,
    MockHistoryStore, MockIdGenerator, MockIdempotencyStore, MockPause, MockRecipientStore,
    MockRerunStore, MockReviewStore, MockTemplateChecker, RunAudience, SegmentCandidates,
    WantedGroup,
};
use crate::review::MessageRef;
use crate::run::{MessageCounts, Run, RunGroup, RunParts, RunStatus, SegmentCounts};
use crate::segment::{FieldValues, Segment, SegmentBy, SegmentKey};
use crate::survey::ValueReport;
use crate::timestamp::Timestamp;

/// A rerun that is refused is no write: the mock panics if the store is asked to start a run.
#[tokio::test]
async fn a_refused_rerun_never_reaches_start_run() {
    let mut store = Stores::default();
    store
        .campaigns
        .expect_campaign_context()
        .with(eq(ACCOUNT), eq(CAMPAIGN), eq(WantedGroup::Named(GROUP)))
        .returning(|_, _, _| Ok(Some(context(CampaignStatus::ReadyForReview))));
    store.reruns.expect_start_run().never();

    let refused = reruns(store, no_responses())
        .initiate(&caller(), request(), None)
        .await;

    assert!(matches!(
        refused,
        Err(Error::CampaignNotPublished(CampaignStatus::ReadyForReview))
    ));
}

/// When the state moved meanwhile, the use case decides again on what it reads then.
#[tokio::test]
async fn a_conflict_leads_to_a_fresh_decision() {
    let mut store = Stores::default();
    let mut version = 0;
    store
        .campaigns
        .expect_campaign_context()
        .times(2)
        .returning(move |_, _, _| {
            version += 1;
            Ok(Some(at_version(version)))
        });
    store
        .reruns
        .expect_segment_candidates()
        .times(2)
        .returning(|_| Ok(one_matched_one_new()));
    store
        .reruns
        .expect_suggestions()
        .returning(|_, _, _| Ok(Some(std::collections::HashMap::new())));
    store
        .reruns
        .expect_start_run()
        .withf(|start| start.campaign.version == 1)
        .times(1)
        .returning(|_| Err(StoreError::Conflict));
    store
        .reruns
        .expect_start_run()
        .withf(|start| start.campaign.version == 2 && start.message_ids.len() == 2)
        .times(1)
        .returning(|_| Ok(()));

    let started = reruns(store, no_responses())
        .initiate(&caller(), request(), None)
        .await;

    let started = started.unwrap();
    assert!(!started.replayed);
    assert_eq!(started.outcome.run_number, RunNumber::new(2).unwrap());
    assert_eq!(
        started.outcome.segments,
        SegmentCounts {
            total: 2,
            matched: 1,
            new: 1
        }
    );
    assert_eq!(started.outcome.campaign_status, CampaignStatus::Processing);
}

/// A conflict can already be told when the segments are counted.
#[tokio::test]
async fn a_group_that_changes_while_it_is_counted_is_counted_again() {
    let mut store = published();
    let mut counted = 0;
    store
        .reruns
        .expect_segment_candidates()
        .times(2)
        .returning(move |_| {
            counted += 1;
            if counted == 1 {
                Err(StoreError::Conflict)
            } else {
                Ok(one_matched_one_new())
            }
        });
    store
        .reruns
        .expect_start_run()
        .times(1)
        .returning(|_| Ok(()));

    let started = reruns(store, no_responses())
        .initiate(&caller(), request(), None)
        .await;

    assert!(started.is_ok());
}

/// A campaign that never stands still is given up, as something to try later.
#[tokio::test]
async fn six_conflicts_are_enough() {
    let mut store = published();
    store
        .reruns
        .expect_segment_candidates()
        .returning(|_| Ok(one_matched_one_new()));
    store
        .reruns
        .expect_start_run()
        .times(6)
        .returning(|_| Err(StoreError::Conflict));

    let mut pause = MockPause::new();
    let mut pauses = 0;
    pause
        .expect_after_conflict()
        .times(5)
        .returning(move |conflicts| {
            pauses += 1;
            assert_eq!(conflicts, pauses);
        });
    let host = Host {
        pause: Arc::new(pause),
        ..host()
    };
    let refused = Reruns::new(
        Arc::new(store.reruns),
        Arc::new(store.campaigns),
        Arc::new(no_responses()),
        host,
        Settings::default(),
    )
    .initiate(&caller(), request(), None)
    .await;

    assert!(matches!(
        refused,
        Err(Error::Store(StoreError::Unavailable(_)))
    ));
}

/// Any other failure of the store is no reason to try again.
#[tokio::test]
async fn a_failing_store_is_asked_once() {
    let mut store = published();
    store
        .reruns
        .expect_segment_candidates()
        .returning(|_| Ok(one_matched_one_new()));
    store
        .reruns
        .expect_start_run()
        .times(1)
        .returning(|_| Err(StoreError::corrupt("runs: nonsense")));

    let failed = reruns(store, no_responses())
        .initiate(&caller(), request(), None)
        .await;

    assert!(matches!(failed, Err(Error::Store(StoreError::Corrupt(_)))));
}

/// The response that is kept with the run is what the same request is answered later, whatever
/// the campaign has come to since: nothing else is even read.
#[tokio::test]
async fn a_replay_reads_nothing_but_the_kept_response() {
    let kept = kept_response(request()).await;
    let mut responses = MockIdempotencyStore::new();
    responses
        .expect_find_response()
        .withf(|account, key, not_before| {
            let seen = (*account, key, *not_before);
            seen == (ACCOUNT, "key", now() - IDEMPOTENCY_WINDOW)
        })
        .times(1)
        .returning(move |_, _, _| Ok(Some(kept.clone())));

    let untouched = Stores::default();
    let replayed = reruns(untouched, responses)
        .initiate(&caller(), request(), Some("key"))
        .await;

    let replayed = replayed.unwrap();
    assert!(replayed.replayed);
    assert_eq!(replayed.outcome.run_number, RunNumber::new(2).unwrap());
}

/// A key names one request: another body under it is refused.
#[tokio::test]
async fn a_key_with_another_body_is_refused() {
    let kept = kept_response(request()).await;
    for other in [
        RerunRequest {
            reuse_from: ReuseFrom::AnyRun,
            ..request()
        },
        RerunRequest {
            allow_missing_fields: true,
            ..request()
        },
        RerunRequest {
            new_group: Some(CustomerGroupId::new(Uuid::from_u128(9))),
            ..request()
        },
        RerunRequest {
            campaign: CampaignId::new(Uuid::from_u128(9)),
            ..request()
        },
    ] {
        let kept = kept.clone();
        let mut responses = MockIdempotencyStore::new();
        responses
            .expect_find_response()
            .returning(move |_, _, _| Ok(Some(kept.clone())));

        let untouched = Stores::default();
        let refused = reruns(untouched, responses)
            .initiate(&caller(), other, Some("key"))
            .await;

        assert!(matches!(refused, Err(Error::IdempotencyKeyReused)));
    }
}

/// A key belongs to the account: at another endpoint it is refused, whatever the body.
#[tokio::test]
async fn a_key_of_another_endpoint_is_refused() {
    let fingerprint = fingerprint_of_publication().await;
    let mut responses = MockIdempotencyStore::new();
    responses.expect_find_response().returning(move |_, _, _| {
        Ok(Some(KeptResponse {
            endpoint: "campaign.launch".to_owned(),
            fingerprint,
            response: "{}".to_owned(),
        }))
    });
    let reviews = reviews(MockReviewStore::new(), Stores::default(), responses);
    let refused = reviews.publish(&caller(), CAMPAIGN, Some("key")).await;
    assert!(
        matches!(refused, Err(Error::IdempotencyKeyReused)),
        "{refused:?}"
    );
}

/// A newer version knows the requests of an older one by their fingerprints: keys that were used
/// before an upgrade are good after it.
#[tokio::test]
async fn fingerprints_stay_what_they_were() {
    let rerun = kept_response(request()).await.fingerprint;
    let was = format!(r#"["{CAMPAIGN}","{GROUP}","current_run"]"#);
    assert_eq!(rerun, <[u8; 32]>::from(Sha256::digest(was)));
    let publication = fingerprint_of_publication().await;
    let was = format!(r#""{CAMPAIGN}""#);
    assert_eq!(publication, <[u8; 32]>::from(Sha256::digest(was)));
    let meant = RerunRequest {
        allow_missing_fields: true,
        ..request()
    };
    assert_ne!(kept_response(meant).await.fingerprint, rerun);
}

/// A key that no header can carry is refused before anything is read.
#[tokio::test]
async fn a_key_has_bounds() {
    for key in ["", "a\0", &"k".repeat(256)] {
        let refused = reruns(Stores::default(), MockIdempotencyStore::new())
            .initiate(&caller(), request(), Some(key))
            .await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{key:?}");
    }
}

/// A publication whose twin got there first answers what the twin did.
#[tokio::test]
async fn a_publication_that_lost_to_its_twin_is_a_replay() {
    let fingerprint = fingerprint_of_publication().await;
    let mut responses = MockIdempotencyStore::new();
    let mut asked = 0;
    responses
        .expect_find_response()
        .times(2)
        .returning(move |_, _, _| {
            asked += 1;
            let outcome = MessagesChanged {
                campaign_id: CAMPAIGN,
                run_number: RunNumber::FIRST,
                campaign_status: CampaignStatus::Published,
                messages: 1,
            };
            let response = serde_json::to_string(&outcome).unwrap();
            Ok((asked == 2).then_some(KeptResponse {
                endpoint: "campaign.publish".to_owned(),
                fingerprint,
                response,
            }))
        });
    let mut store = Stores::default();
    store
        .campaigns
        .expect_campaign_context()
        .returning(|_, _, _| Ok(Some(context(CampaignStatus::Published))));

    let reviews = reviews(MockReviewStore::new(), store, responses);
    let answer = reviews
        .publish(&caller(), CAMPAIGN, Some("key"))
        .await
        .unwrap();

    assert!(answer.replayed);
    assert_eq!(answer.outcome.messages, 1);
}

/// A rerun whose twin got there first answers what the twin did: the refusal that it would get
/// is the twin's work.
#[tokio::test]
async fn a_rerun_that_lost_to_its_twin_is_a_replay() {
    let kept = kept_response(request()).await;
    let mut responses = MockIdempotencyStore::new();
    let mut asked = 0;
    responses
        .expect_find_response()
        .times(2)
        .returning(move |_, _, _| {
            asked += 1;
            Ok((asked == 2).then(|| kept.clone()))
        });
    let mut store = Stores::default();
    store
        .campaigns
        .expect_campaign_context()
        .returning(|_, _, _| Ok(Some(context(CampaignStatus::ReadyForReview))));

    let answer = reruns(store, responses)
        .initiate(&caller(), request(), Some("key"))
        .await
        .unwrap();

    assert!(answer.replayed);
    assert_eq!(answer.outcome.run_number, RunNumber::new(2).unwrap());
}

/// A preview reads and plans; none of the methods that write is expected, so none is called.
#[tokio::test]
async fn a_preview_writes_nothing() {
    let mut store = published();
    store
        .reruns
        .expect_segment_candidates()
        .returning(|_| Ok(one_matched_one_new()));
    store
        .reruns
        .expect_survey()
        .withf(|query, version| query.reuse.is_some() && *version == 1)
        .returning(|_, _| Ok(Some(ValueReport::default())));
    store.reruns.expect_segments().returning(|_, _, _, keys| {
        let segments = [segment("DE"), segment("FR")];
        Ok(keys
            .into_iter()
            .filter_map(|key| segments.iter().find(|segment| segment.key == key).cloned())
            .collect())
    });

    let untouched = MockIdempotencyStore::new();
    let preview = reruns(store, untouched)
        .preview(&caller(), request(), &PageQuery::default())
        .await;

    let preview = preview.unwrap();
    assert_eq!(preview.resulting_status, CampaignStatus::ReadyForReview);
    let mut matched = preview.items.items.iter().map(|item| item.reuses.is_some());
    assert_eq!(preview.items.items.len(), 2);
    assert!(matched.any(|matched| matched));
}

/// The group changed between the plan and the page: a segment of the plan is not there any more.
#[tokio::test]
async fn a_preview_of_a_group_that_changes_is_refused() {
    let mut store = published();
    store
        .reruns
        .expect_segment_candidates()
        .returning(|_| Ok(one_matched_one_new()));
    store
        .reruns
        .expect_survey()
        .returning(|_, _| Ok(Some(ValueReport::default())));
    store.reruns.expect_segments().returning(|_, _, _, keys| {
        let segments = [segment("DE"), segment("FR")];
        let left = segments.into_iter().filter(|one| one.key == keys[0]);
        Ok(left.collect())
    });
    let preview = reruns(store, MockIdempotencyStore::new())
        .preview(&caller(), request(), &PageQuery::default())
        .await;
    assert!(matches!(preview, Err(Error::Store(_))), "{preview:?}");
}

/// Only fields that some customer has are proposed, and the store is asked only if there are any.
#[tokio::test]
async fn a_refusal_for_an_unknown_field_proposes_fields_with_values() {
    let group = context(CampaignStatus::Published).group.unwrap();
    let refused = async |store: MockRerunStore, known: &[&str]| {
        let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
        let fields = vec!["country".to_owned()];
        let unknown = UnknownSegmentField::new(fields, (GROUP, "Spring"), &known);
        let unknown = Error::UnknownSegmentField(Box::new(unknown));
        match naming_valued::<()>(&store, &group, Err(unknown)).await {
            Err(Error::UnknownSegmentField(unknown)) => unknown.known,
            other => panic!("{other:?}"),
        }
    };
    let mut store = MockRerunStore::new();
    store
        .expect_valued_fields()
        .returning(|_, _, _| Ok(vec!["tier".to_owned()]));
    assert_eq!(refused(store, &["land", "tier"]).await, ["tier"]);
    assert_eq!(refused(MockRerunStore::new(), &[]).await, [""; 0]);
}

fn campaigns(store: MockCampaignStore) -> Campaigns {
    let mut templates = MockTemplateChecker::new();
    templates.expect_check().returning(|_, _| Ok(()));
    Campaigns::new(
        Arc::new(store),
        Arc::new(MockCustomerGroupStore::new()),
        Arc::new(MockRerunStore::new()),
        Arc::new(templates),
        Arc::new(MockIdempotencyStore::new()),
        host(),
        Settings::default(),
    )
}

/// Whether the change of a campaign in this status is stored, as the next version.
async fn is_updated(status: CampaignStatus, changes: CampaignChanges) -> Result<(), Error> {
    let mut store = MockCampaignStore::new();
    store
        .expect_find_campaign()
        .returning(move |_, _| Ok(Some(context(status).campaign)));
    store
        .expect_update_campaign()
        .withf(|update| update.to.version == update.campaign.version + 1)
        .returning(|_| Ok(()));
    let updated = campaigns(store)
        .update(&caller(), CAMPAIGN, changes, None)
        .await;
    updated.map(drop)
}

#[tokio::test]
async fn stages_stay_while_messages_are_reviewed_and_a_name_may_change() {
    let named = CampaignChanges {
        name: Some("Autumn".into()),
        ..CampaignChanges::default()
    };
    let staged = CampaignChanges {
        approval_stages: Some(ApprovalStages::new(&["Legal"]).unwrap()),
        ..CampaignChanges::default()
    };
    let reviewed = CampaignStatus::ReadyForReview;
    is_updated(reviewed, named.clone()).await.unwrap();
    let refused = is_updated(reviewed, staged.clone()).await;
    assert!(matches!(refused, Err(Error::IllegalTransition(_))));
    is_updated(CampaignStatus::Published, staged).await.unwrap();
    is_updated(CampaignStatus::Published, named).await.unwrap();
}

#[tokio::test]
async fn the_texts_of_a_campaign_are_bounded() {
    let brief = |length| CampaignChanges {
        brief: Some("x".repeat(length)),
        ..CampaignChanges::default()
    };
    let subject = |length| CampaignChanges {
        template: Some(Template {
            subject: "x".repeat(length),
            body: "b".into(),
        }),
        ..CampaignChanges::default()
    };
    let status = CampaignStatus::Published;
    for changes in [brief(20_000), subject(1_000)] {
        is_updated(status, changes).await.unwrap();
    }
    for changes in [brief(20_001), subject(1_001)] {
        let refused = is_updated(status, changes).await;
        assert!(matches!(refused, Err(Error::Invalid(_))));
    }
}

#[tokio::test]
async fn what_is_left_of_deleted_campaigns_is_swept_until_nothing_is_left() {
    let mut store = MockCampaignStore::new();
    let mut left = 2;
    store.expect_sweep_deleted().times(3).returning(move || {
        left -= 1;
        Ok(left >= 0)
    });
    campaigns(store).sweep_deleted().await.unwrap();
}

#[tokio::test]
async fn a_run_is_the_one_of_its_number() {
    let mut store = MockHistoryStore::new();
    store.expect_history().returning(|_, _, _| {
        let run = context(CampaignStatus::Published).current_run.unwrap();
        Ok(Some(History {
            status: CampaignStatus::Published,
            current_run: Some(run.number),
            runs: Page {
                items: vec![run],
                next: None,
            },
        }))
    });
    let histories = Histories::new(Arc::new(store));
    let first = histories.run(&caller(), CAMPAIGN, RunNumber::FIRST).await;
    assert_eq!(first.unwrap().number, RunNumber::FIRST);
    let second = RunNumber::new(2).unwrap();
    let second = histories.run(&caller(), CAMPAIGN, second).await;
    assert!(matches!(second, Err(Error::RunNotFound)));
}

/// The mock panics if the store is asked for the other kind of list.
#[tokio::test]
async fn messages_are_filtered_if_something_narrows_them() {
    let found = || {
        Ok(Some(MessageList {
            current_run: None,
            approval_stages: ApprovalStages::default(),
            run_exists: true,
            messages: Page {
                items: Vec::new(),
                next: None,
            },
        }))
    };
    let find = async |store: MockHistoryStore, query: MessageQuery| {
        let (all, page) = (MessageSelection::CurrentRun, PageQuery::default());
        let histories = Histories::new(Arc::new(store));
        histories
            .find_messages(&caller(), CAMPAIGN, all, &query, &page)
            .await
            .is_ok()
    };
    let mut store = MockHistoryStore::new();
    store.expect_messages().returning(move |_, _, _, _| found());
    assert!(find(store, MessageQuery::default()).await);
    let mut store = MockHistoryStore::new();
    store
        .expect_filtered_messages()
        .withf(|_, _, _, filter, _| filter.status == Some(ReviewStatus::Approved))
        .returning(move |_, _, _, _, _| found());
    let query = MessageQuery {
        review_status: Some(ReviewStatus::Approved),
        ..MessageQuery::default()
    };
    assert!(find(store, query).await);
}

/// A message of a past run is refused before the store is asked to change anything.
#[tokio::test]
async fn a_past_runs_message_is_not_reviewed() {
    let message = MessageId::new(Uuid::from_u128(77));
    let mut store = MockReviewStore::new();
    store.expect_message_refs().returning(|_, _, ids| {
        Ok(ids
            .into_iter()
            .map(|id| MessageRef {
                id,
                run_number: RunNumber::FIRST,
                content_id: None,
                state: MessageState::Published,
                edited_by: None,
                approved_by: Vec::new(),
            })
            .collect())
    });
    store.expect_change_messages().never();

    let reviews = reviews(store, second_run_under_review(), no_responses());
    let named = ReviewedMessages::Named(vec![Some(message)]);
    let refused = reviews
        .review(&caller(), CAMPAIGN, &Decision::Approve, &named, None, None)
        .await;

    let Err(Error::IllegalTransition(refusal)) = refused else {
        panic!("{refused:?}")
    };
    let action = crate::error::Action::Approve;
    assert_eq!(refusal, IllegalTransition::Archived { action });
}

/// With the four-eyes rule nobody approves an edit of their own; rejecting it is fine.
#[tokio::test]
async fn an_own_edit_is_not_approved() {
    let message = MessageId::new(Uuid::from_u128(77));
    let mut store = MockReviewStore::new();
    store.expect_message_refs().returning(|_, _, ids| {
        Ok(ids
            .into_iter()
            .map(|id| MessageRef {
                id,
                run_number: RunNumber::new(2).unwrap(),
                content_id: None,
                state: MessageState::PendingReview { stage: 0 },
                edited_by: caller().user_id(),
                approved_by: Vec::new(),
            })
            .collect())
    });
    store.expect_change_messages().times(1).returning(|change| {
        assert_eq!(change.command, MessageCommand::Reject);
        Ok(ChangeOutcome::Changed {
            messages: 1,
            campaign_status: CampaignStatus::ReadyForReview,
        })
    });

    let settings = Settings {
        four_eyes: true,
        ..Settings::default()
    };
    let reviews = reviews_with(
        store,
        second_run_under_review(),
        MockIdempotencyStore::new(),
        settings,
    );
    let named = ReviewedMessages::Named(vec![Some(message)]);
    let refused = reviews
        .review(&caller(), CAMPAIGN, &Decision::Approve, &named, None, None)
        .await;
    assert!(matches!(
        refused,
        Err(Error::IllegalTransition(IllegalTransition::OwnEdit))
    ));
    let reject = Decision::Reject {
        reason: "no".into(),
    };
    assert!(
        reviews
            .review(&caller(), CAMPAIGN, &reject, &named, None, None)
            .await
            .is_ok()
    );
}

/// Content that breaks a rule is refused before anything is read.
#[tokio::test]
async fn bad_content_is_refused_first() {
    let reviews = reviews(
        MockReviewStore::new(),
        Stores::default(),
        MockIdempotencyStore::new(),
    );
    let blank = Content {
        subject: " ".into(),
        body: "b".into(),
    };
    let refused = reviews.edit(&caller(), CAMPAIGN, None, blank, None).await;
    assert!(matches!(refused, Err(Error::Invalid(_))));
}

/// A past run is archived already: nothing is left to do but to keep the response. Numbers that no
/// run has had, and the current run, are refused before that.
#[tokio::test]
async fn of_a_past_run_nothing_is_left_to_archive() {
    let archive = async |run: i64, key: Option<&str>| {
        let mut responses = no_responses();
        let kept = usize::from(key.is_some());
        responses
            .expect_keep_response()
            .times(0..=kept)
            .returning(|_, response, _| {
                assert_eq!(response.response, "0");
                Ok(())
            });
        let run = RunNumber::new(run);
        reruns(second_run_under_review(), responses)
            .archive(&caller(), CAMPAIGN, run, key)
            .await
            .map(|done| done.outcome)
    };
    assert!(matches!(archive(1, None).await, Ok(0)));
    assert!(matches!(archive(1, Some("k")).await, Ok(0)));
    let current = archive(2, Some("k")).await;
    assert!(matches!(current, Err(Error::CurrentRunArchive(_))));
    let unknown = archive(3, Some("k")).await;
    assert!(matches!(unknown, Err(Error::RunNotFound)));
}

/// The system starts runs in nobody's name; what is of a person, it cannot do.
#[tokio::test]
async fn the_system_starts_runs_and_decides_no_reviews() {
    let system = Actor::system(ACCOUNT);
    let mut store = published();
    store
        .reruns
        .expect_segment_candidates()
        .returning(|_| Ok(one_matched_one_new()));
    store.reruns.expect_start_run().times(1).returning(|start| {
        assert_eq!(
            (
                start.run.initiated_by,
                &start.run.initiated_by_name,
                start.initiated_ip
            ),
            (None, &None, None)
        );
        let entry = start.audit.sealed(&crate::audit::ChainHead::EMPTY);
        assert_eq!(
            (entry.user_id, entry.role_code, entry.ip),
            (None, None, None)
        );
        Ok(())
    });
    reruns(store, no_responses())
        .initiate(&system, request(), None)
        .await
        .unwrap();

    let approved = reviews(
        MockReviewStore::new(),
        second_run_under_review(),
        no_responses(),
    )
    .review(
        &system,
        CAMPAIGN,
        &Decision::Approve,
        &ReviewedMessages::AllPending,
        None,
        None,
    )
    .await;
    let refused = approved.unwrap_err().to_string();
    assert_eq!(
        refused,
        "only a person can approve messages, not the system"
    );
}

/// A cancellation decides on the run that it read: its counts and error stay as they were.
#[tokio::test]
async fn a_cancellation_keeps_what_the_run_was() {
    let mut store = second_run_under_review();
    store
        .reruns
        .expect_cancel_run()
        .times(1)
        .returning(|cancel| {
            assert_eq!(cancel.run.status, RunStatus::Cancelled);
            assert_eq!(cancel.run.cancel_reason.as_deref(), Some("too early"));
            assert_eq!(cancel.run.counts.pending, 1);
            assert_eq!(cancel.standing.status, CampaignStatus::Published);
            Ok(())
        });
    let done = reruns(store, no_responses())
        .cancel(&caller(), CAMPAIGN, Some(" too early "), None)
        .await
        .unwrap();
    assert_eq!(done.outcome.run_number, RunNumber::new(2).unwrap());
    assert_eq!(done.outcome.current_run_number, Some(RunNumber::FIRST));
}

const ACCOUNT: AccountId = AccountId::new(Uuid::from_u128(1));
const CAMPAIGN: CampaignId = CampaignId::new(Uuid::from_u128(2));
const GROUP: CustomerGroupId = CustomerGroupId::new(Uuid::from_u128(3));

/// Keys of which some are from before a change of rules would name the wrong messages.
#[tokio::test]
async fn recipients_are_not_listed_when_the_rules_changed_while_they_were_read() {
    let rules = |rules: serde_json::Value| {
        serde_json::from_value::<SegmentBy>(rules).expect("rules of a field")
    };
    let before = rules(serde_json::json!(["country"]));
    let after = rules(serde_json::json!([{ "field": "country", "normalise": ["casefold"] }]));
    for (later, is_changed) in [(before.clone(), false), (after, true)] {
        let campaign = |segment_by| {
            let campaign = context(CampaignStatus::Published).campaign;
            let changed = campaign.with(|campaign| campaign.segment_by = segment_by);
            changed.unwrap()
        };
        let mut found =
            std::collections::VecDeque::from([campaign(before.clone()), campaign(later)]);
        let mut campaigns = MockCampaignStore::new();
        campaigns
            .expect_find_campaign()
            .times(2)
            .returning(move |_, _| Ok(found.pop_front()));
        let mut store = MockRecipientStore::new();
        store.expect_run_audience().returning(|_, _, _| {
            Ok(Some(RunAudience {
                group_id: GROUP,
                group_version: Some(1),
                changed: false,
                segment_by: None,
            }))
        });
        store.expect_run_messages().returning(|_, _, _, _, _| {
            Ok(Page {
                items: vec![],
                next: None,
            })
        });
        let recipients = Recipients::new(Arc::new(store), Arc::new(campaigns));
        let request = RecipientRequest {
            campaign: CAMPAIGN,
            run: None,
            exclude_run: None,
            content: false,
        };
        match recipients.list(&caller(), request).await {
            Ok(_) => assert!(!is_changed),
            Err(Error::Store(StoreError::Unavailable(why))) => {
                assert!(is_changed);
                let why = why.to_string();
                assert!(why.contains("value rules changed"), "{why}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_timestamp_millis(1_772_355_600_000).unwrap()
}

fn caller() -> Actor {
    let person = Person {
        user_id: UserId::new(Uuid::from_u128(4)),
        user_name: None,
        role_code: "ADMIN".into(),
        ip: Some([192, 0, 2, 1].into()),
    };
    Actor::person(ACCOUNT, person).in_request("request")
}

fn request() -> RerunRequest {
    RerunRequest {
        campaign: CAMPAIGN,
        new_group: Some(GROUP),
        reuse_from: ReuseFrom::CurrentRun,
        allow_missing_fields: false,
    }
}

fn host() -> Host {
    let mut clock = MockClock::new();
    clock.expect_now().returning(now);
    let mut ids = MockIdGenerator::new();
    let mut last = 1_000;
    ids.expect_next().returning(move || {
        last += 1;
        Uuid::from_u128(last)
    });
    Host::new(clock, ids)
}

/// What runs and campaigns are read from and written to.
struct Stores {
    reruns: MockRerunStore,
    campaigns: MockCampaignStore,
}

impl Default for Stores {
    fn default() -> Self {
        Self {
            reruns: MockRerunStore::new(),
            campaigns: MockCampaignStore::new(),
        }
    }
}

fn reruns(store: Stores, responses: MockIdempotencyStore) -> Reruns {
    Reruns::new(
        Arc::new(store.reruns),
        Arc::new(store.campaigns),
        Arc::new(responses),
        host(),
        Settings::default(),
    )
}

fn reviews(store: MockReviewStore, campaigns: Stores, responses: MockIdempotencyStore) -> Reviews {
    reviews_with(store, campaigns, responses, Settings::default())
}

fn reviews_with(
    store: MockReviewStore,
    campaigns: Stores,
    responses: MockIdempotencyStore,
    settings: Settings,
) -> Reviews {
    Reviews::new(
        Arc::new(store),
        Arc::new(campaigns.campaigns),
        Arc::new(MockHistoryStore::new()),
        Arc::new(responses),
        host(),
        settings,
    )
}

fn no_responses() -> MockIdempotencyStore {
    let mut responses = MockIdempotencyStore::new();
    responses
        .expect_find_response()
        .returning(|_, _, _| Ok(None));
    responses
}

fn segment(country: &str) -> Segment {
    let by = SegmentBy::new(&["country"]).unwrap();
    by.segment(|_| Some(country), 1)
}

/// A campaign in this status whose run 1 has one message.
fn context(status: CampaignStatus) -> CampaignContext {
    let review = match status {
        CampaignStatus::ReadyForReview => ReviewStatus::PendingReview,
        CampaignStatus::ReadyToPublish => ReviewStatus::Approved,
        CampaignStatus::Draft
        | CampaignStatus::Processing
        | CampaignStatus::GenerationFailed
        | CampaignStatus::Published => ReviewStatus::Published,
    };
    let run = Run::from_parts(RunParts {
        number: RunNumber::FIRST,
        job_uid: Some(JobId::new(Uuid::from_u128(5))),
        status: RunStatus::Completed,
        synthesised: false,
        group: RunGroup {
            id: GROUP,
            name: "Spring".into(),
        },
        customer_count: 1,
        segments: SegmentCounts {
            total: 1,
            matched: 0,
            new: 1,
        },
        counts: MessageCounts::default().add(review, Source::Generated, 1),
        resulting_status: CampaignStatus::ReadyForReview,
        initiated_by: caller().user_id(),
        initiated_by_name: None,
        schedule_id: None,
        previous_run: None,
        error: None,
        cancel_reason: None,
        started_at: now(),
        completed_at: Some(now()),
        archived_at: None,
        usage: crate::generation::TokenCounts::default(),
        saved: crate::generation::Saved::default(),
        metered: crate::generation::Metered::default(),
    })
    .unwrap();
    let campaign = Campaign::from_parts(CampaignParts {
        account_id: ACCOUNT,
        id: CAMPAIGN,
        name: "Offers".into(),
        customer_group_id: GROUP,
        segment_by: SegmentBy::new(&["country"]).unwrap(),
        template: Template {
            subject: "s".into(),
            body: "b".into(),
        },
        brief: None,
        approval_stages: ApprovalStages::default(),
        distinct_reviewers: false,
        suggest_reruns: true,
        status,
        current_run: Some(run.number),
        last_run: Some(run.number),
        version: 1,
        created_by: caller().user_id().unwrap(),
        created_at: now(),
        updated_at: now(),
    })
    .unwrap();
    let group = CustomerGroup {
        account_id: ACCOUNT,
        id: GROUP,
        name: "Spring".into(),
        customer_count: 2,
        fields: vec!["country".into()],
        created_at: now(),
        updated_at: now(),
    };
    CampaignContext {
        campaign,
        current_run: Some(run),
        group: Some(group),
    }
}

fn at_version(version: i64) -> CampaignContext {
    let context = context(CampaignStatus::Published);
    let campaign = context.campaign.with(|campaign| campaign.version = version);
    CampaignContext {
        campaign: campaign.unwrap(),
        ..context
    }
}

/// A store with one published campaign.
fn published() -> Stores {
    let mut store = Stores::default();
    store
        .reruns
        .expect_suggestions()
        .returning(|_, _, _| Ok(Some(std::collections::HashMap::new())));
    store
        .campaigns
        .expect_campaign_context()
        .returning(|_, _, _| Ok(Some(context(CampaignStatus::Published))));
    store
}

/// A store with one campaign whose run 2 waits for a reviewer.
fn second_run_under_review() -> Stores {
    let mut store = Stores::default();
    store
        .campaigns
        .expect_campaign_context()
        .returning(|_, _, _| {
            let context = context(CampaignStatus::ReadyForReview);
            let second = RunNumber::new(2);
            let campaign = context.campaign.with(|campaign| {
                campaign.current_run = second;
                campaign.last_run = second;
            })?;
            let run = context.current_run.unwrap().with(|run| {
                run.number = second.unwrap();
                run.previous_run = Some(RunNumber::FIRST);
            })?;
            Ok(Some(CampaignContext {
                campaign,
                current_run: Some(run),
                ..context
            }))
        });
    store
}

fn one_matched_one_new() -> SegmentCandidates {
    let candidate = |key: SegmentKey, reusable| SegmentCandidate {
        key,
        customer_count: 1,
        reusable,
    };
    let published = ReuseCandidate {
        message_id: MessageId::new(Uuid::from_u128(6)),
        run_number: RunNumber::FIRST,
        status: ReviewStatus::Published,
    };
    let mut segments = vec![
        candidate(segment("DE").key, Some(published)),
        candidate(segment("FR").key, None),
    ];
    segments.sort_by_key(|segment| segment.key);
    SegmentCandidates {
        group_version: 1,
        segments,
        fields: vec![FieldValues {
            customers: 2,
            ..FieldValues::default()
        }],
    }
}

/// The response that a store is given to keep for a request.
async fn kept_response(request: RerunRequest) -> KeptResponse {
    let (sender, given) = std::sync::mpsc::channel();
    let mut store = published();
    store
        .reruns
        .expect_segment_candidates()
        .returning(|_| Ok(one_matched_one_new()));
    store.reruns.expect_start_run().returning(move |start| {
        sender.send(start.response).unwrap();
        Ok(())
    });
    reruns(store, no_responses())
        .initiate(&caller(), request, Some("key"))
        .await
        .unwrap();
    let given = given.recv().unwrap().unwrap();
    KeptResponse {
        endpoint: given.key.endpoint.to_owned(),
        fingerprint: given.key.fingerprint,
        response: given.response,
    }
}

async fn fingerprint_of_publication() -> [u8; 32] {
    let (sender, given) = std::sync::mpsc::channel();
    let mut store = MockReviewStore::new();
    store.expect_change_messages().returning(move |change| {
        let IdempotencyKey { fingerprint, .. } = change.key.unwrap();
        sender.send(fingerprint).unwrap();
        Ok(ChangeOutcome::Changed {
            messages: 1,
            campaign_status: CampaignStatus::Published,
        })
    });
    let mut campaigns = Stores::default();
    campaigns
        .campaigns
        .expect_campaign_context()
        .returning(|_, _, _| Ok(Some(context(CampaignStatus::ReadyToPublish))));
    let reviews = reviews(store, campaigns, no_responses());
    reviews
        .publish(&caller(), CAMPAIGN, Some("key"))
        .await
        .unwrap();
    given.recv().unwrap()
}
