//! Who is served when: waits, clocks, turns of accounts, and what calls used.

use std::collections::BTreeSet;
use std::time::Duration;

use rerun_core::generation::{
    FailureKind, GenerationError, Made, Metered, Saved, TokenCounts, Usage,
};
use rerun_core::ids::{CampaignId, LeaseId, MessageId};
use rerun_core::ports::{IdGenerator, LeaseTasks, Store};
use rerun_core::run::RunStatus;
use rerun_core::usecases::{LeasedTasks, MAX_LEASE_BYTES};

use super::generation::launched;
use crate::fixture::{ACCOUNT, Fixture, caller, generated, new_campaign, run_number, stranger};

const HOUR: Duration = Duration::from_hours(1);

fn ids(leased: &LeasedTasks) -> BTreeSet<MessageId> {
    leased.tasks.iter().map(|task| task.message_id).collect()
}

/// A launched campaign of another account, with so many messages.
async fn launched_by_a_stranger<S: Store + 'static>(f: &Fixture<S>, segments: usize) -> CampaignId {
    let who = stranger();
    let group = f.engine.groups.create(&who, "Customers", None).await;
    let group = group.unwrap().outcome.id;
    let rows: Vec<[String; 2]> = (0..segments)
        .map(|n| [format!("C-{n}"), format!("country {n}")])
        .collect();
    let rows: Vec<Vec<&str>> = rows
        .iter()
        .map(|row| row.iter().map(String::as_str).collect())
        .collect();
    let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
    f.try_import(&who, group, &["customer_ref", "country"], &rows)
        .await
        .unwrap();
    let new = new_campaign(group, &["country"]);
    let campaign = f.engine.campaigns.create(&who, new, None).await;
    let campaign = campaign.unwrap().outcome.id;
    f.engine.reruns.launch(&who, campaign, None).await.unwrap();
    campaign
}

/// A message that is put off waits its time, uses no attempt, and its waits add up until patience
/// ends.
pub async fn what_is_put_off_uses_patience_and_no_attempt<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 2).await;
    let patience = f.engine.generation.policy().patience;
    let minutes = Duration::from_mins(5);
    let mut put_off = Duration::ZERO;
    while put_off < patience {
        let leased = f.lease(10).await;
        assert_eq!(leased.tasks.len(), 2);
        for task in &leased.tasks {
            assert_eq!((task.failed_attempts, task.put_off), (0, put_off));
        }
        let settled = f
            .settle(&leased, |_| Err(GenerationError::put_off(minutes, "busy")))
            .await;
        assert_eq!((settled.put_off, settled.retried), (2, 0));
        put_off += minutes;
        f.clock
            .advance(minutes.checked_sub(Duration::from_millis(1)).unwrap());
        assert_eq!(f.lease(10).await.tasks, [], "it waits its time");
        f.clock.advance(Duration::from_millis(1));
    }
    let leased = f.lease(10).await;
    let settled = f
        .settle(&leased, |_| Err(GenerationError::put_off(minutes, "busy")))
        .await;
    assert_eq!(settled.failed, 2, "patience has ended");
    let run = f.current_run(campaign).await;
    assert_eq!(run.status, RunStatus::Failed);
    let error = run.error.clone().unwrap();
    assert!(
        error.contains("put off for 3600 s in total; the last time: busy"),
        "{error}"
    );
    // What is queued again has all its patience.
    let retried = f.engine.reviews.retry(&caller(), campaign, None).await;
    assert_eq!(retried.unwrap().outcome.messages, 2);
    let leased = f.lease(10).await;
    assert!(leased.tasks.iter().all(|task| task.put_off.is_zero()));
    f.settle(&leased, |task| Ok(generated(task))).await;
    f.check().await;
}

/// Failures for good are failures at once.
pub async fn a_failure_for_good_ends_at_once<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 1).await;
    let leased = f.lease(1).await;
    let refused = || GenerationError::for_good("refused");
    assert_eq!(refused().kind, FailureKind::Final);
    let settled = f.settle(&leased, |_| Err(refused())).await;
    assert_eq!(settled.failed, 1);
    let message = f.current(campaign).await.remove(0);
    assert_eq!(message.error.as_deref(), Some("refused"));
    f.check().await;
}

