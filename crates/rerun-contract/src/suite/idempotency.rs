//! Responses that are kept under a key.

use std::time::Duration;

use rerun_core::error::Error;
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{
    IDEMPOTENCY_WINDOW, IdempotencyKey, IdempotentResponse, KeptResponse, Store,
};
use rerun_core::usecases::RerunRequest;

use super::runs::decided;
use crate::fixture::{
    ACCOUNT, Fixture, OTHER_ACCOUNT, all_at_once, assert_conflict, caller, run_number,
};

fn response(key: &str, fingerprint: u8, response: &str) -> IdempotentResponse {
    IdempotentResponse {
        key: IdempotencyKey {
            endpoint: "rerun.initiate",
            key: key.into(),
            fingerprint: [fingerprint; 32],
        },
        response: response.into(),
    }
}

async fn kept<S: Store + 'static>(f: &Fixture<S>, key: &str) -> Option<KeptResponse> {
    let not_before = f.now() - IDEMPOTENCY_WINDOW;
    f.store
        .find_response(ACCOUNT, "rerun.initiate", key, not_before)
        .await
        .unwrap()
}

/// A response is kept with the change that it answers, for its account and endpoint.
pub async fn a_response_is_kept_with_its_change<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE"]).await;
    let key = "ü\"'\\ \u{1}".repeat(40);
    assert_eq!(kept(f, &key).await, None);
    let mut start = decided(f, campaign, group).await;
    let text = "{\"a\":\"ü 'x' \\u0001\",\"b\":[1.50,null]}";
    start.response = Some(response(&key, 200, text));
    f.store.start_run(start).await.unwrap();
    let expected = KeptResponse {
        fingerprint: [200; 32],
        response: text.into(),
    };
    assert_eq!(kept(f, &key).await, Some(expected), "letter by letter");
    assert_eq!(kept(f, &format!("{key}x")).await, None);
    assert_eq!(kept(f, &key.to_uppercase()).await, None);
    let not_before = f.now() - IDEMPOTENCY_WINDOW;
    let find = async |account, endpoint| {
        f.store
            .find_response(account, endpoint, &key, not_before)
            .await
            .unwrap()
    };
    assert_eq!(
        find(ACCOUNT, "campaign.launch").await,
        None,
        "another endpoint"
    );
    assert_eq!(
        find(OTHER_ACCOUNT, "rerun.initiate").await,
        None,
        "another account"
    );
}

/// A key that was used meanwhile refuses the change.
pub async fn a_used_key_is_a_conflict<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE"]).await;
    let mut start = decided(f, campaign, group).await;
    start.response = Some(response("key", 1, "\"first\""));
    f.store.start_run(start).await.unwrap();
    f.publish(campaign).await;
    let before = f.snapshot(ACCOUNT).await;
    for fingerprint in [1, 2] {
        let mut start = decided(f, campaign, group).await;
        start.response = Some(response("key", fingerprint, "\"second\""));
        assert_conflict(f.store.start_run(start).await, "a used key");
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "a change under a used key");
    assert_eq!(kept(f, "key").await.unwrap().response, "\"first\"");
}

/// A change that is refused keeps no response.
pub async fn a_refused_change_keeps_no_response<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE"]).await;
    let mut start = decided(f, campaign, group).await;
    start.response = Some(response("key", 1, "\"first\""));
    f.rerun(campaign, group).await;
    assert_conflict(f.store.start_run(start).await, "a stale campaign");
    assert_eq!(kept(f, "key").await, None);
}

/// A key is good for 24 hours, and can be used anew after them.
pub async fn a_key_is_kept_for_a_day<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE"]).await;
    let mut start = decided(f, campaign, group).await;
    start.response = Some(response("key", 1, "\"first\""));
    f.store.start_run(start).await.unwrap();
    f.publish(campaign).await;
    f.clock.advance(IDEMPOTENCY_WINDOW);
    assert!(kept(f, "key").await.is_some(), "at the end of the window");
    let mut start = decided(f, campaign, group).await;
    start.response = Some(response("key", 2, "\"second\""));
    assert_conflict(f.store.start_run(start).await, "still in use");
    f.clock.advance(Duration::from_millis(1));
    assert_eq!(kept(f, "key").await, None, "after the window");
    let mut start = decided(f, campaign, group).await;
    start.response = Some(response("key", 2, "\"second\""));
    f.store
        .start_run(start)
        .await
        .expect("the old response is written over");
    let expected = KeptResponse {
        fingerprint: [2; 32],
        response: "\"second\"".into(),
    };
    assert_eq!(kept(f, "key").await, Some(expected));
    f.check().await;
}

