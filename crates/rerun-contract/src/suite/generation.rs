//! The queue of messages to generate.

use std::collections::BTreeSet;
use std::time::Duration;

use rerun_core::campaign::CampaignStatus;
use rerun_core::generation::{GenerationError, Settled, TaskOutcome, TaskResult};
use rerun_core::ids::{AuditEntryId, CampaignId, ContentId, LeaseId, MessageId};
use rerun_core::message::{Content, MessageState, Source};
use rerun_core::ports::{Backlog, IdGenerator, SettleRun, Store};
use rerun_core::run::RunStatus;
use rerun_core::usecases::{LaunchRequest, LeasedTasks, Settlement};

use crate::fixture::{
    ACCOUNT, Fixture, all_at_once, caller, generated, new_campaign, run_number, settled, stranger,
};

const PENDING: MessageState = MessageState::PendingReview { stage: 0 };

pub(super) async fn launched<S: Store + 'static>(f: &Fixture<S>, segments: usize) -> CampaignId {
    let names: Vec<String> = (0..segments).map(|n| format!("country {n}")).collect();
    let countries: Vec<&str> = names.iter().map(String::as_str).collect();
    let group = f.group(&countries).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    campaign
}

/// A campaign of another account, with one message.
async fn launched_by_a_stranger<S: Store + 'static>(f: &Fixture<S>) -> CampaignId {
    let foreign = stranger();
    let group = f
        .engine
        .groups
        .create(&foreign, "Customers", None)
        .await
        .unwrap()
        .outcome
        .id;
    f.try_import(
        &foreign,
        group,
        &["customer_ref", "country"],
        &[&["C-1", "DE"]],
    )
    .await
    .unwrap();
    let new = new_campaign(group, &["country"]);
    let other = f
        .engine
        .campaigns
        .create(&foreign, new, None)
        .await
        .unwrap()
        .outcome
        .id;
    f.engine.reruns.launch(&foreign, other, None).await.unwrap();
    other
}

fn ids(leased: &LeasedTasks) -> BTreeSet<MessageId> {
    leased.tasks.iter().map(|task| task.message_id).collect()
}

/// A task tells all that a generator needs.
pub async fn a_task_tells_all_that_a_generator_needs<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE 'x' \"ü\""]).await;
    let mut new = new_campaign(group, &["country", "tier"]);
    new.brief = Some("Kurz & \"knapp\"".into());
    // Nobody has a tier: the generator is given that it is missing.
    new.allow_missing_fields = true;
    let campaign = f.create(new.clone()).await;
    let launch = LaunchRequest {
        campaign,
        allow_missing_fields: true,
    };
    f.engine
        .reruns
        .launch(&caller(), launch, None)
        .await
        .unwrap();
    let message = f.current(campaign).await.remove(0);
    let leased = f.lease(10).await;
    let [task] = leased.tasks.as_slice() else {
        panic!("one task, not {:?}", leased.tasks)
    };
    assert_eq!((task.account_id, task.campaign_id), (ACCOUNT, campaign));
    assert_eq!(
        (task.run_number, task.message_id),
        (run_number(1), message.id)
    );
    assert_eq!(task.failed_attempts, 0);
    assert_eq!(task.attributes, message.segment.attributes);
    assert_eq!(task.brief.template, new.template);
    assert_eq!(task.brief.brief, new.brief);
    assert_eq!(task.brief.segment_by.fields(), ["country", "tier"]);
}

/// A lease takes no more than it may, and no two take one message.
pub async fn no_message_is_leased_twice<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 10).await;
    assert_eq!(f.current_run(campaign).await.status, RunStatus::Queued);
    let (first, second) = (f.lease(4).await, f.lease(4).await);
    let run = f.current_run(campaign).await;
    assert_eq!(
        (run.status, run.completed_at),
        (RunStatus::Processing, None)
    );
    let third = f.lease(100).await;
    assert_eq!(
        [first.tasks.len(), second.tasks.len(), third.tasks.len()],
        [4, 4, 2]
    );
    let mut all = ids(&first);
    all.extend(ids(&second));
    all.extend(ids(&third));
    assert_eq!(all.len(), 10, "each message once");
    assert_eq!(f.lease(100).await.tasks, [], "nothing is left");
    f.check().await;
}