/// Tasks that are fresh, that wait after an attempt, that are put off, and that a worker which is
/// gone holds: what each of these looks like is in the order of their lease.
async fn in_every_state<S: Store + 'static>(f: &Fixture<S>) -> CampaignId {
    let campaign = launched(f, 4).await;
    let waiting = f.lease(1).await;
    f.settle(&waiting, |_| Err(GenerationError::new("busy")))
        .await;
    let put_off = f.lease(1).await;
    let minute = Duration::from_mins(1);
    f.settle(&put_off, |_| Err(GenerationError::put_off(minute, "busy")))
        .await;
    let held = f.lease(1).await;
    assert_eq!(held.tasks.len(), 1);
    campaign
}

/// Leases and settles every second for two minutes, as workers do, and returns how many messages
/// were made.
async fn work_for_two_minutes<S: Store + 'static>(f: &Fixture<S>) -> u32 {
    let mut made = 0;
    for _ in 0..120 {
        let leased = f.lease(10).await;
        made += f
            .settle(&leased, |task| Ok(generated(task)))
            .await
            .generated;
        f.seconds_later(1);
    }
    made
}

/// When the clock is set back by an hour, nothing stops.
pub async fn a_clock_set_back_stops_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = in_every_state(f).await;
    f.clock.set(f.now() - HOUR);
    assert_eq!(f.lease(10).await.tasks.len(), 1, "the fresh one, at once");
    // The lease that took it is given up, too.
    assert_eq!(work_for_two_minutes(f).await, 4);
    assert_eq!(f.current_run(campaign).await.counts.pending, 4);
    f.check().await;
}

/// When the clock is set forward by an hour, and then back, nothing stops.
pub async fn a_clock_set_forward_stops_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = in_every_state(f).await;
    f.clock.set(f.now() + HOUR);
    let leased = f.lease(2).await;
    assert_eq!(leased.tasks.len(), 2);
    f.settle(&leased, |_| Err(GenerationError::new("busy")))
        .await;
    f.clock.set(f.now() - HOUR);
    assert_eq!(work_for_two_minutes(f).await, 4);
    assert_eq!(f.current_run(campaign).await.counts.pending, 4);
    f.check().await;
}

/// A worker that lives keeps its messages when the clock is set back, and its results count.
pub async fn a_live_lease_outlasts_a_clock_set_back<S: Store + 'static>(f: &Fixture<S>) {
    launched(f, 2).await;
    let held = f.lease(2).await;
    f.clock.set(f.now() - HOUR);
    let third = f.engine.generation.policy().lease / 3;
    for _ in 0..10 {
        assert_eq!(f.lease(10).await.tasks, [], "they are held");
        f.clock.advance(third);
        assert_eq!(f.engine.generation.renew(held.lease).await.unwrap(), 2);
    }
    let settled = f.settle(&held, |task| Ok(generated(task))).await;
    assert_eq!(settled.generated, 2);
    f.check().await;
}

/// Clocks of machines that differ by little do not move each other's times.
pub async fn clocks_may_differ_a_little<S: Store + 'static>(f: &Fixture<S>) {
    launched(f, 1).await;
    let length = f.engine.generation.policy().lease;
    let held = f.lease(1).await;
    let ends = f.now() + length;
    f.clock.set(f.now() - Duration::from_secs(4));
    assert_eq!(f.lease(1).await.tasks, []);
    f.clock.set(ends + Duration::from_millis(1));
    assert_eq!(ids(&f.lease(1).await), ids(&held), "the end did not move");
}

