//! Contents of messages: edits, regeneration, and texts that cannot be approved.

use rerun_core::campaign::CampaignStatus;
use rerun_core::change::{MessageChange, Move, NewContent, Patch, Selection};
use rerun_core::error::{Error, UnfilledPlaceholder};
use rerun_core::generation::GenerationError;
use rerun_core::ids::{CampaignId, ContentId, MessageId};
use rerun_core::message::{Approval, Content, MessageCommand, MessageState, Source};
use rerun_core::ports::{ChangeOutcome, Store};
use rerun_core::run::RunStatus;
use rerun_core::usecases::{Decision, Engine, ReviewedMessages, Settings};

use crate::fixture::{ACCOUNT, Fixture, all_at_once, caller, colleague, generated, run_number};

use super::reviews::{PENDING, SECOND, approval_of, content, pending, reject, review, stages_of};

/// An edit is new content, in this run alone: what it replaces stays where it was published.
pub async fn an_edit_leaves_the_reused_content_alone<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.group(&["DE", "FR"]).await;
    f.seconds_later(60);
    f.rerun(campaign, group).await;
    let past = f.of_run(campaign, 1).await;
    let reused = f.message(campaign, "DE").await;
    let text = content(&format!("👩‍👩‍👧 \"q\" 'a' \\ \u{1} {}", "b".repeat(199_000)));
    f.seconds_later(60);
    let (_, edited) = f
        .engine
        .reviews
        .edit(&colleague(), campaign, Some(reused.id), text.clone(), None)
        .await
        .unwrap()
        .outcome;
    assert_eq!(
        edited,
        f.message(campaign, "DE").await,
        "the answer is what is stored"
    );
    assert_eq!(
        (edited.id, edited.segment_no),
        (reused.id, reused.segment_no)
    );
    assert_eq!(edited.content.as_ref(), Some(&text));
    assert_ne!(edited.content_id, reused.content_id);
    assert_eq!((edited.state, edited.source), (PENDING, Source::Edited));
    assert_eq!(edited.reused_from, None);
    assert_eq!(
        (edited.created_at, edited.updated_at),
        (reused.created_at, f.now())
    );
    let provenance = edited.provenance.as_ref().unwrap();
    assert_eq!(provenance.run_number, run_number(2), "made in this run");
    assert_eq!(
        stages_of(&edited),
        Vec::<String>::new(),
        "nobody has approved it yet"
    );
    assert_eq!(f.of_run(campaign, 1).await, past, "run 1 is as it was");
    let run = f.current_run(campaign).await;
    assert_eq!(
        (run.counts.edited, run.counts.reused, run.counts.pending),
        (1, 1, 1)
    );
    assert_eq!(
        run.status,
        RunStatus::Completed,
        "an edit does not reopen a run"
    );
    assert_eq!(
        f.campaign(campaign).await.status,
        CampaignStatus::ReadyForReview
    );
    f.check().await;
    f.engine
        .reviews
        .edit(&caller(), campaign, Some(reused.id), content("again"), None)
        .await
        .unwrap();
    f.approve(campaign).await;
    f.publish(campaign).await;
    let published = f.message(campaign, "DE").await;
    assert_eq!(stages_of(&published), ["Review"]);
    // The edited content is what the next run reuses.
    f.rerun(campaign, group).await;
    let next = f.message(campaign, "DE").await;
    assert_eq!(
        (&next.content_id, &next.content, &next.provenance),
        (
            &published.content_id,
            &published.content,
            &published.provenance
        )
    );
    f.check().await;
}

