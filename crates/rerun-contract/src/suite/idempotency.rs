//! Responses that are kept under a key.

use std::fmt::Debug;
use std::time::Duration;

use rerun_core::error::Error;
use rerun_core::ids::CampaignId;
use rerun_core::message::Content;
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{
    IDEMPOTENCY_WINDOW, IdempotencyKey, IdempotentResponse, KeptResponse, Store,
};
use rerun_core::usecases::{Decision, FileKey, Replayable, RerunRequest, ReviewedMessages};

use super::runs::decided;
use crate::fixture::{
    ACCOUNT, Fixture, OTHER_ACCOUNT, all_at_once, assert_conflict, caller, customer_file,
    new_campaign, run_number, stranger,
};

const ALL: ReviewedMessages = ReviewedMessages::AllPending;

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
        .find_response(ACCOUNT, key, not_before)
        .await
        .unwrap()
}

/// A response is kept with the change that it answers, for its account.
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
        endpoint: "rerun.initiate".into(),
        fingerprint: [200; 32],
        response: text.into(),
    };
    assert_eq!(kept(f, &key).await, Some(expected), "letter by letter");
    assert_eq!(kept(f, &format!("{key}x")).await, None);
    assert_eq!(kept(f, &key.to_uppercase()).await, None);
    let not_before = f.now() - IDEMPOTENCY_WINDOW;
    let foreign = f
        .store
        .find_response(OTHER_ACCOUNT, &key, not_before)
        .await
        .unwrap();
    assert_eq!(foreign, None, "another account");
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
    for (fingerprint, endpoint) in [(1, "rerun.initiate"), (2, "rerun.initiate"), (1, "other")] {
        let mut start = decided(f, campaign, group).await;
        let mut second = response("key", fingerprint, "\"second\"");
        second.key.endpoint = endpoint;
        start.response = Some(second);
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

/// A key is good for 24 hours, and can be used again after them.
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
        endpoint: "rerun.initiate".into(),
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
        allow_missing_fields: false,
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
    let later = f
        .engine
        .reruns
        .initiate(&caller(), different, key)
        .await
        .unwrap();
    assert!(!later.replayed);
    assert_eq!(later.outcome.run_number, run_number(3));
}

/// Asks twice, and returns the outcome: the second time it is the same, and nothing is written.
async fn twice<S, T>(f: &Fixture<S>, ask: impl AsyncFn() -> Result<Replayable<T>, Error>) -> T
where
    S: Store + 'static,
    T: Debug + PartialEq,
{
    let first = ask().await.unwrap();
    assert!(!first.replayed, "{first:?}");
    let before = f.snapshot(ACCOUNT).await;
    f.seconds_later(60);
    let again = ask().await.unwrap();
    assert!(again.replayed, "{again:?}");
    assert_eq!(again.outcome, first.outcome);
    before.assert_same(&f.snapshot(ACCOUNT).await, "a replay");
    first.outcome
}