/// A lease serves every account that has something due, in turns.
pub async fn accounts_take_turns<S: Store + 'static>(f: &Fixture<S>) {
    launched(f, 40).await;
    launched_by_a_stranger(f, 10).await;
    for limit in [1, 1, 4, 6] {
        let leased = f.lease(limit).await;
        let of = |account| {
            let own = leased.tasks.iter().filter(|t| t.account_id == account);
            own.count()
        };
        let (own, other) = (of(ACCOUNT), of(stranger().account_id));
        assert_eq!(own + other, usize::try_from(limit).unwrap());
        if limit > 1 {
            assert_eq!(own, other, "{limit} tasks");
            let pairs = leased.tasks.chunks(2);
            let differ = |pair: &[_]| pair[0] != pair[1];
            let accounts = pairs.map(|pair| [pair[0].account_id, pair[1].account_id]);
            assert!(accounts.into_iter().all(|pair| differ(&pair)));
        }
    }
    // One of each lease of one was of each account.
    let rest = f.lease(100).await;
    let other = stranger().account_id;
    let others = rest.tasks.iter().filter(|t| t.account_id == other);
    assert_eq!((rest.tasks.len(), others.count()), (50 - 12, 10 - 6));
    assert_eq!(f.lease(100).await.tasks, []);
}

/// A lease from one account has only its tasks, and the next lease has those of another account.
pub async fn accounts_take_turns_from_lease_to_lease<S: Store + 'static>(f: &Fixture<S>) {
    launched(f, 12).await;
    launched_by_a_stranger(f, 4).await;
    let mut served = Vec::new();
    loop {
        let leased = f
            .engine
            .generation
            .lease_from_one(4, 0, |_| true)
            .await
            .unwrap();
        let Some(first) = leased.tasks.first() else {
            break;
        };
        assert_eq!(leased.tasks.len(), 4);
        let account = first.account_id;
        assert!(leased.tasks.iter().all(|task| task.account_id == account));
        served.push(account);
    }
    let turns: Vec<_> = served.windows(2).map(|pair| pair[0] != pair[1]).collect();
    let others = served.iter().filter(|account| **account != ACCOUNT).count();
    assert_eq!((served.len(), others), (4, 1));
    assert!(
        turns[0] || turns[1],
        "the stranger is served first or second"
    );
}

/// Work can become due at an earlier time than what was leased last: another server's clock may be a little behind, or
/// a launch may take long.
pub async fn what_is_due_before_the_last_lease_is_found<S: Store + 'static>(f: &Fixture<S>) {
    launched(f, 4).await;
    assert_eq!(f.lease(2).await.tasks.len(), 2);
    let now = f.now();
    f.clock.set(now - Duration::from_secs(2));
    let before = launched(f, 2).await;
    f.clock.set(now);
    let leased = [f.lease(2).await, f.lease(2).await];
    let tasks = leased.iter().flat_map(|leased| &leased.tasks);
    let found = tasks.filter(|task| task.campaign_id == before).count();
    assert_eq!(found, 2);
    let ids: BTreeSet<_> = leased.iter().flat_map(ids).collect();
    assert_eq!(ids.len(), 4);
    assert_eq!(f.lease(2).await.tasks, []);
}

/// How many leases of four it takes to make the stranger's run, others being served beside it.
async fn leases_for_the_stranger<S: Store + 'static>(f: &Fixture<S>, campaign: CampaignId) -> u32 {
    for leases in 1..100 {
        let leased = f.lease(4).await;
        f.settle(&leased, |task| Ok(generated(task))).await;
        let account = stranger().account_id;
        let found = f.store.find_campaign(account, campaign).await.unwrap();
        if found.unwrap().status != rerun_core::campaign::CampaignStatus::Processing {
            return leases;
        }
    }
    panic!("the run is not made in 100 leases")
}

/// A short run beside a long queue of another account takes at most twice as long as alone.
pub async fn a_long_queue_does_not_delay_another_account<S: Store + 'static>(f: &Fixture<S>) {
    let alone = launched_by_a_stranger(f, 10).await;
    let alone = leases_for_the_stranger(f, alone).await;
    assert_eq!(alone, 3);
    launched(f, 300).await;
    let beside = launched_by_a_stranger(f, 10).await;
    let beside = leases_for_the_stranger(f, beside).await;
    assert!(beside <= 2 * alone, "{beside} leases, {alone} alone");
}

