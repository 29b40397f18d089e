//! Deliveries: what is queued, who gets it when, and what becomes of it.

use std::collections::BTreeSet;
use std::time::Duration;

use rerun_core::audit::AuditAction;
use rerun_core::delivery::{
    Delivery, DeliveryState, KEPT, MAX_ATTEMPTS, Outcome, PATIENCE, Parcel, Response, SendError,
    Verdict,
};
use rerun_core::error::Error;
use rerun_core::ids::WebhookId;
use rerun_core::ports::{FanOut, Store};
use rerun_core::usecases::{Deliveries, NewWebhook, PageQuery, ReplayRequest};
use rerun_core::webhook::{DisabledReason, WebhookProgress};

use super::webhooks::{changed, created, disabling, enabling, to_anywhere};
use crate::fixture::{ACCOUNT, Fixture, all_at_once, caller, stranger};

pub(super) fn responded(status: u16) -> Outcome {
    Outcome {
        response: Ok(Response {
            status,
            retry_after: None,
        }),
        duration: Duration::from_millis(12),
    }
}

pub(super) const SILENT: Outcome = Outcome {
    response: Err(SendError::TimedOut),
    duration: Duration::from_secs(20),
};

/// Queues all that is new.
pub(super) async fn fan_out<S: Store + 'static>(f: &Fixture<S>) -> u64 {
    let mut queued = 0;
    for _ in 0..1_000 {
        let one = f
            .engine
            .deliveries
            .fan_out()
            .await
            .expect("events are queued");
        queued += one.queued;
        if !one.more {
            return queued;
        }
    }
    panic!("there is always more to queue");
}

pub(super) async fn lease<S: Store + 'static>(f: &Fixture<S>, limit: u32) -> Vec<Parcel> {
    let leased = f.engine.deliveries.lease(limit).await;
    leased.expect("deliveries are leased").parcels
}

pub(super) async fn settle<S: Store + 'static>(
    f: &Fixture<S>,
    parcel: &Parcel,
    outcome: &Outcome,
) -> Verdict {
    let settled = f.engine.deliveries.settle(parcel, outcome).await;
    let settled = settled.expect("an attempt is settled");
    assert!(settled.settled.counted, "{parcel:?}");
    settled.verdict
}

/// Queues and delivers until nothing is due; returns the numbers in the order of their delivery.
pub(super) async fn deliver<S: Store + 'static>(f: &Fixture<S>) -> Vec<(WebhookId, i64)> {
    fan_out(f).await;
    let mut delivered = Vec::new();
    loop {
        let parcels = lease(f, 50).await;
        if parcels.is_empty() {
            return delivered;
        }
        for parcel in parcels {
            settle(f, &parcel, &responded(204)).await;
            delivered.push((parcel.webhook_id, parcel.event.sequence));
        }
    }
}

pub(super) fn sequences(delivered: &[(WebhookId, i64)], webhook: WebhookId) -> Vec<i64> {
    let mut own: Vec<i64> = delivered
        .iter()
        .filter(|(id, _)| *id == webhook)
        .map(|(_, sequence)| *sequence)
        .collect();
    own.sort_unstable();
    own
}

pub(super) async fn listed<S: Store + 'static>(
    f: &Fixture<S>,
    id: WebhookId,
    state: Option<DeliveryState>,
) -> Vec<Delivery> {
    let mut page = PageQuery {
        limit: Some(3),
        cursor: None,
    };
    let mut all = Vec::new();
    loop {
        let found = f
            .engine
            .webhooks
            .deliveries(&caller(), id, state, &page)
            .await;
        let found = found.expect("deliveries are listed");
        all.extend(found.items);
        match found.next_cursor {
            Some(next) => page.cursor = Some(next),
            None => return all,
        }
    }
}

pub(super) async fn progress<S: Store + 'static>(f: &Fixture<S>, id: WebhookId) -> WebhookProgress {
    f.engine
        .webhooks
        .get(&caller(), id)
        .await
        .expect("it is there")
}

