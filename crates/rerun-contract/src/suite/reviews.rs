//! Review and publication.

use rerun_core::actor::{Actor, UserName};
use rerun_core::campaign::{CampaignStatus, Stage};
use rerun_core::change::{MessageChange, Move, Patch, Selection};
use rerun_core::error::{Error, IllegalTransition};
use rerun_core::ids::{CampaignId, MessageId};
use rerun_core::message::{Content, Message, MessageCommand, MessageState};
use rerun_core::ports::{ChangeOutcome, IdGenerator, Store};
use rerun_core::usecases::{Decision, Item, NewCampaign, ReviewedMessages, Settings};

use crate::fixture::{
    ACCOUNT, CALLERS_NAME, Fixture, all_at_once, assert_conflict, author, caller, colleague,
    generated, new_campaign, run_number, settled,
};

pub(super) const PENDING: MessageState = MessageState::PendingReview { stage: 0 };

pub(super) const SECOND: MessageState = MessageState::PendingReview { stage: 1 };

pub(super) fn reject(reason: &str) -> Decision {
    Decision::Reject {
        reason: reason.into(),
    }
}

pub(super) fn named(ids: &[MessageId]) -> ReviewedMessages {
    ReviewedMessages::Named(ids.iter().copied().map(Some).collect())
}

pub(super) fn content(body: &str) -> Content {
    Content {
        subject: "By hand ü".into(),
        body: body.into(),
    }
}

/// A campaign whose run 1 waits for its first reviewer.
pub(super) async fn pending<S: Store + 'static>(f: &Fixture<S>, countries: &[&str]) -> CampaignId {
    let group = f.group(countries).await;
    let campaign = f.draft_of_two_stages(group).await;
    f.launch(campaign).await;
    f.generate().await;
    f.seconds_later(60);
    campaign
}

pub(super) async fn review<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    decision: &Decision,
    ids: &[MessageId],
) -> Result<u32, Error> {
    let done = f
        .engine
        .reviews
        .review(&caller(), campaign, decision, &named(ids), None, None)
        .await;
    done.map(|done| done.outcome.messages)
}

pub(super) fn stages_of(message: &Message) -> Vec<String> {
    let approvals = message
        .provenance
        .as_ref()
        .unwrap()
        .approvals
        .to_vec()
        .unwrap();
    approvals
        .into_iter()
        .map(|approval| approval.stage)
        .collect()
}

/// A change as the review use case decides it, to be committed by the case itself.
pub(super) async fn approval_of<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    selection: Selection,
) -> MessageChange {
    MessageChange {
        campaign: f.campaign(campaign).await,
        selection,
        moves: vec![Move {
            from: PENDING,
            to: SECOND,
            approval: None,
        }],
        command: MessageCommand::Approve,
        patch: Patch::default(),
        author: author(f, caller()),
        key: None,
        now: f.now(),
    }
}

/// Each approval passes one stage, says who and when, and leaves other messages alone.
pub async fn an_approval_passes_one_stage<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE", "FR"]).await;
    let german = f.message(campaign, "DE").await;
    let french = f.message(campaign, "FR").await;
    let version = f.campaign(campaign).await.version;
    let twice = [german.id, german.id];
    assert_eq!(
        review(f, campaign, &Decision::Approve, &twice)
            .await
            .unwrap(),
        1,
        "counts once"
    );
    let first_at = f.now();
    let message = f.message(campaign, "DE").await;
    assert_eq!((message.state, message.updated_at), (SECOND, f.now()));
    assert_eq!(stages_of(&message), ["Draft"]);
    assert!(
        f.campaign(campaign).await.version > version,
        "the campaign's version grows"
    );
    assert_eq!(f.campaign(campaign).await.updated_at, f.now());
    assert_eq!(f.message(campaign, "FR").await, french, "the other message");
    f.seconds_later(60);
    let done = f
        .engine
        .reviews
        .review(
            &colleague(),
            campaign,
            &Decision::Approve,
            &named(&[german.id]),
            None,
            None,
        )
        .await
        .unwrap();
    assert_eq!(
        (done.outcome.messages, done.outcome.campaign_status),
        (1, CampaignStatus::ReadyForReview)
    );
    let message = f.message(campaign, "DE").await;
    assert_eq!(message.state, MessageState::Approved);
    let approvals = message
        .provenance
        .as_ref()
        .unwrap()
        .approvals
        .to_vec()
        .unwrap();
    let approvals: Vec<_> = approvals
        .iter()
        .map(|a| {
            let name = a.user_name.as_ref().map(UserName::as_str);
            (a.stage.as_str(), Some(a.user_id), name, a.approved_at)
        })
        .collect();
    let expected = [
        ("Draft", caller().user_id(), Some(CALLERS_NAME), first_at),
        ("Legal", colleague().user_id(), None, f.now()),
    ];
    assert_eq!(approvals, expected);
    assert_eq!(
        (&message.content, message.source),
        (&german.content, german.source)
    );
    f.check().await;
}