/// A lease returns no more bytes than it may, and always something.
pub async fn a_lease_is_bounded_by_bytes<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["a", "b", "c", "d"]).await;
    let mut new = new_campaign(group, &["country"]);
    new.template.body = "x".repeat(1_000);
    new.brief = Some("y".repeat(500));
    f.launch(f.create(new).await).await;
    let lease = async |bytes: u64| {
        let request = LeaseTasks {
            account_id: ACCOUNT,
            lease: LeaseId::new(f.ids.next()),
            limit: 10,
            bytes,
            now: f.now(),
            until: f.now() + f.engine.generation.policy().lease,
        };
        let tasks = f.store.lease(request).await.unwrap();
        f.engine.generation.release(request.lease).await.unwrap();
        tasks
    };
    let all = lease(u64::MAX).await;
    assert_eq!(all.len(), 4);
    let brief = u64::try_from(all[0].brief.size()).unwrap();
    let attributes = u64::try_from(all[0].attributes.as_json().len()).unwrap();
    assert!(brief > 1_500);
    for (bytes, tasks) in [
        (1, 1),
        (brief, 1),
        (brief + attributes, 1),
        (brief + attributes + 1, 2),
        (brief + 2 * attributes, 2),
        (brief + 3 * attributes + 1, 4),
    ] {
        assert_eq!(lease(bytes).await.len(), tasks, "{bytes} bytes");
    }
    assert!(MAX_LEASE_BYTES > brief + 4 * attributes);
    assert_eq!(f.lease(10).await.tasks.len(), 4);
}

fn cost(prompt_tokens: u32, completion_tokens: u32) -> Usage {
    Usage {
        prompt_tokens,
        completion_tokens,
        model: Some("m".to_owned()),
    }
}

/// What calls used is summed on the run, that of calls which failed too, and once.
pub async fn usage_is_summed_on_the_run<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 4).await;
    let leased = f.lease(4).await;
    let generation = &f.engine.generation;
    let failure = |error: GenerationError, usage| GenerationError {
        usage: Some(usage),
        ..error
    };
    let attempts = [
        Ok(Made {
            content: generated(&leased.tasks[0]),
            usage: Some(cost(1, 10)),
        }),
        Err(failure(GenerationError::new("busy"), cost(2, 20))),
        Err(failure(GenerationError::for_good("refused"), cost(4, 40))),
        Ok(Made::from(generated(&leased.tasks[3]))),
    ];
    let results: Vec<_> = leased
        .tasks
        .iter()
        .zip(attempts)
        .map(|(task, attempt)| generation.result_of(task, attempt))
        .collect();
    for _ in 0..2 {
        generation
            .settle(leased.lease, results.clone())
            .await
            .unwrap();
        let used = TokenCounts {
            prompt_tokens: 7,
            completion_tokens: 70,
        };
        let run = f.current_run(campaign).await;
        assert_eq!(run.usage, used);
        // The mean is that of what was stored.
        let stored = Metered::default().with(&cost(1, 10));
        assert_eq!(run.metered, stored);
    }
    f.seconds_later(60);
    let leased = f.lease(4).await;
    let wait = Duration::from_secs(1);
    let put_off = failure(GenerationError::put_off(wait, "busy"), cost(8, 80));
    let attempt: Result<Made, _> = Err(put_off);
    let result = generation.result_of(&leased.tasks[0], attempt);
    generation.settle(leased.lease, vec![result]).await.unwrap();
    let used = TokenCounts {
        prompt_tokens: 15,
        completion_tokens: 150,
    };
    assert_eq!(f.current_run(campaign).await.usage, used);
    f.seconds_later(60);
    f.generate().await;
    assert_eq!(f.current_run(campaign).await.usage, used);
    f.check().await;
}

/// Who reuses a message pays nothing. It has the name of the model that wrote it until it is edited.
pub async fn a_reused_message_costs_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 1).await;
    let leased = f.lease(1).await;
    let made = Made {
        content: generated(&leased.tasks[0]),
        usage: Some(cost(3, 4)),
    };
    let generation = &f.engine.generation;
    let result = generation.result_of(&leased.tasks[0], Ok(made));
    generation.settle(leased.lease, vec![result]).await.unwrap();
    f.approve(campaign).await;
    f.publish(campaign).await;
    f.rerun(campaign, f.group(&["country 0"]).await).await;
    let run = f.current_run(campaign).await;
    assert_eq!((run.number, run.counts.reused), (run_number(2), 1));
    assert!(run.usage.is_zero());
    assert!(!f.run(campaign, 1).await.usage.is_zero());
    let reused = f.current(campaign).await.remove(0);
    assert_eq!(reused.content_model.as_deref(), Some("m"));
    let reviews = &f.engine.reviews;
    let (id, text) = (Some(reused.id), reused.content.clone().unwrap());
    let edited = reviews.edit(&caller(), campaign, id, text, None).await;
    assert_eq!(edited.unwrap().outcome.1.content_model, None);
    assert_eq!(f.current(campaign).await[0].content_model, None);
}