/// Messages that are generated again keep their content until the new one is there.
pub async fn regenerated_messages_are_reviewed_again<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.group(&["DE", "FR"]).await;
    f.seconds_later(60);
    f.rerun(campaign, group).await;
    let past = f.of_run(campaign, 1).await;
    let german = f.message(campaign, "DE").await;
    let before = f.current_run(campaign).await;
    assert_eq!(before.status, RunStatus::Completed);
    f.seconds_later(60);
    let queued = f
        .engine
        .reviews
        .regenerate(&caller(), campaign, &[Some(german.id)], None)
        .await
        .unwrap();
    assert_eq!(
        (queued.outcome.messages, queued.outcome.campaign_status),
        (1, CampaignStatus::Processing)
    );
    let run = f.current_run(campaign).await;
    assert_eq!(
        (run.status, run.completed_at),
        (RunStatus::Processing, None)
    );
    let waiting = f.message(campaign, "DE").await;
    assert_eq!(waiting.state, MessageState::Generating);
    let leased = f.lease(10).await;
    assert_eq!(leased.tasks.len(), 1);
    assert_eq!(
        (leased.tasks[0].message_id, leased.tasks[0].failed_attempts),
        (german.id, 0)
    );
    f.seconds_later(5);
    f.settle(&leased, |task| Ok(generated(task))).await;
    let made = f.message(campaign, "DE").await;
    assert_eq!((made.state, made.source), (PENDING, Source::Generated));
    assert_eq!(made.reused_from, None);
    assert_ne!(made.content, german.content);
    assert_eq!(
        waiting.content_id, german.content_id,
        "until it is replaced"
    );
    assert_ne!(made.content_id, german.content_id);
    assert_eq!(made.provenance.as_ref().unwrap().run_number, run_number(2));
    assert_eq!(stages_of(&made), Vec::<String>::new());
    let run = f.current_run(campaign).await;
    assert_eq!(
        (run.status, run.completed_at),
        (RunStatus::Completed, Some(f.now()))
    );
    assert_eq!(f.of_run(campaign, 1).await, past, "run 1 is as it was");
    f.check().await;
}

/// A message that is regenerated in vain keeps its old content, but cannot be published.
pub async fn a_regeneration_can_fail<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE"]).await;
    f.rerun(campaign, group).await;
    let reused = f.message(campaign, "DE").await;
    f.engine
        .reviews
        .regenerate(&caller(), campaign, &[Some(reused.id)], None)
        .await
        .unwrap();
    f.fail_generation("no").await;
    assert_eq!(
        f.campaign(campaign).await.status,
        CampaignStatus::GenerationFailed
    );
    assert_eq!(
        f.message(campaign, "DE").await.state,
        MessageState::GenerationFailed
    );
    f.check().await;
    f.engine
        .reviews
        .retry(&caller(), campaign, None)
        .await
        .unwrap();
    f.finish(campaign).await;
    assert_eq!(f.message(campaign, "DE").await.source, Source::Generated);
    f.check().await;
}

/// Messages that could not be generated are written by hand, and the last of them completes the run.
pub async fn a_failed_message_is_written_by_hand<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR", "IT"]).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    f.fail_generation("out of paper").await;
    let failed_at = f.current_run(campaign).await.completed_at;
    let write = async |country: &str| {
        let id = f.message(campaign, country).await.id;
        let edited = f
            .engine
            .reviews
            .edit(&caller(), campaign, Some(id), content("by hand"), None)
            .await
            .unwrap();
        assert_eq!(edited.outcome.1, f.message(campaign, country).await);
        let run = f.current_run(campaign).await;
        (run, f.campaign(campaign).await.status)
    };
    let (run, status) = write("DE").await;
    assert_eq!(
        (run.status, run.completed_at),
        (RunStatus::Failed, failed_at)
    );
    let error = "2 messages could not be generated; the last error: out of paper";
    assert_eq!(run.error.as_deref(), Some(error));
    assert_eq!(status, CampaignStatus::GenerationFailed);
    let german = f.message(campaign, "DE").await;
    assert_eq!(
        (german.state, german.source, german.error.clone()),
        (PENDING, Source::Edited, None)
    );
    f.check().await;

    // The others are tried again, as by a retry.
    let french = f.message(campaign, "FR").await;
    let queued = f
        .engine
        .reviews
        .regenerate(&caller(), campaign, &[Some(french.id)], None)
        .await
        .unwrap();
    assert_eq!(queued.outcome.campaign_status, CampaignStatus::Processing);
    let run = f.current_run(campaign).await;
    assert_eq!(
        (run.status, run.completed_at, run.error.clone()),
        (RunStatus::Processing, None, None)
    );
    f.fail_generation("out of ink").await;
    let run = f.current_run(campaign).await;
    let error = "2 messages could not be generated; the last error: out of ink";
    assert_eq!(run.error.as_deref(), Some(error));

    write("IT").await;
    let entries = f.entries(ACCOUNT).await.len();
    f.seconds_later(60);
    let (run, status) = write("FR").await;
    assert_eq!(
        (run.status, run.completed_at, run.error.clone()),
        (RunStatus::Completed, Some(f.now()), None)
    );
    assert_eq!(status, CampaignStatus::ReadyForReview);
    assert_eq!(
        f.entries(ACCOUNT).await.len(),
        entries + 1,
        "an edit is one entry, also when it completes the run"
    );
    f.check().await;
    f.approve(campaign).await;
    f.publish(campaign).await;
    f.check().await;
}