/// Workers that lease at once never get the same message.
pub async fn workers_at_once_share_the_queue<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 60).await;
    let leases = all_at_once(8, |_| {
        let engine = f.engine.clone();
        async move {
            let mut taken = Vec::new();
            for _ in 0..6 {
                let leased = engine.generation.lease(3).await.expect("a lease");
                let judged = |task| engine.generation.result_of(task, Ok(generated(task)));
                let results: Vec<_> = leased.tasks.iter().map(judged).collect();
                let count = u32::try_from(results.len()).unwrap();
                let settled = engine.generation.settle(leased.lease, results).await;
                assert_eq!(
                    settled.expect("a settlement").settled.generated,
                    count,
                    "all are stored"
                );
                taken.extend(leased.tasks.into_iter().map(|task| task.message_id));
            }
            taken
        }
    })
    .await;
    let all: Vec<MessageId> = leases.into_iter().flatten().collect();
    let distinct: BTreeSet<MessageId> = all.iter().copied().collect();
    assert_eq!(all.len(), distinct.len(), "a message was leased twice");
    f.generate().await;
    assert_eq!(f.current_run(campaign).await.status, RunStatus::Completed);
    let ended = f.entries(ACCOUNT).await;
    let ended = ended
        .iter()
        .filter(|entry| entry.action == "run.completed")
        .count();
    assert_eq!(ended, 1, "the run ended once");
    f.check().await;
}

/// Results become messages that wait for a reviewer, and the last one ends the run.
pub async fn generated_messages_wait_for_review<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 3).await;
    let leased = f.lease(2).await;
    f.seconds_later(5);
    let before = f.entries(ACCOUNT).await.len();
    let settled = f.settle(&leased, |task| Ok(generated(task))).await;
    assert_eq!(
        settled,
        Settled {
            generated: 2,
            ..Settled::default()
        }
    );
    assert_eq!(
        f.campaign(campaign).await.status,
        CampaignStatus::Processing
    );
    assert_eq!(
        f.entries(ACCOUNT).await.len(),
        before,
        "the run has not ended"
    );
    for task in &leased.tasks {
        let found = f
            .store
            .find_message(ACCOUNT, campaign, task.message_id)
            .await;
        let message = found.unwrap().unwrap();
        assert_eq!(
            (message.state, message.source),
            (PENDING, Source::Generated)
        );
        assert_eq!(message.content, Some(generated(task)));
        assert_eq!(message.updated_at, f.now());
        let provenance = message.provenance.clone().unwrap();
        assert_eq!(provenance.run_number, run_number(1));
        assert_eq!(provenance.approvals.to_vec().unwrap(), []);
    }
    let version = f.campaign(campaign).await.version;
    let leased = f.lease(2).await;
    f.seconds_later(5);
    f.settle(&leased, |task| Ok(generated(task))).await;
    let after = f.campaign(campaign).await;
    assert_eq!(after.status, CampaignStatus::ReadyForReview);
    assert!(
        after.version > version,
        "the version grows when the status changes"
    );
    let run = f.current_run(campaign).await;
    assert_eq!(
        (run.status, run.completed_at),
        (RunStatus::Completed, Some(f.now()))
    );
    let entries = f.entries(ACCOUNT).await;
    assert_eq!(entries.len(), before + 1, "one entry for the run's end");
    let end = entries.last().unwrap();
    assert_eq!(end.action, "run.completed");
    assert_eq!(
        (end.campaign_id, end.run_number),
        (Some(campaign), Some(run_number(1)))
    );
    assert_eq!(
        (end.user_id, end.ip.as_deref(), end.role_code.as_deref()),
        (None, None, None)
    );
    f.check().await;
}

/// A result that comes twice is stored once.
pub async fn a_result_is_stored_once<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 3).await;
    let leased = f.lease(3).await;
    let (one, rest) = leased.tasks.split_at(1);
    let one = LeasedTasks {
        lease: leased.lease,
        tasks: one.to_vec(),
    };
    assert_eq!(
        f.settle(&one, |task| Ok(generated(task))).await.generated,
        1
    );
    let before = f.snapshot(ACCOUNT).await;
    let again = f
        .settle(&one, |_| Err(GenerationError::new("changed my mind")))
        .await;
    assert_eq!(again, Settled::default(), "it is settled already");
    before.assert_same(&f.snapshot(ACCOUNT).await, "a result that came twice");
    let mut doubled = rest.to_vec();
    doubled.extend_from_slice(rest);
    let doubled = LeasedTasks {
        lease: leased.lease,
        tasks: doubled,
    };
    assert_eq!(
        f.settle(&doubled, |task| Ok(generated(task)))
            .await
            .generated,
        2
    );
    let run = f.current_run(campaign).await;
    assert_eq!((run.counts.pending, run.status), (3, RunStatus::Completed));
    f.check().await;
}

