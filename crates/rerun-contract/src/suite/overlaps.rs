//! What a schedule does at a time when its campaign is not published.

use rerun_core::ports::Store;
use rerun_core::schedule::{Outcome, Overlap, When};
use rerun_core::usecases::NewSchedule;

use super::schedules::{HOUR, fire, firings, hours_after, outcomes, scheduled};
use crate::fixture::{Fixture, caller, hourly, run_number};

/// `skip`: the time passes while the campaign is not published.
pub async fn a_time_passes_while_a_run_is_open<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let id = scheduled(f, hourly(campaign)).await;
    for _ in 0..3 {
        f.clock.advance(HOUR);
        fire(f).await;
    }
    f.publish(campaign).await;
    f.clock.advance(HOUR);
    fire(f).await;
    let (started, skipped) = (Outcome::Started, Outcome::SkippedOverlap);
    assert_eq!(outcomes(f, id).await, [started, skipped, skipped, started]);
    assert_eq!(f.campaign(campaign).await.last_run, Some(run_number(3)));
    f.check().await;
}

/// `wait`: one firing waits, and starts when the campaign is published, or its run cancelled.
pub async fn one_firing_waits_until_the_campaign_is_published<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let start = f.now();
    let new = NewSchedule {
        overlap: Some(Overlap::Wait),
        ..hourly(campaign)
    };
    let id = scheduled(f, new).await;
    for _ in 0..3 {
        f.clock.advance(HOUR);
        fire(f).await;
    }
    let (started, skipped) = (Outcome::Started, Outcome::SkippedOverlap);
    assert_eq!(outcomes(f, id).await, [started, Outcome::Waiting, skipped]);
    assert_eq!(fire(f).await, []);
    f.publish(campaign).await;
    f.seconds_later(60);
    let fired = fire(f).await;
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0].firing.key.scheduled_for, hours_after(start, 2));
    assert_eq!(fired[0].late_millis, None);
    assert_eq!(outcomes(f, id).await, [started, started, skipped]);
    f.clock.set(hours_after(start, 4));
    fire(f).await;
    f.cancel(campaign).await;
    fire(f).await;
    assert_eq!(outcomes(f, id).await, [started, started, skipped, started]);
    assert_eq!(f.current_run(campaign).await.number, run_number(4));
    f.check().await;
}

/// `replace`: an unpublished rerun is cancelled, unless the new one would be the same; a first run
/// never is.
pub async fn an_unpublished_rerun_is_replaced<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.current_run(campaign).await.group.id;
    f.rerun(campaign, group).await;
    let new = NewSchedule {
        overlap: Some(Overlap::Replace),
        when: Some(When::GroupChanged),
        ..hourly(campaign)
    };
    let id = scheduled(f, new).await;
    f.clock.advance(HOUR);
    fire(f).await;
    f.import_countries(group, &["ES"]).await;
    f.clock.advance(HOUR);
    fire(f).await;
    assert_eq!(
        outcomes(f, id).await,
        [Outcome::SkippedUnchanged, Outcome::Started]
    );
    assert_eq!(f.current_run(campaign).await.number, run_number(3));
    assert_eq!(
        f.current_run(campaign).await.previous_run,
        Some(run_number(1))
    );
    let draft = f.draft(f.group(&["DE"]).await).await;
    f.launch(draft).await;
    let new = NewSchedule {
        overlap: Some(Overlap::Replace),
        ..hourly(draft)
    };
    let id = scheduled(f, new).await;
    f.clock.advance(HOUR);
    fire(f).await;
    let refused = &firings(f, id).await[0];
    assert_eq!(refused.outcome, Outcome::Refused);
    assert_eq!(refused.reason.as_deref(), Some("campaign_not_published"));
    assert_eq!(f.campaign(draft).await.current_run, Some(run_number(1)));
    f.check().await;
}

/// `replace`: the unpublished rerun is cancelled only if the new one starts. New segments are those that the
/// published run does not have.
pub async fn a_rerun_is_cancelled_only_for_one_that_starts<S: Store + 'static>(f: &Fixture<S>) {
    let (started, unchanged) = (Outcome::Started, Outcome::SkippedUnchanged);
    let empty = Some("empty_customer_group");
    for (when, countries, outcome, reason, current) in [
        (
            When::NewSegments,
            &["DE"][..],
            unchanged,
            Some("there are no new segments"),
            2,
        ),
        (When::NewSegments, &["DE", "FR"], started, None, 3),
        (When::GroupChanged, &["DE"], started, None, 3),
        (When::Always, &["DE"], started, None, 3),
        (When::NewSegments, &[], Outcome::Refused, empty, 2),
        (When::Always, &[], Outcome::Refused, empty, 2),
    ] {
        let campaign = f.published(&["DE"]).await;
        f.rerun(campaign, f.group(&["DE", "FR"]).await).await;
        let new = NewSchedule {
            overlap: Some(Overlap::Replace),
            when: Some(when),
            customer_group: Some(f.group(countries).await),
            ..hourly(campaign)
        };
        let id = scheduled(f, new).await;
        f.clock.advance(HOUR);
        fire(f).await;
        let firing = firings(f, id).await.remove(0);
        let run = f.current_run(campaign).await;
        assert_eq!(
            (firing.outcome, firing.reason.as_deref(), run.number),
            (outcome, reason, run_number(current)),
            "{when}: {countries:?}"
        );
        f.engine
            .schedules
            .pause(&caller(), id, None, None)
            .await
            .unwrap();
    }
    f.check().await;
}