/// A retry queues what failed, and nothing else.
pub async fn a_retry_queues_what_failed<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR", "IT"]).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    let one = f.lease(1).await;
    f.settle(&one, |task| Ok(generated(task))).await;
    let good = one.tasks[0].message_id;
    f.fail_generation("out of paper").await;
    let run = f.current_run(campaign).await;
    assert_eq!((run.status, run.counts.failed), (RunStatus::Failed, 2));
    let failed_at = run.completed_at;
    assert!(failed_at.is_some());
    let done = f
        .engine
        .reviews
        .retry(&caller(), campaign, None)
        .await
        .unwrap()
        .outcome;
    assert_eq!(
        (done.messages, done.campaign_status),
        (2, CampaignStatus::Processing)
    );
    let run = f.current_run(campaign).await;
    assert_eq!(
        (run.status, run.completed_at),
        (RunStatus::Processing, None)
    );
    assert_eq!(run.error, None);
    for message in f.current(campaign).await {
        let expected = if message.id == good {
            PENDING
        } else {
            MessageState::Generating
        };
        assert_eq!((message.state, message.error.clone()), (expected, None));
    }
    let leased = f.lease(10).await;
    assert_eq!(leased.tasks.len(), 2, "due at once");
    assert!(
        leased.tasks.iter().all(|task| task.failed_attempts == 0),
        "with no attempt failed"
    );
    f.settle(&leased, |task| Ok(generated(task))).await;
    assert_eq!(f.current_run(campaign).await.status, RunStatus::Completed);
    let refused = f.engine.reviews.retry(&caller(), campaign, None).await;
    assert!(
        matches!(refused, Err(Error::IllegalTransition(_))),
        "{refused:?}"
    );
    f.check().await;
}

/// Content that two people write at once is one of the two.
pub async fn two_edits_at_once_are_one_after_the_other<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE"]).await;
    let german = f.message(campaign, "DE").await.id;
    let answers = all_at_once(4, |task| {
        let engine = f.engine.clone();
        async move {
            let text = content(&format!("by {task}"));
            engine
                .reviews
                .edit(&caller(), campaign, Some(german), text, None)
                .await
        }
    })
    .await;
    for answer in answers {
        answer.expect("every edit goes through");
    }
    let body = body(f, campaign, "DE").await;
    assert!(body.starts_with("by "), "{body}");
    f.check().await;
}

async fn body<S: Store + 'static>(f: &Fixture<S>, campaign: CampaignId, country: &str) -> String {
    let message = f.message(campaign, country).await;
    message.into_parts().content.unwrap().body
}