/// "All" is every pending message of the current run, whatever stage each waits for.
pub async fn all_means_all_that_are_pending<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE", "FR", "IT"]).await;
    let german = f.message(campaign, "DE").await.id;
    let french = f.message(campaign, "FR").await.id;
    review(f, campaign, &Decision::Approve, &[german])
        .await
        .unwrap();
    review(f, campaign, &reject("no"), &[french]).await.unwrap();
    assert_eq!(f.review_all(campaign, Decision::Approve).await, 2);
    assert_eq!(
        f.message(campaign, "DE").await.state,
        MessageState::Approved
    );
    assert_eq!(
        f.message(campaign, "FR").await.state,
        MessageState::Rejected
    );
    assert_eq!(f.message(campaign, "IT").await.state, SECOND);
    assert_eq!(
        f.review_all(campaign, reject("all of you")).await,
        1,
        "approved ones stay"
    );
    assert_eq!(
        f.message(campaign, "IT").await.state,
        MessageState::Rejected
    );
    f.check().await;
    let before = f.snapshot(ACCOUNT).await;
    assert_eq!(f.review_all(campaign, Decision::Approve).await, 0);
    before.assert_same(&f.snapshot(ACCOUNT).await, "a review of nothing");
}

/// With a stage a review is about the messages that wait there: `all` leaves the others out, and
/// another one that is named is refused, whatever its state.
pub async fn a_review_of_one_stage_leaves_the_others<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE", "ES", "FR"]).await;
    let id = async |country: &str| f.message(campaign, country).await.id;
    let (german, spanish, french) = (id("DE").await, id("ES").await, id("FR").await);
    let approve = Decision::Approve;
    let at = async |stage: &str, decision: &Decision, messages: &ReviewedMessages| {
        f.engine
            .reviews
            .review(&caller(), campaign, decision, messages, Some(stage), None)
            .await
            .map(|done| done.outcome.messages)
    };
    let all = ReviewedMessages::AllPending;
    assert_eq!(
        at("Legal", &approve, &all).await.unwrap(),
        0,
        "none is there yet"
    );
    assert_eq!(at("Draft", &approve, &named(&[german])).await.unwrap(), 1);
    let before = f.snapshot(ACCOUNT).await;
    for (stage, ids, waits_at) in [
        ("Draft", &[french, german], Some("Legal")),
        ("Legal", &[german, french], Some("Draft")),
    ] {
        for decision in [&approve, &reject("no")] {
            let refused = at(stage, decision, &named(ids)).await;
            assert!(
                matches!(
                    &refused,
                    Err(Error::IllegalTransition(IllegalTransition::Stage {
                        stage: asked, waits_at: found, ..
                    })) if asked == stage && found.as_deref() == waits_at
                ),
                "{refused:?}"
            );
        }
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "a refused review");
    assert_eq!(
        at("Legal", &approve, &all).await.unwrap(),
        1,
        "the German one"
    );
    assert_eq!(
        f.message(campaign, "DE").await.state,
        MessageState::Approved
    );
    assert_eq!(f.message(campaign, "FR").await.state, PENDING);
    let refused = at("Legal", &reject("no"), &named(&[german])).await;
    assert!(
        matches!(
            &refused,
            Err(Error::IllegalTransition(IllegalTransition::Stage {
                waits_at: None,
                ..
            }))
        ),
        "an approved message waits at no stage: {refused:?}"
    );
    assert_eq!(at(" Draft ", &reject("no"), &all).await.unwrap(), 2);
    for id in [spanish, french] {
        let refused = review(f, campaign, &approve, &[id]).await;
        assert!(
            matches!(refused, Err(Error::IllegalTransition(_))),
            "{refused:?}"
        );
    }
    f.check().await;
}