pub(super) async fn webhook<S: Store + 'static>(f: &Fixture<S>, new: NewWebhook) -> WebhookId {
    created(f, new).await.webhook.id
}

/// So many events of the account.
pub(super) async fn events<S: Store + 'static>(f: &Fixture<S>, number: usize) {
    for n in 0..number {
        f.empty_group(&format!("group {n}")).await;
    }
}

pub(super) async fn head<S: Store + 'static>(f: &Fixture<S>) -> i64 {
    f.store.audit_head(ACCOUNT).await.unwrap().seq
}

fn range(from: i64, to: i64) -> ReplayRequest {
    ReplayRequest {
        from_sequence: Some(from),
        to_sequence: Some(to),
        failed: false,
    }
}

/// Each webhook gets every event after it was made, once, whatever was queued at once.
pub async fn each_event_is_queued_once_for_each_webhook<S: Store + 'static>(f: &Fixture<S>) {
    events(f, 3).await;
    let from_now = webhook(f, to_anywhere()).await;
    let from_the_start = NewWebhook {
        after_sequence: Some(0),
        ..to_anywhere()
    };
    let from_the_start = webhook(f, from_the_start).await;
    events(f, 4).await;
    let queued = all_at_once(6, |_| {
        let store = f.store.clone();
        let now = f.now();
        async move {
            let mut queued = 0;
            for _ in 0..10 {
                let request = FanOut {
                    account_id: ACCOUNT,
                    entries: 2,
                    now,
                };
                queued += store.fan_out(request).await.unwrap().queued;
            }
            queued
        }
    })
    .await;
    assert_eq!(queued.iter().sum::<u64>(), 5 + 9);
    let delivered = deliver(f).await;
    assert_eq!(sequences(&delivered, from_now), [5, 6, 7, 8, 9]);
    assert_eq!(
        sequences(&delivered, from_the_start),
        (1..=9).collect::<Vec<_>>()
    );
    assert_eq!(delivered.len(), 14, "each once");
    let after = progress(f, from_now).await;
    assert_eq!((after.delivered_sequence, after.pending), (9, 0));
    assert_eq!(deliver(f).await, []);
}

/// Only events of its types and of its campaign are for a webhook.
pub async fn a_webhook_gets_what_it_wants<S: Store + 'static>(f: &Fixture<S>) {
    let one = f.published(&["DE"]).await;
    let types = Some(vec![
        AuditAction::CampaignPublished,
        AuditAction::CampaignCreated,
    ]);
    let of = |campaign_id, types| NewWebhook {
        campaign_id,
        types,
        after_sequence: Some(0),
        ..to_anywhere()
    };
    let of_types = webhook(f, of(None, types.clone())).await;
    let of_campaign = webhook(f, of(Some(one), None)).await;
    let of_both = webhook(f, of(Some(one), types)).await;
    f.published(&["FR"]).await;
    let entries = f.entries(ACCOUNT).await;
    let delivered = deliver(f).await;
    for (id, wants_campaign, wants_type) in [
        (of_types, false, true),
        (of_campaign, true, false),
        (of_both, true, true),
    ] {
        let expected: Vec<i64> = entries
            .iter()
            .filter(|e| !wants_campaign || e.campaign_id == Some(one))
            .filter(|e| {
                !wants_type
                    || ["campaign.published", "campaign.created"].contains(&e.action.as_str())
            })
            .map(|e| e.seq)
            .collect();
        assert!(!expected.is_empty());
        assert_eq!(sequences(&delivered, id), expected);
        let after = progress(f, id).await;
        assert_eq!(
            after.delivered_sequence,
            head(f).await,
            "what it does not want counts"
        );
    }
}