/// Whatever writes is replayed: groups, campaigns, launches, retries, reviews, edits,
/// regenerations, publications, cancellations, archivings.
pub async fn everything_that_writes_is_replayed<S: Store + 'static>(f: &Fixture<S>) {
    let (groups, campaigns) = (&f.engine.groups, &f.engine.campaigns);
    let (reruns, reviews) = (&f.engine.reruns, &f.engine.reviews);
    let who = caller();
    let group = twice(f, async || {
        groups.create(&who, " Two ", Some("group")).await
    })
    .await;
    assert_eq!(
        f.snapshot(ACCOUNT).await.groups,
        std::slice::from_ref(&group)
    );
    f.import_countries(group.id, &["DE", "FR"]).await;
    let new = new_campaign(group.id, &["country"]);
    let draft = async || campaigns.create(&who, new.clone(), Some("campaign")).await;
    let campaign = twice(f, draft).await.id;
    twice(f, async || {
        reruns.launch(&who, campaign, Some("launch")).await
    })
    .await;
    f.fail_generation("no").await;
    let retried = twice(f, async || {
        reviews.retry(&who, campaign, Some("retry")).await
    })
    .await;
    assert_eq!(retried.messages, 2);
    f.generate().await;
    let message = f.message(campaign, "DE").await.id;
    let text = Content {
        subject: "By hand".into(),
        body: "<p>ü</p>".into(),
    };
    let edit = async || {
        reviews
            .edit(&who, campaign, Some(message), text.clone(), Some("edit"))
            .await
    };
    let (_, edited) = twice(f, edit).await;
    assert_eq!(edited, f.message(campaign, "DE").await);
    let regenerate = async || {
        reviews
            .regenerate(&who, campaign, &[Some(message)], Some("regenerate"))
            .await
    };
    assert_eq!(twice(f, regenerate).await.messages, 1);
    f.generate().await;
    let approve = async || {
        reviews
            .review(
                &who,
                campaign,
                &Decision::Approve,
                &ALL,
                None,
                Some("review"),
            )
            .await
    };
    assert_eq!(twice(f, approve).await.messages, 2);
    let published = twice(f, async || {
        reviews.publish(&who, campaign, Some("publish")).await
    })
    .await;
    assert_eq!(published.messages, 2);
    f.rerun(campaign, group.id).await;
    let reason = Some("too early");
    let cancel = async || reruns.cancel(&who, campaign, reason, Some("cancel")).await;
    assert_eq!(twice(f, cancel).await.run_number, run_number(2));
    let second = Some(run_number(2));
    let archive = async || {
        reruns
            .archive(&who, campaign, second, Some("archive"))
            .await
    };
    assert_eq!(twice(f, archive).await, 0);
    f.check().await;
}

/// An edit is replayed as it was, whatever became of the message since.
pub async fn an_edit_is_replayed_as_it_was<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE"]).await;
    let campaign = f.draft_of_two_stages(group).await;
    f.launch(campaign).await;
    f.generate().await;
    let message = f.message(campaign, "DE").await.id;
    let edit = async |body: &str, key| {
        let content = Content {
            subject: "By hand".into(),
            body: body.into(),
        };
        f.engine
            .reviews
            .edit(&caller(), campaign, Some(message), content, Some(key))
            .await
            .unwrap()
    };
    let first = edit("first", "first").await.outcome;
    assert_eq!(first.1, f.message(campaign, "DE").await);
    f.seconds_later(60);
    edit("second", "second").await;
    f.finish(campaign).await;
    f.rerun(campaign, group).await;
    let again = edit("first", "first").await;
    assert!(again.replayed);
    assert_eq!(again.outcome, first);
    let kept = kept(f, "first").await.unwrap();
    assert!(
        !kept.response.contains("first"),
        "no text is kept: {kept:?}"
    );
    f.check().await;
}

/// A review that is sent again after its answer was lost passes one stage, not two.
pub async fn a_repeated_review_passes_one_stage<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR"]).await;
    let campaign = f.draft_of_two_stages(group).await;
    f.launch(campaign).await;
    f.generate().await;
    let approve = async |key| {
        f.engine
            .reviews
            .review(
                &caller(),
                campaign,
                &Decision::Approve,
                &ALL,
                None,
                Some(key),
            )
            .await
            .unwrap()
    };
    let first = approve("first").await;
    let again = approve("first").await;
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(again.outcome, first.outcome);
    let waiting = f.message(campaign, "DE").await.state;
    assert_eq!(waiting.stage(), Some(1), "one stage was passed");
    approve("second").await;
    assert_eq!(f.message(campaign, "DE").await.state.stage(), None);
    f.check().await;
}