/// Two settlements of one lease at once store each message once.
pub async fn settlements_at_once_store_once<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 20).await;
    let leased = f.lease(20).await;
    let answers = all_at_once(6, |_| {
        let (engine, leased) = (f.engine.clone(), leased.clone());
        async move { settled(&engine.generation, &leased, |task| Ok(generated(task))).await }
    })
    .await;
    assert_eq!(
        answers.iter().map(|settled| settled.generated).sum::<u32>(),
        20
    );
    let ended = f.entries(ACCOUNT).await;
    assert_eq!(
        ended
            .iter()
            .filter(|entry| entry.action == "run.completed")
            .count(),
        1
    );
    assert_eq!(f.current_run(campaign).await.counts.pending, 20);
    f.check().await;
}

/// Settlements of different messages of one run at once: nothing is lost, one of them ends it.
pub async fn settlements_of_one_run_at_once_all_count<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 24).await;
    let mut leases = Vec::new();
    for _ in 0..8 {
        leases.push(f.lease(3).await);
    }
    let answers = all_at_once(8, |task| {
        let (engine, taken) = (f.engine.clone(), leases[task].clone());
        async move {
            let judged = |task| engine.generation.result_of(task, Ok(generated(task)));
            let results = taken.tasks.iter().map(judged).collect();
            engine
                .generation
                .settle(taken.lease, results)
                .await
                .expect("a settlement")
                .settled
        }
    })
    .await;
    assert!(
        answers.iter().all(|settled| settled.generated == 3),
        "{answers:?}"
    );
    let ended = f.entries(ACCOUNT).await;
    assert_eq!(
        ended
            .iter()
            .filter(|entry| entry.action == "run.completed")
            .count(),
        1
    );
    assert_eq!(f.current_run(campaign).await.status, RunStatus::Completed);
    f.check().await;
}

/// When a lease has ended another takes its messages, and what the first brings is dropped.
pub async fn an_expired_lease_is_taken_over<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 2).await;
    let first = f.lease(2).await;
    f.clock
        .advance(f.engine.generation.policy().lease + Duration::from_millis(1));
    let before = f.snapshot(ACCOUNT).await;
    let late = f.settle(&first, |task| Ok(generated(task))).await;
    assert_eq!(late, Settled::default(), "the lease has ended");
    before.assert_same(&f.snapshot(ACCOUNT).await, "a result under a dead lease");
    let second = f.lease(2).await;
    assert_eq!(ids(&second), ids(&first));
    assert!(
        second.tasks.iter().all(|task| task.failed_attempts == 0),
        "a crash is no attempt"
    );
    let late = f.settle(&first, |task| Ok(generated(task))).await;
    assert_eq!(late, Settled::default(), "another lease holds the messages");
    assert_eq!(f.engine.generation.renew(first.lease).await.unwrap(), 0);
    let settled = f.settle(&second, |task| Ok(generated(task))).await;
    assert_eq!(settled.generated, 2);
    assert_eq!(f.current_run(campaign).await.status, RunStatus::Completed);
    f.check().await;
}

/// A lease lives up to its very end: never can two leases hold one message.
pub async fn a_lease_lives_up_to_its_end<S: Store + 'static>(f: &Fixture<S>) {
    launched(f, 1).await;
    let first = f.lease(1).await;
    f.clock.advance(f.engine.generation.policy().lease);
    assert_eq!(f.lease(1).await.tasks, [], "the lease is alive at its end");
    assert_eq!(
        f.settle(&first, |task| Ok(generated(task))).await.generated,
        1
    );
    f.check().await;
}