/// One content id names one content for ever.
pub async fn a_contents_id_is_taken_once<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE", "FR"]).await;
    let german = f.message(campaign, "DE").await.id;
    let edit = async |body: &str, now| MessageChange {
        moves: vec![Move {
            from: PENDING,
            to: PENDING,
            approval: None,
        }],
        patch: Patch::editing(NewContent {
            id: ContentId::new(uuid::Uuid::from_u128(5)),
            content: content(body),
            author: caller().user_id().unwrap(),
        }),
        command: MessageCommand::Edit,
        now,
        ..approval_of(f, campaign, Selection::Ids(vec![german])).await
    };
    f.store
        .change_messages(edit("first", f.now()).await)
        .await
        .unwrap();
    let stored = f.message(campaign, "DE").await;
    assert_eq!(stored.content, Some(content("first")));
    // Whether a store refuses the doubled id or gives ids of its own, nothing is mixed up.
    let _ = f.store.change_messages(edit("second", f.now()).await).await;
    let body = body(f, campaign, "DE").await;
    assert!(["first", "second"].contains(&body.as_str()), "{body}");
    f.check().await;
}

fn assert_unfilled<T: std::fmt::Debug>(answer: Result<T, Error>, message: MessageId, found: &str) {
    match answer {
        Err(Error::UnfilledPlaceholder(unfilled)) => {
            assert_eq!(unfilled.message_id, message);
            assert_eq!(unfilled.placeholder, found);
        }
        other => panic!("`{found}` is not refused: {other:?}"),
    }
}

/// No stage is passed, by name or by `all`, while the content of one of the messages has a
/// placeholder; everything else can be done with that message.
pub async fn an_unfilled_placeholder_is_not_approved<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE", "FR", "IT"]).await;
    let german = f.message(campaign, "DE").await.id;
    let french = f.message(campaign, "FR").await.id;
    let edit = async |content| {
        let reviews = &f.engine.reviews;
        let edited = reviews
            .edit(&caller(), campaign, Some(german), content, None)
            .await;
        edited.unwrap();
    };
    let approve_all = async |engine: &Engine| {
        let all = ReviewedMessages::AllPending;
        let reviewed = engine
            .reviews
            .review(&caller(), campaign, &Decision::Approve, &all, None, None)
            .await;
        reviewed.map(|answered| answered.outcome)
    };
    let approve = async |ids: &[MessageId]| review(f, campaign, &Decision::Approve, ids).await;

    // In the body or in the subject, short or long.
    let long = format!("{{{{ {} }}}}", "é".repeat(100_000));
    let cut: String = long.chars().take(100).collect();
    for (new, found) in [
        (
            content("Dear {{ first_name }}, {{ x }}"),
            "{{ first_name }}",
        ),
        (content(&long), cut.as_str()),
        (
            Content {
                subject: "Dear {{first name}}".into(),
                body: "{{ x }}".into(),
            },
            "{{first name}}",
        ),
    ] {
        edit(new).await;
        let before = f.snapshot(ACCOUNT).await;
        assert_unfilled(approve(&[french, german]).await, german, found);
        assert_unfilled(approve(&[german]).await, german, found);
        assert_unfilled(approve_all(&f.engine).await, german, found);
        before.assert_same(&f.snapshot(ACCOUNT).await, "refused approvals");
    }

    // It does not stand in the way of others, nor of a rejection.
    assert_eq!(approve(&[french]).await.unwrap(), 1);
    let four_eyes = f.engine_with(Settings {
        four_eyes: true,
        ..Settings::default()
    });
    let others = approve_all(&four_eyes).await.unwrap();
    assert_eq!(others.messages, 2, "all but the caller's own edit");
    assert_eq!(
        review(f, campaign, &reject("no"), &[german]).await.unwrap(),
        1
    );
    // A rejected message is not among all that wait.
    assert_eq!(approve_all(&f.engine).await.unwrap().messages, 1);

    // Once it is filled it passes. Double braces that do not close are no placeholder.
    edit(content("Dear { Ada } }} {{")).await;
    assert_eq!(approve(&[german]).await.unwrap(), 1);
    assert_eq!(f.message(campaign, "DE").await.state, SECOND);

    // The last stage is like the first.
    edit(content("{{ x }}")).await;
    assert_unfilled(approve(&[german]).await, german, "{{ x }}");
    f.check().await;
}