/// Two senders never have the same delivery, and no webhook has more than four on their way.
pub async fn a_webhook_has_four_on_their_way<S: Store + 'static>(f: &Fixture<S>) {
    let (one, other) = (
        webhook(f, to_anywhere()).await,
        webhook(f, to_anywhere()).await,
    );
    events(f, 12).await;
    fan_out(f).await;
    let leased = all_at_once(6, |_| {
        let engine = f.engine.clone();
        async move { engine.deliveries.lease(50).await.unwrap().parcels }
    })
    .await;
    let mut leased: Vec<Parcel> = leased.into_iter().flatten().collect();
    // Some may have been passed over while another sender held their webhook.
    leased.extend(lease(f, 50).await);
    for id in [one, other] {
        let own: Vec<i64> = leased
            .iter()
            .filter(|parcel| parcel.webhook_id == id)
            .map(|parcel| parcel.event.sequence)
            .collect();
        assert_eq!(own.len(), 4);
        assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), 4, "{own:?}");
    }
    assert_eq!(lease(f, 50).await, []);
    settle(f, &leased[0], &responded(200)).await;
    let next = lease(f, 50).await;
    assert_eq!(next.len(), 1, "one has come, one goes");
    assert_eq!(next[0].webhook_id, leased[0].webhook_id);
}

/// An ordered webhook has one on its way, in the order of the log, and waits for a failed one.
pub async fn an_ordered_webhook_gets_one_after_the_other<S: Store + 'static>(f: &Fixture<S>) {
    let ordered = NewWebhook {
        ordered: true,
        ..to_anywhere()
    };
    let id = webhook(f, ordered).await;
    events(f, 3).await;
    fan_out(f).await;
    let first = lease(f, 50).await;
    assert_eq!(first.len(), 1);
    assert_eq!(lease(f, 50).await, []);
    assert_eq!(
        settle(f, &first[0], &responded(500)).await,
        Verdict::RetryAt(f.now())
    );
    let again = lease(f, 50).await;
    assert_eq!(again[0].event.sequence, first[0].event.sequence);
    settle(f, &again[0], &responded(500)).await;
    assert_eq!(lease(f, 50).await, [], "the next one waits for it");
    f.seconds_later(6);
    let again = lease(f, 50).await;
    assert_eq!(again[0].event.sequence, first[0].event.sequence);
    settle(f, &again[0], &responded(200)).await;
    let rest = deliver(f).await;
    assert_eq!(rest, [(id, 3), (id, 4)]);
}

/// The attempts are counted and listed, the times follow the table, and after the last it is given up.
pub async fn a_delivery_is_given_up_after_eleven_attempts<S: Store + 'static>(f: &Fixture<S>) {
    let id = webhook(f, to_anywhere()).await;
    events(f, 1).await;
    fan_out(f).await;
    for attempt in 1..=MAX_ATTEMPTS {
        let parcel = lease(f, 50).await.remove(0);
        assert_eq!(parcel.attempt, attempt);
        let verdict = settle(f, &parcel, &SILENT).await;
        let state = listed(f, id, None).await.remove(0);
        match verdict {
            Verdict::RetryAt(at) => {
                assert_eq!(state.next_attempt_at, Some(at));
                assert_eq!(state.state, DeliveryState::Pending);
                f.clock.set(at - Duration::from_millis(1));
                if at > state.attempts.last().unwrap().at {
                    assert_eq!(lease(f, 50).await, []);
                }
                f.clock.set(at);
            }
            other @ (Verdict::Delivered | Verdict::Failed | Verdict::Gone) => {
                assert_eq!((other, attempt), (Verdict::Failed, MAX_ATTEMPTS));
            }
        }
    }
    assert_eq!(lease(f, 50).await, []);
    let state = listed(f, id, Some(DeliveryState::Failed)).await.remove(0);
    assert_eq!(state.next_attempt_at, None);
    assert_eq!(state.attempts.len(), 11);
    for attempt in &state.attempts {
        assert_eq!(
            (attempt.status, attempt.error),
            (None, Some(SendError::TimedOut))
        );
        assert_eq!(attempt.duration, Duration::from_secs(20));
    }
    let after = progress(f, id).await;
    assert_eq!((after.delivered_sequence, after.pending), (2, 0));
    assert!(after.webhook.failing_since.is_some());
}

