//! Runs that are cancelled.

use rerun_core::audit::Authorship;
use rerun_core::campaign::CampaignStatus;
use rerun_core::error::Error;
use rerun_core::event::{Event, StatusChange};
use rerun_core::generation::{GenerationError, Settled};
use rerun_core::ports::{CampaignContext, CancelRun, Store};
use rerun_core::run::RunStatus;

use crate::fixture::{
    ACCOUNT, Fixture, all_at_once, assert_conflict, author, caller, generated, run_number, settled,
};

fn cancel_of(context: CampaignContext, author: Authorship) -> CancelRun {
    let CampaignContext {
        campaign,
        current_run,
        ..
    } = context;
    let run = current_run.unwrap().cancelled(author.at, None);
    let standing = campaign.without_cancelled(&run);
    let status = StatusChange {
        campaign_id: campaign.id,
        run_number: run.number,
        before: campaign.status,
        after: standing.status,
    };
    CancelRun {
        campaign,
        run,
        standing,
        now: author.at,
        audit: author.of(Event::RerunCancelled {
            status,
            reason: None,
        }),
        response: None,
    }
}

/// Taking a rerun back gives the previous run back byte for byte; its number stays used.
pub async fn a_cancelled_rerun_gives_the_previous_run_back<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let before = f.snapshot(ACCOUNT).await;
    let group = f.group(&["DE", "ES", "IT"]).await;
    f.seconds_later(60);
    f.rerun(campaign, group).await;
    let leased = f.lease(1).await;
    f.settle(&leased, |task| Ok(generated(task))).await;
    f.seconds_later(60);
    f.cancel(campaign).await;
    let after = f.snapshot(ACCOUNT).await;
    let (was, is) = (before.campaign(campaign), after.campaign(campaign));
    assert_eq!(is.campaign.status, CampaignStatus::Published);
    assert_eq!(is.campaign.current_run, Some(run_number(1)));
    assert_eq!(is.campaign.last_run, Some(run_number(2)));
    assert!(is.campaign.version > was.campaign.version);
    assert_eq!(
        is.run(run_number(1)),
        was.run(run_number(1)),
        "run 1 is as it was"
    );
    let first: Vec<_> = is.of_run(run_number(1)).collect();
    assert_eq!(
        first,
        was.of_run(run_number(1)).collect::<Vec<_>>(),
        "so are its messages"
    );
    let cancelled = is.run(run_number(2));
    assert_eq!(cancelled.status, RunStatus::Cancelled);
    assert_eq!(cancelled.cancel_reason.as_deref(), Some("a mistake"));
    assert_eq!(
        (cancelled.completed_at, cancelled.archived_at),
        (Some(f.now()), Some(f.now()))
    );
    assert_eq!(
        is.of_run(run_number(2)).count(),
        3,
        "the cancelled run's messages stay"
    );
    assert_eq!(f.current(campaign).await.len(), 2);
    f.check().await;
    f.seconds_later(60);
    assert_eq!(f.rerun(campaign, group).await.run_number, run_number(3));
    f.finish(campaign).await;
    f.check().await;
}

/// Nothing of a cancelled run is generated any more, and what comes late is dropped.
pub async fn late_results_of_a_cancelled_run_are_dropped<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["ES", "IT", "PT"]).await;
    f.rerun(campaign, group).await;
    let leased = f.lease(2).await;
    assert_eq!(leased.tasks.len(), 2);
    f.cancel(campaign).await;
    let before = f.snapshot(ACCOUNT).await;
    for attempt in [Ok(()), Err(GenerationError::new("no"))] {
        let settled = f
            .settle(&leased, |task| attempt.clone().map(|()| generated(task)))
            .await;
        assert_eq!(settled, Settled::default());
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "late results");
    f.seconds_later(3_600);
    assert_eq!(
        f.lease(100).await.tasks,
        [],
        "nothing of it is generated any more"
    );
    assert_eq!(f.engine.generation.renew(leased.lease).await.unwrap(), 0);
    // The same segments in a new run are other messages.
    f.rerun(campaign, group).await;
    let settled = f.settle(&leased, |task| Ok(generated(task))).await;
    assert_eq!(settled, Settled::default());
    assert_eq!(f.current_run(campaign).await.counts.generating, 3);
    f.check().await;
}

/// Taking run 1 back leads to a draft, and the next launch to run 2.
pub async fn a_cancelled_first_run_leads_to_a_draft<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR"]).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    f.cancel(campaign).await;
    let after = f.campaign(campaign).await;
    assert_eq!(
        (after.status, after.current_run),
        (CampaignStatus::Draft, None)
    );
    assert_eq!(after.last_run, Some(run_number(1)));
    assert_eq!(
        f.current(campaign).await,
        [],
        "a draft has no current messages"
    );
    assert_eq!(f.context(campaign).await.current_run, None);
    f.check().await;
    assert_eq!(f.launch(campaign).await.run_number, run_number(2));
    f.finish(campaign).await;
    f.check().await;
}

