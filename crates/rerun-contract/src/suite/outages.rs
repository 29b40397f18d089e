//! Senders and receivers that are away for days.

use std::time::Duration;

use rerun_core::delivery::{DeliveryState, KEPT, SendError, Verdict};
use rerun_core::ports::Store;
use rerun_core::usecases::WebhookChange;
use rerun_core::webhook::DisabledReason;

use super::deliveries::{
    SILENT, deliver, events, fan_out, head, lease, listed, progress, responded, sequences, settle,
    webhook,
};
use super::webhooks::{changed, to_anywhere};
use crate::fixture::Fixture;

const HOUR: Duration = Duration::from_hours(1);
const WEEK: Duration = Duration::from_hours(7 * 24);

/// A weekend, and a little more. Attempts at the same event become rare enough to last for that.
pub async fn a_receiver_that_is_away_for_60_hours_gets_everything<S: Store + 'static>(
    f: &Fixture<S>,
) {
    let id = webhook(f, to_anywhere()).await;
    let begun = f.now();
    while f.now() < begun + 60 * HOUR {
        events(f, 1).await;
        fan_out(f).await;
        loop {
            let parcels = lease(f, 50).await;
            if parcels.is_empty() {
                break;
            }
            for parcel in parcels {
                settle(f, &parcel, &SILENT).await;
            }
        }
        f.clock.advance(HOUR);
    }
    let last = head(f).await;
    let mut delivered = Vec::new();
    // The longest wait is a day, and a tenth of it.
    for _ in 0..27 {
        delivered.extend(deliver(f).await);
        f.clock.advance(HOUR);
    }
    assert_eq!(sequences(&delivered, id), (2..=last).collect::<Vec<_>>());
    let after = progress(f, id).await;
    assert_eq!((after.pending, after.delivered_sequence), (0, last));
    assert_eq!(after.webhook.failing_since, None);
    f.check().await;
}

/// A change of a webhook that stays enabled makes no retry due, and the webhook is still known to fail.
pub async fn a_change_does_not_hurry_retries<S: Store + 'static>(f: &Fixture<S>) {
    let id = webhook(f, to_anywhere()).await;
    events(f, 1).await;
    fan_out(f).await;
    // The first retry is due at once, the second later.
    settle(f, &lease(f, 1).await[0], &SILENT).await;
    let second = settle(f, &lease(f, 1).await[0], &SILENT).await;
    let Verdict::RetryAt(due) = second else {
        panic!("{second:?}")
    };
    let failing = progress(f, id).await.webhook.failing_since;
    assert_eq!(failing, Some(f.now()));
    let described = WebhookChange {
        description: Some("for us".to_owned()),
        ..WebhookChange::default()
    };
    changed(f, id, described).await;
    assert_eq!(progress(f, id).await.webhook.failing_since, failing);
    assert_eq!(lease(f, 1).await.len(), 0, "due before its time");
    f.clock.set(due);
    assert_eq!(lease(f, 1).await.len(), 1);
}

/// When no process delivers for a week, everything that happened meanwhile, and what was on its way, is
/// sent by the next one.
pub async fn what_waits_for_a_sender_for_a_week_is_sent<S: Store + 'static>(f: &Fixture<S>) {
    let id = webhook(f, to_anywhere()).await;
    events(f, 3).await;
    fan_out(f).await;
    let on_their_way = lease(f, 2).await;
    assert_eq!(on_their_way.len(), 2);
    events(f, 2).await;
    f.clock.advance(WEEK);
    events(f, 2).await;
    let last = head(f).await;
    assert_eq!(
        sequences(&deliver(f).await, id),
        (2..=last).collect::<Vec<_>>()
    );
    for parcel in &on_their_way {
        let late = f.engine.deliveries.settle(parcel, &SILENT).await;
        assert!(!late.expect("it is settled").settled.counted);
    }
    let interrupted = listed(f, id, None).await;
    let interrupted = interrupted.iter().filter(|delivery| {
        let errors = delivery.attempts.iter().map(|attempt| attempt.error);
        errors.eq([Some(SendError::Interrupted), None])
    });
    assert_eq!(interrupted.count(), 2);
    assert_eq!(f.engine.deliveries.sweep().await.expect("it is swept"), 0);
    f.clock.advance(KEPT);
    assert!(f.engine.deliveries.sweep().await.expect("it is swept") > 0);
    f.check().await;
}

/// While no dispatcher runs, a webhook that worked does not count as failing. A webhook that failed
/// before, and still fails, counts as failing for that time too.
pub async fn a_sender_that_returns_judges_by_the_rules<S: Store + 'static>(f: &Fixture<S>) {
    let works = webhook(f, to_anywhere()).await;
    let fails = webhook(f, to_anywhere()).await;
    events(f, 1).await;
    fan_out(f).await;
    for parcel in lease(f, 50).await {
        let failing = parcel.webhook_id == fails;
        let outcome = if failing { SILENT } else { responded(204) };
        settle(f, &parcel, &outcome).await;
    }
    events(f, 1).await;
    f.clock.advance(WEEK);
    fan_out(f).await;
    let mut disabled = Vec::new();
    for parcel in lease(f, 50).await {
        let settled = f.engine.deliveries.settle(&parcel, &SILENT).await;
        let settled = settled.expect("an attempt is settled");
        assert!(
            matches!(settled.verdict, Verdict::RetryAt(_)),
            "{settled:?}"
        );
        if let Some(reason) = settled.settled.disabled {
            disabled.push((parcel.webhook_id, reason));
        }
    }
    assert_eq!(disabled, [(fails, DisabledReason::Failing)]);
    let working = progress(f, works).await.webhook;
    assert_eq!(
        (working.disabled, working.failing_since),
        (None, Some(f.now()))
    );
    let given_up = listed(f, works, Some(DeliveryState::Failed)).await;
    assert!(given_up.is_empty(), "{given_up:?}");
    f.check().await;
}