/// A success that changed nothing is remembered too: repeated later, when there would be
/// something to do, it still does nothing.
pub async fn a_change_of_nothing_is_remembered<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE"]).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    let approve = async || {
        f.engine
            .reviews
            .review(
                &caller(),
                campaign,
                &Decision::Approve,
                &ALL,
                None,
                Some("key"),
            )
            .await
            .unwrap()
    };
    let before = f.snapshot(ACCOUNT).await;
    assert_eq!(approve().await.outcome.messages, 0, "none is ready");
    before.assert_same(&f.snapshot(ACCOUNT).await, "a change of nothing");
    f.generate().await;
    let before = f.snapshot(ACCOUNT).await;
    let again = approve().await;
    assert!(again.replayed);
    assert_eq!(again.outcome.messages, 0);
    before.assert_same(&f.snapshot(ACCOUNT).await, "its replay");
}

/// A key belongs to the account: at another endpoint it is refused, even for the same campaign,
/// and in another account it is free.
pub async fn a_key_is_good_for_one_endpoint<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.draft(f.group(&["DE"]).await).await;
    let launch = f
        .engine
        .reruns
        .launch(&caller(), campaign, Some("key"))
        .await;
    launch.unwrap();
    f.fail_generation("no").await;
    let before = f.snapshot(ACCOUNT).await;
    let reviews = &f.engine.reviews;
    // The bodies of a launch, a retry and a publication are the same.
    let retried = reviews.retry(&caller(), campaign, Some("key")).await;
    assert!(
        matches!(retried, Err(Error::IdempotencyKeyReused)),
        "{retried:?}"
    );
    let published = reviews.publish(&caller(), campaign, Some("key")).await;
    assert!(
        matches!(published, Err(Error::IdempotencyKeyReused)),
        "{published:?}"
    );
    let made = f
        .engine
        .groups
        .create(&caller(), "Group", Some("key"))
        .await;
    assert!(matches!(made, Err(Error::IdempotencyKeyReused)), "{made:?}");
    before.assert_same(&f.snapshot(ACCOUNT).await, "a refusal");
    let foreign = f
        .engine
        .groups
        .create(&stranger(), "Group", Some("key"))
        .await;
    assert!(!foreign.unwrap().replayed);
}

/// A body that states a default is the body that leaves it out.
pub async fn a_stated_default_is_the_same_body<S: Store + 'static>(f: &Fixture<S>) {
    let new = new_campaign(f.group(&["DE"]).await, &["country"]);
    let create = async |stages: Option<&[&str]>| {
        let mut new = new.clone();
        new.approval_stages = stages.map(|names| names.iter().map(|n| (*n).into()).collect());
        f.engine.campaigns.create(&caller(), new, Some("key")).await
    };
    let first = create(None).await.unwrap();
    let stated = create(Some(&["Review"])).await.unwrap();
    assert_eq!((stated.replayed, &stated.outcome), (true, &first.outcome));
    let other = create(Some(&["Legal"])).await;
    assert!(
        matches!(other, Err(Error::IdempotencyKeyReused)),
        "{other:?}"
    );
}

/// Requests that arrive together with one key do the work once and all get the one response.
pub async fn requests_at_once_get_one_response<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE", "ES"]).await;
    let request = RerunRequest {
        campaign,
        new_group: Some(group),
        reuse_from: ReuseFrom::CurrentRun,
        allow_missing_fields: false,
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
                .publish(&caller(), campaign, Some("publish"))
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

/// Of reviews with one key that arrive together one is done: no message passes two stages.
pub async fn reviews_at_once_get_one_response<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR"]).await;
    let campaign = f.draft_of_two_stages(group).await;
    f.launch(campaign).await;
    f.generate().await;
    let outcome = one_response(16, |_| {
        let engine = f.engine.clone();
        async move {
            engine
                .reviews
                .review(
                    &caller(),
                    campaign,
                    &Decision::Approve,
                    &ALL,
                    None,
                    Some("key"),
                )
                .await
        }
    })
    .await;
    assert_eq!(outcome.messages, 2);
    for country in ["DE", "FR"] {
        assert_eq!(f.message(campaign, country).await.state.stage(), Some(1));
    }
    f.check().await;
}