/// A stage that the campaign does not have is refused by a message that names those it has.
pub async fn an_unknown_stage_is_refused<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE"]).await;
    let german = f.message(campaign, "DE").await.id;
    let before = f.snapshot(ACCOUNT).await;
    for stage in ["Review", "draft", "", "Le\0gal"] {
        for messages in [&ReviewedMessages::AllPending, &named(&[german])] {
            let refused = f
                .engine
                .reviews
                .review(
                    &caller(),
                    campaign,
                    &Decision::Approve,
                    messages,
                    Some(stage),
                    None,
                )
                .await;
            let Err(Error::Invalid(invalid)) = refused else {
                panic!("{stage:?}: {refused:?}");
            };
            let said = invalid.to_string();
            assert!(said.contains("`stage`"), "{said}");
            assert!(stage != "Review" || said.contains("Draft, Legal"), "{said}");
        }
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "a refused review");
}

/// The last approval makes the campaign ready, a rejection takes that back.
pub async fn the_last_approval_makes_a_campaign_ready<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE", "FR"]).await;
    f.approve(campaign).await;
    assert_eq!(
        f.campaign(campaign).await.status,
        CampaignStatus::ReadyToPublish
    );
    let german = f.message(campaign, "DE").await.id;
    review(f, campaign, &reject("zu 'kurz' \"ü\""), &[german])
        .await
        .unwrap();
    let message = f.message(campaign, "DE").await;
    assert_eq!(message.rejection_reason.as_deref(), Some("zu 'kurz' \"ü\""));
    assert_eq!(
        f.campaign(campaign).await.status,
        CampaignStatus::ReadyForReview
    );
    let refused = f.engine.reviews.publish(&caller(), campaign, None).await;
    assert!(
        matches!(refused, Err(Error::IllegalTransition(_))),
        "{refused:?}"
    );
    f.engine
        .reviews
        .edit(&caller(), campaign, Some(german), content("länger"), None)
        .await
        .unwrap();
    assert_eq!(f.message(campaign, "DE").await.rejection_reason, None);
    f.approve(campaign).await;
    f.publish(campaign).await;
    f.check().await;
}

/// One message that cannot be reviewed refuses all that were named with it.
pub async fn named_messages_change_all_or_none<S: Store + 'static>(f: &Fixture<S>) {
    let other = f.published(&["DE"]).await;
    let foreign = f.message(other, "DE").await.id;
    let campaign = f.published(&["DE", "FR"]).await;
    let past = f.message(campaign, "DE").await.id;
    let group = f.group(&["ES", "IT"]).await;
    f.rerun(campaign, group).await;
    let half = f.lease(1).await;
    f.settle(&half, |task| Ok(generated(task))).await;
    let current = f.current(campaign).await;
    let ready = current.iter().find(|m| m.state == PENDING).unwrap().id;
    let generating = current
        .iter()
        .find(|m| m.state == MessageState::Generating)
        .unwrap()
        .id;
    let unknown = MessageId::new(f.ids.next());
    let before = f.snapshot(ACCOUNT).await;
    for (bad, expected) in [
        (foreign, "message not found"),
        (unknown, "message not found"),
        (
            past,
            "cannot approve a message of a past run: it is archived",
        ),
        (generating, "cannot approve a message that is `Generating`"),
    ] {
        for ids in [[ready, bad], [bad, ready]] {
            let refused = review(f, campaign, &Decision::Approve, &ids)
                .await
                .unwrap_err();
            assert_eq!(refused.to_string(), expected);
        }
    }
    let nameless = ReviewedMessages::Named(vec![Some(ready), None]);
    let refused = f
        .engine
        .reviews
        .review(
            &caller(),
            campaign,
            &Decision::Approve,
            &nameless,
            None,
            None,
        )
        .await;
    assert!(
        matches!(refused, Err(Error::MessageNotFound)),
        "{refused:?}"
    );
    for bad in [past, generating] {
        let edited = f
            .engine
            .reviews
            .edit(&caller(), campaign, Some(bad), content("x"), None)
            .await;
        assert!(
            matches!(edited, Err(Error::IllegalTransition(_))),
            "{edited:?}"
        );
        let queued = f
            .engine
            .reviews
            .regenerate(&caller(), campaign, &[Some(ready), Some(bad)], None)
            .await;
        assert!(
            matches!(queued, Err(Error::IllegalTransition(_))),
            "{queued:?}"
        );
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "refused changes");
    // The store itself refuses what the decision could not know.
    for bad in [foreign, unknown, past, generating] {
        for ids in [vec![ready, bad], vec![bad, ready]] {
            let change = approval_of(f, campaign, Selection::Ids(ids)).await;
            assert_conflict(
                f.store.change_messages(change).await,
                "a message that cannot move",
            );
        }
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "refused changes of the store");
    f.check().await;
}