/// The store itself looks at the content of everything that a change makes `Approved` or
/// `Published`, or lets pass a stage. Of several messages the first is named.
pub async fn no_change_lets_a_placeholder_through<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE", "FR", "IT"]).await;
    let mut ids = Vec::new();
    for country in ["DE", "FR", "IT"] {
        ids.push(f.message(campaign, country).await.id);
    }
    for message in f.current(campaign).await.into_iter().skip(1).rev() {
        let new = content(&format!("{{{{ {} }}}}", message.segment_no));
        let reviews = &f.engine.reviews;
        let edited = reviews
            .edit(&colleague(), campaign, Some(message.id), new, None)
            .await;
        edited.unwrap();
    }
    let first = &f.current(campaign).await[1];
    let unfilled = ChangeOutcome::Unfilled(UnfilledPlaceholder {
        message_id: first.id,
        placeholder: format!("{{{{ {} }}}}", first.segment_no),
    });
    let every = |not_edited_by| Selection::Every {
        not_edited_by,
        not_approved_by: None,
    };
    let passed = Approval {
        stage: "Draft".into(),
        user_id: caller().user_id().unwrap(),
        user_name: None,
        approved_at: f.now(),
    };
    let before = f.snapshot(ACCOUNT).await;
    for (to, approval) in [
        (SECOND, Some(passed)),
        (MessageState::Approved, None),
        (MessageState::Published, None),
    ] {
        for selection in [
            every(None),
            every(caller().user_id()),
            Selection::Ids(ids.clone()),
        ] {
            let change = MessageChange {
                moves: vec![Move {
                    from: PENDING,
                    to,
                    approval: approval.clone(),
                }],
                ..approval_of(f, campaign, selection.clone()).await
            };
            let outcome = f.store.change_messages(change).await.unwrap();
            assert_eq!(outcome, unfilled, "{to:?} of {selection:?}");
        }
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "refused changes");
    let of_nothing = MessageChange {
        moves: Vec::new(),
        ..approval_of(f, campaign, Selection::Ids(Vec::new())).await
    };
    let outcome = f.store.change_messages(of_nothing).await.unwrap();
    assert!(matches!(
        outcome,
        ChangeOutcome::Changed { messages: 0, .. }
    ));
    // Only the selected messages, in the states that the change is about, are looked at.
    for (from, selection) in [(PENDING, Selection::Ids(Vec::new())), (SECOND, every(None))] {
        let change = MessageChange {
            moves: vec![Move {
                from,
                to: MessageState::Approved,
                approval: None,
            }],
            ..approval_of(f, campaign, selection).await
        };
        let outcome = f.store.change_messages(change).await.unwrap();
        assert!(matches!(
            outcome,
            ChangeOutcome::Changed { messages: 0, .. }
        ));
    }
    let change = MessageChange {
        moves: vec![Move {
            from: PENDING,
            to: MessageState::Approved,
            approval: None,
        }],
        ..approval_of(f, campaign, every(colleague().user_id())).await
    };
    let outcome = f.store.change_messages(change).await.unwrap();
    assert!(matches!(
        outcome,
        ChangeOutcome::Changed { messages: 1, .. }
    ));
    f.check().await;
}

/// A failed attempt's reason is told while the message has failed, and only then.
pub async fn an_error_goes_when_its_message_moves_on<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = pending(f, &["DE", "FR"]).await;
    let german = f.message(campaign, "DE").await.id;
    f.engine
        .reviews
        .regenerate(&caller(), campaign, &[Some(german)], None)
        .await
        .unwrap();
    let leased = f.lease(1).await;
    f.settle(&leased, |_| Err(GenerationError::new("busy")))
        .await;
    assert_eq!(
        f.message(campaign, "DE").await.error,
        None,
        "it is tried again"
    );
    f.seconds_later(60);
    f.fail_generation("out of \"ink\" ü").await;
    let message = f.message(campaign, "DE").await;
    assert_eq!(message.error.as_deref(), Some("out of \"ink\" ü"));
    f.engine
        .reviews
        .retry(&caller(), campaign, None)
        .await
        .unwrap();
    assert_eq!(f.message(campaign, "DE").await.error, None);
    f.check().await;
}