/// What a sender that is gone had is sent by another, and its late result changes nothing.
pub async fn a_lost_lease_changes_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let id = webhook(f, to_anywhere()).await;
    events(f, 1).await;
    fan_out(f).await;
    let lost = lease(f, 50).await.remove(0);
    f.clock.advance(Deliveries::LEASE);
    assert_eq!(lease(f, 50).await, [], "a lease is alive up to its end");
    f.clock.advance(Duration::from_millis(1));
    let kept = lease(f, 50).await.remove(0);
    assert_eq!((kept.event.id, kept.attempt), (lost.event.id, 2));
    let late = f
        .engine
        .deliveries
        .settle(&lost, &responded(410))
        .await
        .unwrap();
    assert!(!late.settled.counted);
    assert_eq!(progress(f, id).await.webhook.disabled, None);
    assert_eq!(f.engine.deliveries.renew(lost.lease).await.unwrap(), 0);
    assert_eq!(f.engine.deliveries.renew(kept.lease).await.unwrap(), 1);
    settle(f, &kept, &responded(204)).await;
    let again = f.engine.deliveries.settle(&kept, &SILENT).await.unwrap();
    assert!(!again.settled.counted);
    let state = listed(f, id, None).await.remove(0);
    assert_eq!(state.state, DeliveryState::Delivered);
    let errors: Vec<_> = state.attempts.iter().map(|attempt| attempt.error).collect();
    assert_eq!(errors, [Some(SendError::Interrupted), None]);
}

/// Senders that always die do not send for ever.
pub async fn attempts_count_before_they_end<S: Store + 'static>(f: &Fixture<S>) {
    let id = webhook(f, to_anywhere()).await;
    events(f, 1).await;
    fan_out(f).await;
    for attempt in 1..=MAX_ATTEMPTS {
        assert_eq!(lease(f, 50).await[0].attempt, attempt);
        f.clock
            .advance(Deliveries::LEASE + Duration::from_millis(1));
    }
    assert_eq!(lease(f, 50).await, []);
    let state = listed(f, id, None).await.remove(0);
    assert_eq!(state.state, DeliveryState::Failed);
    assert_eq!(state.attempts.len(), 11);
}

/// What is given back is due at once, and its attempt does not count.
pub async fn a_released_delivery_is_due_at_once<S: Store + 'static>(f: &Fixture<S>) {
    webhook(f, to_anywhere()).await;
    events(f, 2).await;
    fan_out(f).await;
    let leased = lease(f, 50).await;
    assert_eq!(leased.len(), 2);
    let given_back = f.engine.deliveries.release(leased[0].lease).await;
    assert_eq!(given_back.unwrap(), 2);
    let again = lease(f, 50).await;
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|parcel| parcel.attempt == 1));
    f.check().await;
}