/// A renewed lease lives longer, a dead one is not brought back.
pub async fn a_lease_is_renewed_while_it_lives<S: Store + 'static>(f: &Fixture<S>) {
    launched(f, 3).await;
    let length = f.engine.generation.policy().lease;
    let half = length / 2 + Duration::from_secs(1);
    let first = f.lease(2).await;
    for _ in 0..3 {
        f.clock.advance(half);
        assert_eq!(f.engine.generation.renew(first.lease).await.unwrap(), 2);
    }
    assert_eq!(f.lease(10).await.tasks.len(), 1, "the other two are held");
    let one = LeasedTasks {
        lease: first.lease,
        tasks: first.tasks[..1].to_vec(),
    };
    assert_eq!(
        f.settle(&one, |task| Ok(generated(task))).await.generated,
        1
    );
    assert_eq!(
        f.engine.generation.renew(first.lease).await.unwrap(),
        1,
        "one is left"
    );
    f.clock.advance(length + Duration::from_secs(1));
    assert_eq!(
        f.engine.generation.renew(first.lease).await.unwrap(),
        0,
        "it has ended"
    );
    assert_eq!(f.lease(10).await.tasks.len(), 2, "both leases have ended");
    let unknown = LeaseId::new(f.ids.next());
    assert_eq!(f.engine.generation.renew(unknown).await.unwrap(), 0);
    f.check().await;
}

/// What is given back is due at once, and not tried any more often for it.
pub async fn a_released_message_is_due_at_once<S: Store + 'static>(f: &Fixture<S>) {
    launched(f, 3).await;
    let first = f.lease(2).await;
    let failed = LeasedTasks {
        lease: first.lease,
        tasks: first.tasks[..1].to_vec(),
    };
    assert_eq!(
        f.settle(&failed, |_| Err(GenerationError::new("busy")))
            .await
            .retried,
        1
    );
    assert_eq!(
        f.engine.generation.release(first.lease).await.unwrap(),
        1,
        "the one still held"
    );
    assert_eq!(f.engine.generation.release(first.lease).await.unwrap(), 0);
    let late = f.settle(&first, |task| Ok(generated(task))).await;
    assert_eq!(late, Settled::default(), "it was given back");
    let next = f.lease(10).await;
    assert_eq!(
        next.tasks.len(),
        2,
        "the released one, and the one that was never held"
    );
    assert!(next.tasks.iter().all(|task| task.failed_attempts == 0));
    f.check().await;
}

/// A failed attempt is tried again, not before its time, until attempts are used up.
pub async fn a_failed_attempt_waits_its_time<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 2).await;
    let attempts = f.engine.generation.policy().max_attempts;
    let one = f.lease(1).await;
    f.settle(&one, |task| Ok(generated(task))).await;
    for failed in 0..attempts {
        let before = f.entries(ACCOUNT).await.len();
        let leased = f.lease(10).await;
        assert_eq!(leased.tasks.len(), 1, "attempt {failed}");
        assert_eq!(leased.tasks[0].failed_attempts, failed);
        let settled = f
            .settle(&leased, |_| Err(GenerationError::new("paper \"jam\" ü")))
            .await;
        if failed + 1 < attempts {
            assert_eq!(
                settled,
                Settled {
                    retried: 1,
                    ..Settled::default()
                }
            );
            assert_eq!(
                f.entries(ACCOUNT).await.len(),
                before,
                "no entry for an attempt"
            );
            assert_eq!(
                f.campaign(campaign).await.status,
                CampaignStatus::Processing
            );
            // The fixture's backoff waits as many seconds as attempts have failed.
            let wait = u64::from(failed + 1) * 1_000;
            f.clock.advance(Duration::from_millis(wait - 1));
            assert_eq!(f.lease(10).await.tasks, [], "not before its time");
            f.clock.advance(Duration::from_millis(1));
        } else {
            assert_eq!(
                settled,
                Settled {
                    failed: 1,
                    ..Settled::default()
                }
            );
            assert_eq!(
                f.entries(ACCOUNT).await.len(),
                before + 1,
                "one entry for the run's end"
            );
        }
    }
    assert_eq!(
        f.campaign(campaign).await.status,
        CampaignStatus::GenerationFailed
    );
    let run = f.current_run(campaign).await;
    assert_eq!(
        (run.status, run.completed_at),
        (RunStatus::Failed, Some(f.now()))
    );
    let error = run.error.clone().unwrap();
    assert!(
        error.starts_with("1 message ") && error.contains("paper \"jam\" ü"),
        "{error}"
    );
    let entries = f.entries(ACCOUNT).await;
    let end = entries.last().unwrap();
    assert_eq!((end.action.as_str(), end.user_id), ("run.failed", None));
    let failed: Vec<_> = f.current(campaign).await;
    let failed: Vec<_> = failed
        .iter()
        .filter(|m| m.state == MessageState::GenerationFailed)
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].error.as_deref(), Some("paper \"jam\" ü"));
    assert_eq!(failed[0].content, None);
    f.seconds_later(3_600);
    assert_eq!(f.lease(10).await.tasks, [], "it is not tried any more");
    f.check().await;
}