/// The refs of a campaign's messages say all that a decision needs.
pub async fn refs_tell_run_state_and_author<S: Store + 'static>(f: &Fixture<S>) {
    let other = f.published(&["DE"]).await;
    let foreign = f.message(other, "DE").await.id;
    let campaign = pending(f, &["DE", "FR", "IT"]).await;
    let german = f.message(campaign, "DE").await.id;
    let french = f.message(campaign, "FR").await.id;
    let italian = f.message(campaign, "IT").await.id;
    f.engine
        .reviews
        .edit(&colleague(), campaign, Some(german), content("x"), None)
        .await
        .unwrap();
    review(f, campaign, &Decision::Approve, &[french])
        .await
        .unwrap();
    let ids = vec![
        german,
        foreign,
        french,
        MessageId::new(f.ids.next()),
        italian,
    ];
    let mut refs = f.store.message_refs(ACCOUNT, campaign, ids).await.unwrap();
    refs.sort_by_key(|found| found.id);
    let mut expected = vec![
        (german, PENDING, colleague().user_id()),
        (french, SECOND, None),
        (italian, PENDING, None),
    ];
    expected.sort_by_key(|(id, ..)| *id);
    let found: Vec<_> = refs
        .iter()
        .map(|found| (found.id, found.state, found.edited_by))
        .collect();
    assert_eq!(
        found, expected,
        "another campaign's message and an unknown one are left out"
    );
    assert!(refs.iter().all(|found| found.run_number == run_number(1)));
    assert_eq!(
        f.store
            .message_refs(ACCOUNT, campaign, Vec::new())
            .await
            .unwrap(),
        []
    );
    f.engine
        .reviews
        .regenerate(&caller(), campaign, &[Some(german)], None)
        .await
        .unwrap();
    f.generate().await;
    let refs = f
        .store
        .message_refs(ACCOUNT, campaign, vec![german])
        .await
        .unwrap();
    assert_eq!(refs[0].edited_by, None, "a generator wrote it since");
}

/// A decision on a campaign that moved meanwhile is not committed.
pub async fn a_stale_change_is_a_conflict<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE", "FR"]).await;
    let german = f.message(campaign, "DE").await.id;
    let every = Selection::Every {
        not_edited_by: None,
        not_approved_by: None,
    };
    let stale = approval_of(f, campaign, every).await;
    let stale_named = approval_of(f, campaign, Selection::Ids(vec![german])).await;
    let french = f.message(campaign, "FR").await.id;
    review(f, campaign, &reject("no"), &[french]).await.unwrap();
    let before = f.snapshot(ACCOUNT).await;
    assert_conflict(
        f.store.change_messages(stale).await,
        "a stale change of all",
    );
    assert_conflict(
        f.store.change_messages(stale_named).await,
        "a stale change of one",
    );
    before.assert_same(&f.snapshot(ACCOUNT).await, "stale changes");
}

/// A change that finds no message writes nothing, not even a version.
pub async fn a_change_of_nothing_writes_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE"]).await;
    f.approve(campaign).await;
    let before = f.snapshot(ACCOUNT).await;
    for selection in [
        Selection::Every {
            not_edited_by: None,
            not_approved_by: None,
        },
        Selection::Ids(Vec::new()),
    ] {
        let change = approval_of(f, campaign, selection).await;
        let outcome = f.store.change_messages(change).await.unwrap();
        let campaign_status = CampaignStatus::ReadyToPublish;
        assert_eq!(
            outcome,
            ChangeOutcome::Changed {
                messages: 0,
                campaign_status
            }
        );
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "changes of nothing");
}