/// 410 disables the webhook, with an entry; what waits goes on when it is enabled.
pub async fn a_webhook_that_is_gone_is_disabled<S: Store + 'static>(f: &Fixture<S>) {
    let id = webhook(f, to_anywhere()).await;
    events(f, 3).await;
    fan_out(f).await;
    let parcels = lease(f, 2).await;
    let settled = f
        .engine
        .deliveries
        .settle(&parcels[0], &responded(410))
        .await;
    let settled = settled.unwrap();
    assert_eq!(settled.settled.disabled, Some(DisabledReason::Gone));
    let late = f
        .engine
        .deliveries
        .settle(&parcels[1], &SILENT)
        .await
        .unwrap();
    assert!(!late.settled.counted, "it waits with the webhook");
    let entry = f.entries(ACCOUNT).await.pop().unwrap();
    assert_eq!(
        (entry.action.as_str(), entry.user_id),
        ("webhook.disabled", None)
    );
    assert!(entry.details.contains("gone"), "{}", entry.details);
    assert_eq!(deliver(f).await, []);
    let pending = listed(f, id, Some(DeliveryState::Pending)).await;
    assert_eq!(pending.len(), 3);
    assert!(
        pending
            .iter()
            .all(|delivery| delivery.next_attempt_at.is_none())
    );
    let disabled = progress(f, id).await;
    assert_eq!((disabled.pending, disabled.delivered_sequence), (3, 1));
    changed(f, id, enabling(None)).await;
    let delivered = deliver(f).await;
    let expected: Vec<i64> = (2..=head(f).await).collect();
    assert_eq!(sequences(&delivered, id), expected);
    f.check().await;
}

/// A webhook that delivers nothing for five days is disabled. Each delivery starts the five days again.
pub async fn a_webhook_that_fails_for_five_days_is_disabled<S: Store + 'static>(f: &Fixture<S>) {
    let id = webhook(f, to_anywhere()).await;
    let hours = |hours| Duration::from_hours(hours);
    events(f, 1).await;
    fan_out(f).await;
    settle(f, &lease(f, 1).await[0], &SILENT).await;
    let since = f.now();
    assert_eq!(progress(f, id).await.webhook.failing_since, Some(since));
    f.clock.advance(hours(48));
    settle(f, &lease(f, 1).await[0], &responded(204)).await;
    assert_eq!(progress(f, id).await.webhook.failing_since, None);
    events(f, 20).await;
    fan_out(f).await;
    let begun = f.now();
    let mut disabled = None;
    while disabled.is_none() {
        for parcel in lease(f, 50).await {
            let settled = f.engine.deliveries.settle(&parcel, &responded(503)).await;
            disabled = disabled.or(settled.unwrap().settled.disabled);
        }
        f.clock.advance(hours(1));
        events(f, 1).await;
        fan_out(f).await;
        assert!(f.now() < begun + PATIENCE + hours(30));
    }
    assert_eq!(disabled, Some(DisabledReason::Failing));
    assert!(f.now() >= begun + PATIENCE);
    let after = progress(f, id).await.webhook;
    assert_eq!(after.disabled, Some(DisabledReason::Failing));
    assert_eq!(after.failing_since, Some(begun));
    // Nothing is lost, from whatever number its receiver goes on.
    f.clock.advance(hours(24 * 7));
    let enabled = changed(f, id, enabling(Some(2))).await;
    assert_eq!(enabled.webhook.failing_since, None);
    assert_eq!(enabled.delivered_sequence, 2);
    let expected: Vec<i64> = (3..=head(f).await).collect();
    assert_eq!(sequences(&deliver(f).await, id), expected);
    f.check().await;
}

/// A webhook that was set ahead does not get what waited before.
pub async fn enabling_after_a_number_skips_what_was_before<S: Store + 'static>(f: &Fixture<S>) {
    let id = webhook(f, to_anywhere()).await;
    events(f, 4).await;
    fan_out(f).await;
    changed(f, id, disabling()).await;
    changed(f, id, enabling(Some(4))).await;
    assert_eq!(sequences(&deliver(f).await, id), [5, 6, 7]);
    let given_up = listed(f, id, Some(DeliveryState::Failed)).await;
    let numbers: Vec<i64> = given_up.iter().map(|delivery| delivery.sequence).collect();
    assert_eq!(numbers, [4, 3, 2], "they can be replayed");
}