/// The run's error says why a message failed, though others were generated after it.
pub async fn an_early_failure_is_told_at_the_end<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 2).await;
    let leased = f.lease(2).await;
    let [failing, other] = leased.tasks.as_slice() else {
        panic!("two tasks")
    };
    let settle = async |message_id: MessageId, outcome: TaskOutcome| {
        let result = TaskResult {
            account_id: ACCOUNT,
            campaign_id: campaign,
            run_number: run_number(1),
            message_id,
            content_id: ContentId::new(f.ids.next()),
            outcome,
            usage: None,
        };
        f.engine
            .generation
            .settle(leased.lease, vec![result])
            .await
            .unwrap()
    };
    settle(
        failing.message_id,
        TaskOutcome::Failed {
            error: "out of ink".into(),
        },
    )
    .await;
    assert_eq!(f.current_run(campaign).await.status, RunStatus::Processing);
    f.seconds_later(1);
    settle(other.message_id, TaskOutcome::Generated(generated(other))).await;
    let run = f.current_run(campaign).await;
    assert_eq!(run.status, RunStatus::Failed);
    assert!(
        run.error.as_ref().unwrap().contains("out of ink"),
        "{:?}",
        run.error
    );
    f.check().await;
}

/// A generator that leaves a placeholder, or fills one with a text that looks like one, has failed.
pub async fn a_generated_placeholder_is_a_failed_attempt<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 1).await;
    let body = |body: &str| Content {
        subject: "Hello".into(),
        body: body.into(),
    };
    for _ in 1..f.engine.generation.policy().max_attempts {
        let leased = f.lease(1).await;
        let settled = f
            .settle(&leased, |_| Ok(body("Dear {{ first_name }}")))
            .await;
        assert_eq!((settled.generated, settled.retried), (0, 1));
        f.seconds_later(60);
    }
    let leased = f.lease(1).await;
    let settled = f
        .settle(&leased, |_| Ok(body("Dear {{ first_name }}")))
        .await;
    assert_eq!((settled.generated, settled.failed), (0, 1));
    let message = f.current(campaign).await.remove(0);
    assert_eq!(message.content, None);
    let error = message.error.clone().unwrap();
    assert!(error.contains("`{{ first_name }}` is unfilled"), "{error}");
    f.check().await;
}

/// A value or a model cannot add lines to a subject, which mail programs would read as headers.
pub async fn a_generated_subject_is_one_line<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 1).await;
    let leased = f.lease(1).await;
    let content = Content {
        subject: "Hello\r\nBcc: x@example.com\u{2028}\u{7}".into(),
        body: "One\r\ntwo".into(),
    };
    let settled = f.settle(&leased, |_| Ok(content.clone())).await;
    assert_eq!(settled.generated, 1);
    let stored = f.current(campaign).await.remove(0).content.clone().unwrap();
    assert_eq!(stored.subject, "Hello  Bcc: x@example.com  ");
    assert_eq!(stored.body, "One\r\ntwo");
    f.check().await;
}