/// A decision that names a content is made about that content or not at all.
pub async fn a_decision_is_about_the_content_that_was_read<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE", "FR"]).await;
    let read = f.current(campaign).await;
    let item = |message: &Message| Item {
        message_id: Some(message.id),
        content_id: message.content_id,
    };
    let decide = async |decision: &Decision, items: &[Item]| {
        let items = ReviewedMessages::Items(items.to_vec());
        let reviews = &f.engine.reviews;
        let done = reviews
            .review(&caller(), campaign, decision, &items, None, None)
            .await;
        done.map(|done| done.outcome.messages)
    };
    let edit = async |item: Item, body: &str| {
        let reviews = &f.engine.reviews;
        let edited = reviews
            .edit(&colleague(), campaign, item, content(body), None)
            .await;
        edited.map(|edited| edited.outcome.1)
    };
    let edited = edit(item(&read[0]), "other words").await.unwrap();
    let before = f.snapshot(ACCOUNT).await;
    let unreadable = Item {
        content_id: None,
        ..item(&read[1])
    };
    for (stale, id) in [
        ([item(&read[1]), item(&read[0])], read[0].id),
        ([item(&read[0]), item(&read[1])], read[0].id),
        ([item(&edited), unreadable], read[1].id),
    ] {
        for decision in [&Decision::Approve, &reject("no")] {
            match decide(decision, &stale).await {
                Err(Error::ContentChanged(changed)) => assert_eq!(changed, id),
                other => panic!("a review of other content: {other:?}"),
            }
        }
    }
    for stale in [item(&read[0]), unreadable] {
        let refused = edit(stale, "too late").await;
        assert!(
            matches!(refused, Err(Error::ContentChanged(_))),
            "{refused:?}"
        );
    }
    // One content cannot be meant where two are named.
    let refused = decide(&Decision::Approve, &[item(&read[0]), item(&edited)]).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    let nobody = Item {
        message_id: None,
        ..item(&edited)
    };
    let refused = decide(&Decision::Approve, &[item(&edited), nobody]).await;
    assert!(
        matches!(refused, Err(Error::MessageNotFound)),
        "{refused:?}"
    );
    before.assert_same(&f.snapshot(ACCOUNT).await, "refused decisions");
    let both = [item(&edited), item(&read[1]), item(&edited)];
    assert_eq!(decide(&Decision::Approve, &both).await.unwrap(), 2);
    f.check().await;
}

/// Publishing publishes every message, once.
pub async fn publishing_publishes_every_message<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE", "FR"]).await;
    f.approve(campaign).await;
    let approved = f.current(campaign).await;
    f.seconds_later(60);
    let done = f
        .engine
        .reviews
        .publish(&caller(), campaign, None)
        .await
        .unwrap()
        .outcome;
    assert_eq!(
        (done.messages, done.campaign_status),
        (2, CampaignStatus::Published)
    );
    for (was, is) in approved.iter().zip(f.current(campaign).await) {
        let expected = was.clone().with(|was| {
            was.state = MessageState::Published;
            was.updated_at = f.now();
        });
        assert_eq!(is, expected.unwrap());
    }
    let again = f.engine.reviews.publish(&caller(), campaign, None).await;
    assert!(
        matches!(again, Err(Error::IllegalTransition(_))),
        "{again:?}"
    );
    let german = f.message(campaign, "DE").await.id;
    let rejected = review(f, campaign, &reject("too late"), &[german]).await;
    let refusal = rejected.unwrap_err().to_string();
    assert_eq!(refusal, "cannot reject a message that is `Published`");
    f.check().await;
}