/// Imports of one file with one key that arrive together are one import, and later ones are none:
/// also when the first changed nothing, and the group changed since.
pub async fn imports_with_one_key_are_one<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE"]).await;
    let import = |country: &'static str, key: &'static str, byte: u8| {
        let engine = f.engine.clone();
        async move {
            let rows: [&[&str]; 2] = [&["C-0", country], &["C-1", country]];
            let file = customer_file(&["customer_ref", "country"], &rows);
            let key = FileKey {
                key,
                sha256: [byte; 32],
                read_as: "",
            };
            engine
                .groups
                .import(&caller(), group, file, Some(key))
                .await
        }
    };
    let entries = f.snapshot(ACCOUNT).await.entries.len();
    let done = one_response(8, |_| import("FR", "first", 1)).await;
    assert_eq!((done.imported, done.updated), (1, 1));
    assert_eq!(f.snapshot(ACCOUNT).await.entries.len(), entries + 1);
    let same = import("FR", "second", 1).await.unwrap();
    assert_eq!((same.replayed, same.outcome.updated), (false, 0));
    import("ES", "third", 2).await.unwrap();
    let before = f.snapshot(ACCOUNT).await;
    for (key, outcome) in [("first", done), ("second", same.outcome)] {
        let again = import("FR", key, 1).await.unwrap();
        assert_eq!((again.replayed, again.outcome), (true, outcome), "{key}");
        let other = import("IT", key, 3).await;
        assert!(
            matches!(other, Err(Error::IdempotencyKeyReused)),
            "{other:?}"
        );
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "repeated imports");
    f.check().await;
}

/// Creations share no row but the key's: still one of them is done.
pub async fn creations_at_once_get_one_response<S: Store + 'static>(f: &Fixture<S>) {
    let group = one_response(16, |_| {
        let engine = f.engine.clone();
        async move {
            engine
                .groups
                .create(&caller(), "Group", Some("group"))
                .await
        }
    })
    .await;
    assert_eq!(
        f.snapshot(ACCOUNT).await.groups,
        std::slice::from_ref(&group)
    );
    let campaign = one_response(16, |_| {
        let engine = f.engine.clone();
        let new = new_campaign(group.id, &["country"]);
        async move {
            engine
                .campaigns
                .create(&caller(), new, Some("campaign"))
                .await
        }
    })
    .await;
    assert_eq!(ids(f).await, [campaign.id]);
    f.check().await;
}

/// Different requests that arrive together with one key: one is done, the others are refused.
pub async fn one_key_at_once_does_one_thing<S: Store + 'static>(f: &Fixture<S>) {
    let answers = all_at_once(16, |n| {
        let engine = f.engine.clone();
        let name = format!("Group {n}");
        async move { engine.groups.create(&caller(), &name, Some("key")).await }
    })
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 1, "{refused:?}");
    for answer in refused {
        assert!(
            matches!(answer, Err(Error::IdempotencyKeyReused)),
            "{answer:?}"
        );
    }
    assert_eq!(f.snapshot(ACCOUNT).await.groups.len(), 1);
}

async fn ids<S: Store + 'static>(f: &Fixture<S>) -> Vec<CampaignId> {
    let snapshot = f.snapshot(ACCOUNT).await;
    snapshot.campaigns.iter().map(|c| c.campaign.id).collect()
}

/// Asks many times at once, and returns the one response that all get.
async fn one_response<T, F>(times: usize, ask: impl Fn(usize) -> F) -> T
where
    T: Debug + PartialEq + Send + 'static,
    F: Future<Output = Result<Replayable<T>, Error>> + Send + 'static,
{
    let mut answers: Vec<_> = all_at_once(times, ask)
        .await
        .into_iter()
        .map(|answer| answer.expect("all get the response"))
        .collect();
    let done = answers.iter().filter(|answer| !answer.replayed).count();
    assert_eq!(done, 1, "done once");
    let first = answers.swap_remove(0).outcome;
    for answer in answers {
        assert_eq!(answer.outcome, first, "one response");
    }
    first
}