/// One settlement can hold every kind of outcome.
pub async fn outcomes_of_all_kinds_are_settled_together<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 6).await;
    let leased = f.lease(6).await;
    let outcome = |n: usize, task: &rerun_core::generation::GenerationTask| match n % 3 {
        0 => TaskOutcome::Generated(generated(task)),
        1 => TaskOutcome::RetryAt {
            at: f.now() + Duration::from_secs(9),
            error: "busy".into(),
        },
        _ => TaskOutcome::Failed {
            error: format!("no {n}"),
        },
    };
    let results = leased
        .tasks
        .iter()
        .enumerate()
        .map(|(n, task)| TaskResult {
            account_id: task.account_id,
            campaign_id: task.campaign_id,
            run_number: task.run_number,
            message_id: task.message_id,
            content_id: ContentId::new(f.ids.next()),
            outcome: outcome(n, task),
            usage: None,
        })
        .collect();
    let settled = f
        .engine
        .generation
        .settle(leased.lease, results)
        .await
        .unwrap()
        .settled;
    assert_eq!(
        settled,
        Settled {
            generated: 2,
            retried: 2,
            put_off: 0,
            failed: 2
        }
    );
    let run = f.current_run(campaign).await;
    assert_eq!(
        (run.counts.pending, run.counts.generating, run.counts.failed),
        (2, 2, 2)
    );
    assert_eq!(
        f.campaign(campaign).await.status,
        CampaignStatus::Processing
    );
    f.check().await;
    f.seconds_later(9);
    f.generate().await;
    let run = f.current_run(campaign).await;
    assert_eq!((run.status, run.counts.failed), (RunStatus::Failed, 2));
    assert!(run.error.clone().unwrap().starts_with("2 messages "));
    assert_eq!(
        f.campaign(campaign).await.status,
        CampaignStatus::GenerationFailed
    );
    f.check().await;
}

/// The longest due comes first.
pub async fn the_longest_due_comes_first<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 3).await;
    let leased = f.lease(3).await;
    let result = |n: usize, seconds: u64| TaskResult {
        account_id: ACCOUNT,
        campaign_id: campaign,
        run_number: run_number(1),
        message_id: leased.tasks[n].message_id,
        content_id: ContentId::new(f.ids.next()),
        outcome: TaskOutcome::RetryAt {
            at: f.now() + Duration::from_secs(seconds),
            error: "busy".into(),
        },
        usage: None,
    };
    let results = vec![result(0, 30), result(1, 10), result(2, 20)];
    f.engine
        .generation
        .settle(leased.lease, results)
        .await
        .unwrap();
    f.seconds_later(60);
    for expected in [1, 2, 0] {
        let next = f.lease(1).await;
        assert_eq!(next.tasks.len(), 1);
        assert_eq!(next.tasks[0].message_id, leased.tasks[expected].message_id);
        assert_eq!(next.tasks[0].failed_attempts, 1);
    }
    f.check().await;
}

/// One lease serves campaigns of several accounts, and each result goes to its own.
pub async fn one_lease_serves_several_accounts<S: Store + 'static>(f: &Fixture<S>) {
    let own = launched(f, 2).await;
    let foreign = stranger();
    let other = launched_by_a_stranger(f).await;
    let leased = f.lease(10).await;
    assert_eq!(leased.tasks.len(), 3);
    assert_eq!(
        leased
            .tasks
            .iter()
            .filter(|t| t.account_id == foreign.account_id)
            .count(),
        1
    );
    let settled = f.settle(&leased, |task| Ok(generated(task))).await;
    assert_eq!(settled.generated, 3);
    assert_eq!(f.campaign(own).await.status, CampaignStatus::ReadyForReview);
    let found = f
        .store
        .find_campaign(foreign.account_id, other)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.status, CampaignStatus::ReadyForReview);
    f.check().await;
}

/// Results that name another run, campaign or account than their message has are dropped.
pub async fn results_for_the_wrong_run_are_dropped<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 1).await;
    let other = launched(f, 1).await;
    let leased = f.lease(10).await;
    let before = f.snapshot(ACCOUNT).await;
    let message = |of: CampaignId| {
        leased
            .tasks
            .iter()
            .find(|task| task.campaign_id == of)
            .unwrap()
            .message_id
    };
    let unknown = CampaignId::new(f.ids.next());
    for (account_id, campaign_id, run, message_id) in [
        (ACCOUNT, campaign, 1, message(other)),
        (ACCOUNT, campaign, 2, message(campaign)),
        (ACCOUNT, unknown, 1, message(campaign)),
        (stranger().account_id, campaign, 1, message(campaign)),
        (ACCOUNT, campaign, 1, MessageId::new(f.ids.next())),
    ] {
        let run_number = run_number(run);
        let outcome = TaskOutcome::Generated(generated(&leased.tasks[0]));
        let settle = SettleRun {
            account_id,
            campaign_id,
            run_number,
            lease: leased.lease,
            results: vec![TaskResult {
                account_id,
                campaign_id,
                run_number,
                message_id,
                content_id: ContentId::new(f.ids.next()),
                outcome,
                usage: None,
            }],
            audit_id: AuditEntryId::new(f.ids.next()),
            now: f.now(),
        };
        let settled = f.store.settle(settle).await.unwrap().settled;
        assert_eq!(settled, Settled::default());
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "misdirected results");
    let nothing = f
        .engine
        .generation
        .settle(leased.lease, Vec::new())
        .await
        .unwrap();
    assert_eq!(nothing, Settlement::default());
    let settled = f.settle(&leased, |task| Ok(generated(task))).await;
    assert_eq!(settled.generated, 2, "the messages still wait");
    f.check().await;
}