/// A reviewer's "all" can leave out what the reviewer wrote.
pub async fn own_edits_can_be_left_out<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE", "FR", "IT"]).await;
    let four_eyes = f.engine_with(Settings {
        four_eyes: true,
        ..Settings::default()
    });
    let german = f.message(campaign, "DE").await.id;
    let french = f.message(campaign, "FR").await.id;
    f.engine
        .reviews
        .edit(&caller(), campaign, Some(german), content("mine"), None)
        .await
        .unwrap();
    f.engine
        .reviews
        .edit(
            &colleague(),
            campaign,
            Some(french),
            content("theirs"),
            None,
        )
        .await
        .unwrap();
    let all = ReviewedMessages::AllPending;
    let done = four_eyes
        .reviews
        .review(&caller(), campaign, &Decision::Approve, &all, None, None)
        .await
        .unwrap();
    assert_eq!(done.outcome.messages, 2, "all but the caller's own edit");
    assert_eq!(f.message(campaign, "DE").await.state, PENDING);
    let own = four_eyes
        .reviews
        .review(
            &caller(),
            campaign,
            &Decision::Approve,
            &named(&[german]),
            None,
            None,
        )
        .await;
    let own = own.unwrap_err();
    assert!(
        matches!(own, Error::IllegalTransition(IllegalTransition::OwnEdit)),
        "{own:?}"
    );
    let done = four_eyes
        .reviews
        .review(&colleague(), campaign, &Decision::Approve, &all, None, None)
        .await
        .unwrap();
    assert_eq!(done.outcome.messages, 2, "all but the colleague's own edit");
    assert_eq!(f.message(campaign, "DE").await.state, SECOND);
    f.check().await;
}

/// Whether `all` passes what can be named, for every rule about who approves: roles of stages, four
/// eyes, distinct reviewers. The stage's name looks like an approval.
pub async fn stages_and_reviewers_are_told_apart<S: Store + 'static>(f: &Fixture<S>) {
    let first = format!("\"user_id\":\"{}\"", caller().user_id().unwrap());
    let group = f.group(&["DE", "FR", "IT", "ES"]).await;
    for rules in 0..8 {
        let (lawyers, four_eyes, distinct) = (rules & 1 != 0, rules & 2 != 0, rules & 4 != 0);
        let legal = if lawyers {
            Stage::of_roles("Legal", ["REVIEWER"])
        } else {
            "Legal".into()
        };
        let campaign = f
            .create(NewCampaign {
                approval_stages: Some(vec![first.as_str().into(), legal]),
                distinct_reviewers: distinct,
                ..new_campaign(group, &["country"])
            })
            .await;
        f.launch(campaign).await;
        f.generate().await;
        let id = async |country: &str| f.message(campaign, country).await.id;
        let engine = f.engine_with(Settings {
            four_eyes,
            ..Settings::default()
        });
        let reviews = &engine.reviews;
        let approve = async |who: &Actor, messages: &ReviewedMessages| {
            let done = reviews
                .review(who, campaign, &Decision::Approve, messages, None, None)
                .await;
            done.map(|done| done.outcome.messages)
        };
        // The caller wrote the text for FR and passed IT one stage; a colleague passed ES.
        let french = Some(id("FR").await);
        reviews
            .edit(&caller(), campaign, french, content("mine"), None)
            .await
            .unwrap();
        let italian = named(&[id("IT").await]);
        assert_eq!(approve(&caller(), &italian).await.unwrap(), 1);
        let spanish = named(&[id("ES").await]);
        assert_eq!(approve(&colleague(), &spanish).await.unwrap(), 1);
        let mut allowed = Vec::new();
        for (country, refusal) in [
            ("DE", None),
            ("FR", four_eyes.then_some("a message that you edited")),
            (
                "IT",
                if lawyers {
                    Some("your role cannot approve at the stage `Legal`")
                } else {
                    distinct.then_some("a message at two stages")
                },
            ),
            (
                "ES",
                lawyers.then_some("your role cannot approve at the stage `Legal`"),
            ),
        ] {
            let Some(said) = refusal else {
                allowed.push(country);
                continue;
            };
            let before = f.snapshot(ACCOUNT).await;
            let both = named(&[id("DE").await, id(country).await]);
            let refused = approve(&caller(), &both).await.unwrap_err().to_string();
            assert!(
                refused.contains(said),
                "{country}, rules {rules}: {refused}"
            );
            before.assert_same(&f.snapshot(ACCOUNT).await, "a refused approval");
        }
        let all = ReviewedMessages::AllPending;
        let stages = async || {
            let messages = f.current(campaign).await;
            let of = |m: Message| (m.segment.attributes.as_json().to_owned(), m.state);
            messages.into_iter().map(of).collect::<Vec<_>>()
        };
        let before = stages().await;
        let passed = approve(&caller(), &all).await.unwrap();
        assert_eq!(usize::try_from(passed), Ok(allowed.len()), "rules {rules}");
        for (before, after) in before.iter().zip(stages().await) {
            let moved = allowed.iter().any(|country| before.0.contains(country));
            assert_eq!(before.1 != after.1, moved, "rules {rules}: {}", before.0);
        }
        // Whoever did not approve them, in a role that may, passes the rest.
        while approve(&colleague(), &all).await.unwrap() > 0 {}
        f.check().await;
    }
}