/// Old responses are forgotten, younger ones stay.
pub async fn old_responses_are_forgotten<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE"]).await;
    for key in ["old", "young"] {
        let mut start = decided(f, campaign, group).await;
        start.response = Some(response(key, 1, "\"kept\""));
        f.store.start_run(start).await.unwrap();
        f.publish(campaign).await;
        f.seconds_later(60);
    }
    let before = f.now() - Duration::from_mins(1);
    assert_eq!(f.store.forget_responses(before).await.unwrap(), 1);
    assert_eq!(f.store.forget_responses(before).await.unwrap(), 0);
    assert_eq!(kept(f, "old").await, None);
    assert!(kept(f, "young").await.is_some());
}

/// The same request again answers what the first did, and does nothing; another is refused.
pub async fn a_request_is_replayed<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE", "ES"]).await;
    let other = f.group(&["DE"]).await;
    let request = RerunRequest {
        campaign,
        new_group: Some(group),
        reuse_from: ReuseFrom::CurrentRun,
    };
    let key = Some("key");
    let first = f
        .engine
        .reruns
        .initiate(&caller(), request, key)
        .await
        .unwrap();
    assert!(!first.replayed);
    f.finish(campaign).await;
    let before = f.snapshot(ACCOUNT).await;
    f.seconds_later(60);
    let again = f
        .engine
        .reruns
        .initiate(&caller(), request, key)
        .await
        .unwrap();
    assert!(again.replayed);
    assert_eq!(
        again.outcome, first.outcome,
        "the response of then, whatever is now"
    );
    let different = RerunRequest {
        new_group: Some(other),
        ..request
    };
    let refused = f.engine.reruns.initiate(&caller(), different, key).await;
    assert!(
        matches!(refused, Err(Error::IdempotencyKeyReused)),
        "{refused:?}"
    );
    before.assert_same(&f.snapshot(ACCOUNT).await, "a replay, and a refusal");
    f.clock.advance(IDEMPOTENCY_WINDOW);
    let anew = f
        .engine
        .reruns
        .initiate(&caller(), different, key)
        .await
        .unwrap();
    assert!(!anew.replayed);
    assert_eq!(anew.outcome.run_number, run_number(3));
}

/// Publishing and retrying are replayed as well.
pub async fn publications_and_retries_are_replayed<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR"]).await;
    let campaign = f.draft(group).await;
    let launch = async || {
        f.engine
            .reruns
            .launch(&caller(), campaign, Some("key"))
            .await
            .unwrap()
    };
    let (first, again) = (launch().await, launch().await);
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.outcome, again.outcome);
    f.fail_generation("no").await;
    let retry = async || {
        f.engine
            .reviews
            .retry(&caller(), campaign, Some("key"))
            .await
            .unwrap()
    };
    let (first, again) = (retry().await, retry().await);
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.outcome, again.outcome);
    assert_eq!(first.outcome.messages, 2);
    f.generate().await;
    f.approve(campaign).await;
    let publish = async || {
        f.engine
            .reviews
            .publish(&caller(), campaign, Some("key"))
            .await
            .unwrap()
    };
    let (first, again) = (publish().await, publish().await);
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.outcome, again.outcome);
    f.check().await;
}

/// Requests that arrive together with one key do the work once and all get the one response.
pub async fn requests_at_once_get_one_response<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE", "ES"]).await;
    let request = RerunRequest {
        campaign,
        new_group: Some(group),
        reuse_from: ReuseFrom::CurrentRun,
    };
    let answers = all_at_once(16, |_| {
        let engine = f.engine.clone();
        async move {
            engine
                .reruns
                .initiate(&caller(), request, Some("key"))
                .await
        }
    })
    .await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("all get the response"))
        .collect();
    assert_eq!(
        answers.iter().filter(|answer| !answer.replayed).count(),
        1,
        "done once"
    );
    assert!(
        answers
            .iter()
            .all(|answer| answer.outcome == answers[0].outcome),
        "one response"
    );
    assert_eq!(f.snapshot(ACCOUNT).await.campaign(campaign).runs.len(), 2);
    f.generate().await;
    f.approve(campaign).await;
    let answers = all_at_once(16, |_| {
        let engine = f.engine.clone();
        async move {
            engine
                .reviews
                .publish(&caller(), campaign, Some("key"))
                .await
        }
    })
    .await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("all get the response"))
        .collect();
    assert_eq!(
        answers.iter().filter(|answer| !answer.replayed).count(),
        1,
        "done once"
    );
    assert!(
        answers
            .iter()
            .all(|answer| answer.outcome == answers[0].outcome),
        "one response"
    );
    f.check().await;
}

/// So do launches.
pub async fn launches_at_once_get_one_response<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "ES"]).await;
    let campaign = f.draft(group).await;
    let answers = all_at_once(16, |_| {
        let engine = f.engine.clone();
        async move { engine.reruns.launch(&caller(), campaign, Some("key")).await }
    })
    .await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("all get the response"))
        .collect();
    assert_eq!(
        answers.iter().filter(|answer| !answer.replayed).count(),
        1,
        "done once"
    );
    assert!(
        answers
            .iter()
            .all(|answer| answer.outcome == answers[0].outcome),
        "one response"
    );
    f.check().await;
}