/// A message that is regenerated while an old lease still knows it is not filled by that lease.
pub async fn an_old_lease_does_not_fill_a_regenerated_message<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 1).await;
    let old = f.lease(1).await;
    f.settle(&old, |task| Ok(generated(task))).await;
    let message = f.current(campaign).await.remove(0);
    f.engine
        .reviews
        .regenerate(&caller(), campaign, &[Some(message.id)], None)
        .await
        .unwrap();
    let late = f.settle(&old, |task| Ok(generated(task))).await;
    assert_eq!(late, Settled::default());
    assert_eq!(f.current(campaign).await[0].state, MessageState::Generating);
    f.finish(campaign).await;
    f.check().await;
}

/// Nothing due is an empty lease; a limit of nothing takes nothing.
pub async fn an_empty_queue_leases_nothing<S: Store + 'static>(f: &Fixture<S>) {
    assert_eq!(f.lease(10).await.tasks, []);
    let campaign = launched(f, 1).await;
    assert_eq!(f.lease(0).await.tasks, []);
    assert_eq!(
        f.current_run(campaign).await.status,
        RunStatus::Queued,
        "nobody has begun"
    );
}

async fn backlog<S: Store + 'static>(f: &Fixture<S>) -> Backlog {
    f.store.backlog(f.now()).await.expect("a backlog")
}

/// The backlog is every message that is to be generated, of whatever account, leased or not.
pub async fn the_backlog_counts_what_waits<S: Store + 'static>(f: &Fixture<S>) {
    assert_eq!(backlog(f).await, Backlog::default());
    let campaign = launched(f, 3).await;
    launched_by_a_stranger(f).await;
    assert_eq!(backlog(f).await.messages, 4);
    let leased = f.lease(2).await;
    assert_eq!(backlog(f).await.messages, 4, "a leased message waits, too");
    f.settle(&leased, |task| Ok(generated(task))).await;
    assert_eq!(backlog(f).await.messages, 2);
    f.cancel(campaign).await;
    f.generate().await;
    assert_eq!(backlog(f).await, Backlog::default());
}

/// The backlog is as old as what has been due the longest, which a leased message is not.
pub async fn the_backlog_tells_since_when_something_is_due<S: Store + 'static>(f: &Fixture<S>) {
    launched(f, 2).await;
    let first = f.now();
    f.seconds_later(10);
    assert_eq!(backlog(f).await.due_since, Some(first));
    let one = f.lease(1).await;
    assert_eq!(backlog(f).await.due_since, Some(first), "the other is due");
    let other = f.lease(1).await;
    assert_eq!(backlog(f).await.due_since, None, "both are leased");
    f.settle(&other, |_| Err(GenerationError::new("again")))
        .await;
    f.seconds_later(1);
    // The fixture's backoff waits as many seconds as attempts have failed.
    assert_eq!(backlog(f).await.due_since, Some(f.now()));
    let again = f.now();
    f.seconds_later(5);
    assert_eq!(backlog(f).await.due_since, Some(again));
    let released = f.engine.generation.release(one.lease).await;
    assert_eq!(released.expect("a release"), 1);
    assert_eq!(backlog(f).await.due_since, Some(again));
    let both = f.lease(2).await;
    assert_eq!(both.tasks.len(), 2);
    let ends = f.now() + f.engine.generation.policy().lease;
    f.clock.set(ends);
    assert_eq!(backlog(f).await.due_since, None, "a lease lives to its end");
    f.clock.advance(Duration::from_millis(1));
    assert_eq!(backlog(f).await.due_since, Some(ends));
}