/// Reviewers at work on different messages do not hinder each other.
pub async fn reviewers_at_once_all_get_through<S: Store + 'static>(f: &Fixture<S>) {
    let names: Vec<String> = (0..8).map(|n| format!("country {n}")).collect();
    let countries: Vec<&str> = names.iter().map(String::as_str).collect();
    let campaign = pending(f, &countries).await;
    let ids: Vec<MessageId> = f.current(campaign).await.iter().map(|m| m.id).collect();
    let answers = all_at_once(8, |task| {
        let (engine, id) = (f.engine.clone(), ids[task]);
        async move {
            let approve = Decision::Approve;
            engine
                .reviews
                .review(&caller(), campaign, &approve, &named(&[id]), None, None)
                .await
        }
    })
    .await;
    for answer in answers {
        assert_eq!(
            answer.expect("every review goes through").outcome.messages,
            1
        );
    }
    assert!(
        f.current(campaign)
            .await
            .iter()
            .all(|message| message.state == SECOND)
    );
    let approvals = f.entries(ACCOUNT).await;
    let approvals = approvals
        .iter()
        .filter(|entry| entry.action == "messages.approved");
    assert_eq!(approvals.count(), 8, "one entry for each review");
    f.check().await;
}

/// Reviewers at work on one message: each stage is passed once.
pub async fn one_stage_is_passed_once<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE"]).await;
    let german = f.message(campaign, "DE").await.id;
    let answers = all_at_once(16, |_| {
        let engine = f.engine.clone();
        async move {
            let approve = Decision::Approve;
            engine
                .reviews
                .review(&caller(), campaign, &approve, &named(&[german]), None, None)
                .await
        }
    })
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(
        done.len(),
        2,
        "one for each of the two stages; the others: {refused:?}"
    );
    for answer in refused {
        let expected = IllegalTransition::Message {
            status: rerun_core::message::ReviewStatus::Approved,
            action: rerun_core::error::Action::Approve,
        };
        assert!(
            matches!(&answer, Err(Error::IllegalTransition(refusal)) if *refusal == expected),
            "{answer:?}"
        );
    }
    assert_eq!(
        stages_of(&f.message(campaign, "DE").await),
        ["Draft", "Legal"]
    );
    f.check().await;
}

/// Reviewers and workers at once: nobody's work is lost.
pub async fn reviewers_and_workers_at_once<S: Store + 'static>(f: &Fixture<S>) {
    let names: Vec<String> = (0..24).map(|n| format!("country {n}")).collect();
    let countries: Vec<&str> = names.iter().map(String::as_str).collect();
    let group = f.group(&countries).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    let answers = all_at_once(6, |task| {
        let engine = f.engine.clone();
        async move {
            for _ in 0..12 {
                if task % 2 == 0 {
                    let leased = engine.generation.lease(2).await.expect("a lease");
                    settled(&engine.generation, &leased, |task| Ok(generated(task))).await;
                } else {
                    let all = ReviewedMessages::AllPending;
                    let approve = Decision::Approve;
                    let done = engine
                        .reviews
                        .review(&caller(), campaign, &approve, &all, None, None)
                        .await;
                    done.expect("a review");
                }
            }
        }
    })
    .await;
    assert_eq!(answers.len(), 6);
    f.check().await;
    f.finish(campaign).await;
    f.check().await;
}