/// A range is sent again with the same ids, also from before the webhook was made.
pub async fn a_range_is_sent_again<S: Store + 'static>(f: &Fixture<S>) {
    events(f, 3).await;
    let id = webhook(f, to_anywhere()).await;
    events(f, 2).await;
    assert_eq!(sequences(&deliver(f).await, id), [5, 6]);
    let first = listed(f, id, None).await;
    let webhooks = &f.engine.webhooks;
    let queued = webhooks
        .replay(&caller(), id, range(2, 5), Some("key"))
        .await;
    assert_eq!(queued.unwrap().outcome, 4);
    let during = progress(f, id).await;
    assert_eq!((during.pending, during.delivered_sequence), (4, 6));
    let again = webhooks
        .replay(&caller(), id, range(2, 5), Some("key"))
        .await;
    let again = again.unwrap();
    assert_eq!((again.outcome, again.replayed), (4, true));
    assert_eq!(sequences(&deliver(f).await, id), [2, 3, 4, 5]);
    let second = listed(f, id, None).await;
    assert_eq!(second[1].event_id, first[1].event_id);
    assert_eq!(second[1].attempts.len(), 2);
    // Nothing beyond where the webhook is: that comes by itself.
    let beyond = webhooks
        .replay(&caller(), id, range(7, i64::MAX), None)
        .await;
    assert_eq!(beyond.unwrap().outcome, 0);
    for (request, is_missing) in [
        (range(3, 2), false),
        (range(-1, 2), false),
        (
            ReplayRequest {
                failed: true,
                ..range(1, 2)
            },
            false,
        ),
        (ReplayRequest::default(), true),
        (
            ReplayRequest {
                to_sequence: None,
                ..range(1, 2)
            },
            true,
        ),
    ] {
        let refused = webhooks.replay(&caller(), id, request, None).await;
        match refused {
            Err(Error::MissingFields(_)) => assert!(is_missing, "{request:?}"),
            Err(Error::Invalid(_)) => assert!(!is_missing, "{request:?}"),
            other => panic!("{request:?}: {other:?}"),
        }
    }
}

/// What was given up is sent again, with all its attempts.
pub async fn what_failed_is_sent_again<S: Store + 'static>(f: &Fixture<S>) {
    let id = webhook(f, to_anywhere()).await;
    events(f, 3).await;
    fan_out(f).await;
    changed(f, id, disabling()).await;
    changed(f, id, enabling(Some(3))).await;
    deliver(f).await;
    let request = ReplayRequest {
        failed: true,
        ..ReplayRequest::default()
    };
    let queued = f.engine.webhooks.replay(&caller(), id, request, None).await;
    assert_eq!(queued.unwrap().outcome, 2);
    let parcels = lease(f, 50).await;
    assert!(parcels.iter().all(|parcel| parcel.attempt == 1));
    for parcel in &parcels {
        settle(f, parcel, &responded(204)).await;
    }
    assert_eq!(listed(f, id, Some(DeliveryState::Failed)).await, []);
}

/// What waits and is not on its way is due at once when its range is replayed.
pub async fn a_replay_does_not_wait<S: Store + 'static>(f: &Fixture<S>) {
    let id = webhook(f, to_anywhere()).await;
    events(f, 2).await;
    fan_out(f).await;
    for _ in 0..3 {
        for parcel in lease(f, 50).await {
            settle(f, &parcel, &SILENT).await;
        }
        f.seconds_later(10);
    }
    assert_eq!(lease(f, 50).await, [], "they wait for minutes");
    let queued = f
        .engine
        .webhooks
        .replay(&caller(), id, range(2, 9), None)
        .await;
    assert_eq!(queued.unwrap().outcome, 2);
    let after = progress(f, id).await;
    assert_eq!(after.delivered_sequence, 1, "they were never delivered");
    let parcels = lease(f, 1).await;
    assert_eq!(parcels[0].attempt, 1);
    let queued = f
        .engine
        .webhooks
        .replay(&caller(), id, range(2, 9), None)
        .await;
    assert_eq!(queued.unwrap().outcome, 1, "one is on its way");
}