/// What a run saved is known when it starts: the reused messages with their customers, and the tokens
/// that as many generated contents of the campaign used on average.
pub async fn a_run_knows_what_reuse_saved<S: Store + 'static>(f: &Fixture<S>) {
    let generation = &f.engine.generation;
    let make = async |costs: &[Option<Usage>]| {
        let leased = f.lease(10).await;
        assert_eq!(leased.tasks.len(), costs.len());
        let results = leased.tasks.iter().zip(costs).map(|(task, usage)| {
            let made = Made {
                content: generated(task),
                usage: usage.clone(),
            };
            generation.result_of(task, Ok(made))
        });
        let results = results.collect();
        generation.settle(leased.lease, results).await.unwrap();
    };
    let tokens = |prompt_tokens, completion_tokens| TokenCounts {
        prompt_tokens,
        completion_tokens,
    };
    let campaign = launched(f, 3).await;
    assert_eq!(f.current_run(campaign).await.saved, Saved::default());
    // A failed attempt costs tokens, but it makes no content.
    let leased = f.lease(1).await;
    let failed = GenerationError {
        usage: Some(cost(1_000, 1_000)),
        ..GenerationError::new("busy")
    };
    let attempt: Result<Made, _> = Err(failed);
    let result = generation.result_of(&leased.tasks[0], attempt);
    generation.settle(leased.lease, vec![result]).await.unwrap();
    f.seconds_later(60);
    make(&[Some(cost(10, 1)), None, Some(cost(15, 2))]).await;
    f.approve(campaign).await;
    f.publish(campaign).await;

    let names = ["country 0", "country 1", "country 1", "country 2", "new"];
    f.rerun(campaign, f.group(&names).await).await;
    let saved = Saved {
        messages: 3,
        customers: 4,
        tokens: tokens(38, 5),
    };
    assert_eq!(f.current_run(campaign).await.saved, saved, "3 × 25 / 2");
    make(&[Some(cost(35, 6))]).await;
    assert_eq!(f.current_run(campaign).await.saved, saved, "as it started");
    f.approve(campaign).await;
    f.publish(campaign).await;

    // A run without new contents passes on what is known.
    for _ in 0..2 {
        let started = f.rerun(campaign, f.group(&["new"]).await).await;
        let saved = Saved {
            messages: 1,
            customers: 1,
            tokens: tokens(20, 3),
        };
        assert_eq!(started.saved, saved);
        assert_eq!(f.current_run(campaign).await.saved, saved);
        f.publish(campaign).await;
    }
    f.check().await;
}

/// The settlement that ends a run says so, once.
pub async fn the_end_of_a_run_is_reported<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = launched(f, 3).await;
    let generation = &f.engine.generation;
    let mut ended = Vec::new();
    for task in 0..3 {
        f.seconds_later(2);
        let leased = f.lease(1).await;
        let attempt = if task == 1 {
            Err(GenerationError::for_good("refused"))
        } else {
            Ok(generated(&leased.tasks[0]))
        };
        let result = generation.result_of(&leased.tasks[0], attempt);
        let settlement = generation.settle(leased.lease, vec![result]).await.unwrap();
        ended.push(settlement.ended);
    }
    let [first, second, last] = ended.as_slice() else {
        panic!("three settlements")
    };
    assert_eq!((first.len(), second.len()), (0, 0));
    let [run] = last.as_slice() else {
        panic!("one run ended, not {last:?}")
    };
    assert_eq!((run.account_id, run.campaign_id), (ACCOUNT, campaign));
    assert_eq!(
        (run.run_number, run.made, run.failed),
        (run_number(1), 2, 1)
    );
    assert_eq!(run.took, Duration::from_secs(6));
}