/// A run can be taken back from every state before it is published; its error stays.
pub async fn a_run_is_cancelled_from_every_state<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE", "ES"]).await;
    for stage in 0..4 {
        f.rerun(campaign, group).await;
        match stage {
            0 => {}
            1 => f.fail_generation("out of paper").await,
            2 => f.generate().await,
            _ => {
                f.generate().await;
                f.approve(campaign).await;
            }
        }
        f.cancel(campaign).await;
        assert_eq!(f.campaign(campaign).await.status, CampaignStatus::Published);
        let run = f.run(campaign, stage + 2).await;
        assert_eq!(run.status, RunStatus::Cancelled);
        assert_eq!(
            run.error.is_some(),
            stage == 1,
            "the error of a run that had failed"
        );
        f.check().await;
    }
    let refused = f
        .engine
        .reruns
        .cancel(&caller(), campaign, None, None)
        .await;
    assert!(
        matches!(refused, Err(Error::IllegalTransition(_))),
        "published: {refused:?}"
    );
}

/// A cancellation that was decided before somebody else's change is not committed.
pub async fn a_stale_cancellation_is_a_conflict<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE"]).await;
    f.rerun(campaign, group).await;
    let stale = cancel_of(f.context(campaign).await, author(f, caller()));
    f.publish(campaign).await;
    let before = f.snapshot(ACCOUNT).await;
    assert_conflict(f.store.cancel_run(stale).await, "a stale cancellation");
    before.assert_same(&f.snapshot(ACCOUNT).await, "a stale cancellation");
    f.check().await;
}

/// Results that are stored between a cancellation's decision and its commit are not uncounted.
pub async fn a_cancellation_keeps_what_was_settled_meanwhile<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["ES", "IT", "PT"]).await;
    f.rerun(campaign, group).await;
    let cancel = cancel_of(f.context(campaign).await, author(f, caller()));
    let leased = f.lease(2).await;
    f.settle(&leased, |task| Ok(generated(task))).await;
    f.store
        .cancel_run(cancel)
        .await
        .expect("the campaign's version is still the same");
    let run = f.run(campaign, 2).await;
    assert_eq!(
        (run.counts.pending, run.counts.generating),
        (2, 1),
        "as its messages are"
    );
    f.check().await;
}

/// Publishing and taking back at once: one of them wins.
pub async fn publish_and_cancel_exclude_each_other<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.group(&["DE"]).await;
    for _ in 0..4 {
        f.rerun(campaign, group).await;
        let answers = all_at_once(8, |task| {
            let engine = f.engine.clone();
            async move {
                if task % 2 == 0 {
                    engine
                        .reviews
                        .publish(&caller(), campaign, None)
                        .await
                        .map(|_| "published")
                } else {
                    engine
                        .reruns
                        .cancel(&caller(), campaign, None, None)
                        .await
                        .map(|_| "cancelled")
                }
            }
        })
        .await;
        let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(done.len(), 1, "one wins: {done:?}, {refused:?}");
        for answer in refused {
            assert!(
                matches!(answer, Err(Error::IllegalTransition(_))),
                "{answer:?}"
            );
        }
        assert_eq!(f.campaign(campaign).await.status, CampaignStatus::Published);
        f.check().await;
    }
}

/// Workers and a cancellation at once: whatever was stored in time is counted.
pub async fn workers_and_a_cancellation_at_once<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let names: Vec<String> = (0..40).map(|n| format!("country {n}")).collect();
    let countries: Vec<&str> = names.iter().map(String::as_str).collect();
    let group = f.group(&countries).await;
    f.rerun(campaign, group).await;
    let answers = all_at_once(6, |task| {
        let engine = f.engine.clone();
        async move {
            if task == 0 {
                engine
                    .reruns
                    .cancel(&caller(), campaign, None, None)
                    .await
                    .expect("a cancellation");
                return;
            }
            for _ in 0..8 {
                let leased = engine.generation.lease(3).await.expect("a lease");
                settled(&engine.generation, &leased, |task| Ok(generated(task))).await;
            }
        }
    })
    .await;
    assert_eq!(answers.len(), 6);
    assert_eq!(f.run(campaign, 2).await.status, RunStatus::Cancelled);
    f.seconds_later(3_600);
    assert_eq!(f.lease(100).await.tasks, []);
    f.check().await;
}