/// A clock that goes back stops nothing.
pub async fn deliveries_go_on_when_the_clock_goes_back<S: Store + 'static>(f: &Fixture<S>) {
    let id = webhook(f, to_anywhere()).await;
    events(f, 3).await;
    fan_out(f).await;
    let parcels = lease(f, 2).await;
    let Verdict::RetryAt(_) = settle(f, &parcels[0], &SILENT).await else {
        panic!("it is tried again");
    };
    f.clock.set(f.now() - Duration::from_hours(24 * 365));
    let start = f.now();
    let mut delivered = Vec::new();
    while f.now() < start + Duration::from_mins(10) {
        delivered.extend(deliver(f).await);
        f.seconds_later(10);
    }
    assert_eq!(sequences(&delivered, id), [2, 3, 4]);
}

/// Accounts take turns: a long queue of one delays no other.
pub async fn accounts_share_a_lease_of_deliveries<S: Store + 'static>(f: &Fixture<S>) {
    for _ in 0..3 {
        webhook(f, to_anywhere()).await;
    }
    let made = f
        .engine
        .webhooks
        .create(&stranger(), to_anywhere(), None)
        .await;
    let theirs = made.unwrap().outcome.webhook.webhook.id;
    events(f, 10).await;
    for name in ["one", "two"] {
        f.engine
            .groups
            .create(&stranger(), name, None)
            .await
            .unwrap();
    }
    fan_out(f).await;
    let leased = lease(f, 4).await;
    let of_theirs = leased.iter().filter(|parcel| parcel.webhook_id == theirs);
    assert_eq!((of_theirs.count(), leased.len()), (2, 4));
}

/// What is old goes, what waits stays, and a deleted webhook leaves nothing.
pub async fn old_deliveries_are_swept<S: Store + 'static>(f: &Fixture<S>) {
    let (kept, gone) = (
        webhook(f, to_anywhere()).await,
        webhook(f, to_anywhere()).await,
    );
    events(f, 2).await;
    deliver(f).await;
    f.engine
        .webhooks
        .delete(&caller(), gone, None)
        .await
        .unwrap();
    f.clock.advance(Duration::from_hours(24));
    events(f, 1).await;
    fan_out(f).await;
    let waiting = lease(f, 1).await;
    settle(f, &waiting[0], &SILENT).await;
    let sweep_all = async || while f.engine.deliveries.sweep().await.unwrap() > 0 {};
    sweep_all().await;
    assert_eq!(listed(f, kept, None).await.len(), 5, "nothing is old");
    f.clock
        .advance(KEPT.checked_sub(Duration::from_hours(24)).unwrap());
    sweep_all().await;
    assert_eq!(listed(f, kept, None).await.len(), 5, "up to 30 days");
    f.clock.advance(Duration::from_hours(1));
    sweep_all().await;
    let left = listed(f, kept, None).await;
    assert!(
        left.iter()
            .all(|delivery| delivery.state == DeliveryState::Pending)
    );
    assert_eq!(left.len(), 2);
    assert_eq!(progress(f, kept).await.pending, 2);
    let backlog = f.store.delivery_backlog(f.now()).await.unwrap();
    assert_eq!((backlog.pending, backlog.disabled), (2, 0));
    assert!(backlog.due_since.is_some());
}

/// A disabled webhook is not behind, and has nothing due.
pub async fn a_disabled_webhook_costs_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let id = webhook(f, to_anywhere()).await;
    events(f, 1).await;
    fan_out(f).await;
    events(f, 1).await;
    changed(f, id, disabling()).await;
    assert_eq!(f.store.accounts_behind(None, 10).await.unwrap(), []);
    assert_eq!(f.store.accounts_due(None, 10, f.now()).await.unwrap(), []);
    let backlog = f.store.delivery_backlog(f.now()).await.unwrap();
    assert_eq!((backlog.pending, backlog.disabled), (0, 1));
    assert_eq!(backlog.due_since, None);
}
