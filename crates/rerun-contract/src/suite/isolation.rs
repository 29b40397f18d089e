//! Accounts do not see, and cannot reach, each other's rows.

use rerun_core::campaign::Campaign;
use rerun_core::change::{MessageChange, Move, Patch, Selection};
use rerun_core::error::Error;
use rerun_core::event::Event;
use rerun_core::ids::{CampaignId, CustomerGroupId, MessageId};
use rerun_core::message::{Content, MessageCommand, MessageState};
use rerun_core::page::Limit;
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{
    AuditFilter, CampaignContext, CancelRun, CandidateQuery, CustomerQuery, CustomerSelection,
    EventFilter, IdGenerator, MessageOfRun, MessageSelection, Store, WantedGroup,
};
use rerun_core::segment::SegmentBy;
use rerun_core::usecases::{Decision, PageQuery, RerunRequest, ReviewedMessages};

use super::runs::decided;
use crate::fixture::{
    ACCOUNT, Fixture, OTHER_ACCOUNT, author, caller, first_page, generated, new_campaign,
    run_number, stranger,
};

/// A campaign whose run 2 is under review, its messages of run 1 archived, with a group.
async fn story<S: Store + 'static>(f: &Fixture<S>) -> (CustomerGroupId, CampaignId, MessageId) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.group(&["DE", "ES"]).await;
    f.rerun(campaign, group).await;
    f.generate().await;
    let message = f.message(campaign, "ES").await.id;
    (group, campaign, message)
}

/// Nobody learns who gets which message in another account.
pub async fn foreign_ids_have_no_recipients<S: Store + 'static>(f: &Fixture<S>) {
    let (group, campaign, message) = story(f).await;
    let (who, two) = (OTHER_ACCOUNT, run_number(2));
    let key = f.message(campaign, "ES").await.segment.key;
    for which in [MessageOfRun::Id(message), MessageOfRun::Segment(key)] {
        let read = f.store.message_of_run(who, campaign, two, which).await;
        assert_eq!(read.unwrap(), None);
    }
    let audience = f.store.run_audience(who, campaign, two).await;
    assert_eq!(audience.unwrap(), None);
    let messages = f.store.run_messages(who, campaign, two, true, first_page());
    assert_eq!(messages.await.unwrap().items, []);
    for which in [
        CustomerSelection::After(None),
        CustomerSelection::Only("C-0".to_owned()),
    ] {
        let query = CustomerQuery {
            account_id: who,
            group_id: group,
            segment_by: SegmentBy::new(&["country"]).unwrap(),
            excluded: None,
            which,
            limit: 10,
        };
        let read = f.store.customers(query).await.unwrap();
        assert_eq!((read.group_version, read.customers), (None, Vec::new()));
    }
    let contents = f.store.message_contents(who, campaign, vec![message]).await;
    assert_eq!(contents.unwrap(), []);
}

/// Nothing of one account is read by another that knows its ids.
pub async fn foreign_ids_read_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let (group, campaign, message) = story(f).await;
    let who = OTHER_ACCOUNT;
    assert_eq!(f.store.find_group(who, group).await.unwrap(), None);
    assert_eq!(
        f.store.list_groups(who, first_page()).await.unwrap().items,
        []
    );
    assert_eq!(f.store.find_campaign(who, campaign).await.unwrap(), None);
    assert_eq!(
        f.store
            .list_campaigns(who, None, first_page())
            .await
            .unwrap()
            .items,
        []
    );
    assert_eq!(
        f.store.history(who, campaign, first_page()).await.unwrap(),
        None
    );
    for which in [
        MessageSelection::CurrentRun,
        MessageSelection::Run(run_number(1)),
        MessageSelection::EveryRun,
    ] {
        assert_eq!(
            f.store
                .messages(who, campaign, which, first_page())
                .await
                .unwrap(),
            None
        );
    }
    assert_eq!(
        f.store.find_message(who, campaign, message).await.unwrap(),
        None
    );
    let (one, two) = (run_number(1), run_number(2));
    assert_eq!(
        f.store
            .diff(who, campaign, one, two, first_page())
            .await
            .unwrap(),
        None
    );
    for wanted in [
        WantedGroup::None,
        WantedGroup::OfCampaign,
        WantedGroup::Named(group),
    ] {
        assert_eq!(
            f.store
                .campaign_context(who, campaign, wanted)
                .await
                .unwrap(),
            None
        );
    }
    assert_eq!(
        f.store
            .message_refs(who, campaign, vec![message])
            .await
            .unwrap(),
        []
    );
    let filter = AuditFilter {
        campaign_id: Some(campaign),
        action: None,
    };
    assert_eq!(
        f.store.list_audit(who, filter, first_page()).await.unwrap(),
        None
    );
    let all = f
        .store
        .list_audit(who, AuditFilter::default(), first_page())
        .await;
    assert_eq!(all.unwrap().unwrap().items, []);
    assert_eq!(f.store.audit_chain(who, 0, 10).await.unwrap(), []);
    let about_theirs = EventFilter {
        campaign_id: filter.campaign_id,
        types: None,
    };
    let read = f.store.events(who, &about_theirs, 0, Limit::default());
    assert_eq!(read.await.unwrap(), None);
    let everything = EventFilter::default();
    let read = f.store.events(who, &everything, 0, Limit::default());
    let read = read.await.unwrap().unwrap();
    assert_eq!((read.events, read.head_sequence), (vec![], 0));
}

/// Nor are the segments of a group, whether they have been counted or not.
pub async fn foreign_groups_have_no_segments<S: Store + 'static>(f: &Fixture<S>) {
    let (group, campaign, _) = story(f).await;
    let who = OTHER_ACCOUNT;
    let segment_by = SegmentBy::new(&["country"]).unwrap();
    let keys = f
        .candidates(group, &["country"])
        .await
        .segments
        .iter()
        .map(|s| s.key)
        .collect();
    assert_eq!(
        f.store
            .segments(who, group, &segment_by, keys)
            .await
            .unwrap(),
        []
    );
    let query = CandidateQuery {
        account_id: who,
        group_id: group,
        segment_by,
        reuse: Some((campaign, run_number(1), ReuseFrom::AnyRun)),
        limit: 10,
    };
    // A group that is not there has no segments; a store may also say that it has gone.
    if let Ok(found) = f.store.segment_candidates(query).await {
        assert_eq!(found.segments, []);
    }
}

/// Another account's messages are not offered for reuse, though groups look alike.
pub async fn foreign_messages_are_not_reused<S: Store + 'static>(f: &Fixture<S>) {
    let (_, campaign, _) = story(f).await;
    let who = stranger();
    let group = f
        .engine
        .groups
        .create(&who, "Theirs", None)
        .await
        .unwrap()
        .outcome
        .id;
    let columns = ["customer_ref", "country"];
    f.try_import(&who, group, &columns, &[&["C-1", "DE"]])
        .await
        .unwrap();
    for from in [ReuseFrom::CurrentRun, ReuseFrom::AnyRun] {
        let query = CandidateQuery {
            account_id: who.account_id,
            group_id: group,
            segment_by: SegmentBy::new(&["country"]).unwrap(),
            reuse: Some((campaign, run_number(1), from)),
            limit: 10,
        };
        let found = f.store.segment_candidates(query).await.unwrap().segments;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].reusable, None, "{from}");
    }
}

/// Every use case answers "not found" to another account, and changes nothing.
pub async fn foreign_ids_change_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let (group, campaign, message) = story(f).await;
    let who = stranger();
    let own = f
        .engine
        .groups
        .create(&who, "Theirs", None)
        .await
        .unwrap()
        .outcome
        .id;
    let columns = ["customer_ref", "country"];
    f.try_import(&who, own, &columns, &[&["C-1", "DE"]])
        .await
        .unwrap();
    let before = (f.snapshot(ACCOUNT).await, f.snapshot(OTHER_ACCOUNT).await);
    let imported = f.try_import(&who, group, &columns, &[&["C-1", "XX"]]).await;
    assert!(
        matches!(imported, Err(Error::CustomerGroupNotFound)),
        "{imported:?}"
    );
    let created = f
        .engine
        .campaigns
        .create(&who, new_campaign(group, &["country"]), None)
        .await;
    assert!(
        matches!(created, Err(Error::CustomerGroupNotFound)),
        "{created:?}"
    );
    let request = |campaign, group| RerunRequest {
        campaign,
        new_group: Some(group),
        reuse_from: ReuseFrom::AnyRun,
        allow_missing_fields: false,
    };
    let reruns = &f.engine.reruns;
    let reviews = &f.engine.reviews;
    let content = Content {
        subject: "x".into(),
        body: "y".into(),
    };
    let all = ReviewedMessages::AllPending;
    let refusals = [
        reruns
            .initiate(&who, request(campaign, own), None)
            .await
            .map(|_| ()),
        reruns
            .preview(&who, request(campaign, own), &PageQuery::default())
            .await
            .map(|_| ()),
        reruns.launch(&who, campaign, None).await.map(|_| ()),
        reruns.cancel(&who, campaign, None, None).await.map(|_| ()),
        reruns
            .archive(&who, campaign, Some(run_number(1)), None)
            .await
            .map(|_| ()),
        reviews
            .review(&who, campaign, &Decision::Approve, &all, None, None)
            .await
            .map(|_| ()),
        reviews
            .edit(&who, campaign, Some(message), content.clone(), None)
            .await
            .map(|_| ()),
        reviews
            .regenerate(&who, campaign, &[Some(message)], None)
            .await
            .map(|_| ()),
        reviews.retry(&who, campaign, None).await.map(|_| ()),
        reviews.publish(&who, campaign, None).await.map(|_| ()),
    ];
    for (n, refusal) in refusals.into_iter().enumerate() {
        assert!(
            matches!(refusal, Err(Error::CampaignNotFound)),
            "command {n}: {refusal:?}"
        );
    }
    before
        .0
        .assert_same(&f.snapshot(ACCOUNT).await, "another account's commands");
    before
        .1
        .assert_same(&f.snapshot(OTHER_ACCOUNT).await, "commands in vain");
    f.check().await;
}

/// A campaign of one's own opens neither another account's groups nor its messages.
pub async fn an_own_campaign_opens_nothing_foreign<S: Store + 'static>(f: &Fixture<S>) {
    let (group, _, message) = story(f).await;
    let who = stranger();
    let own = f
        .engine
        .groups
        .create(&who, "Theirs", None)
        .await
        .unwrap()
        .outcome
        .id;
    let columns = ["customer_ref", "country"];
    f.try_import(&who, own, &columns, &[&["C-1", "DE"]])
        .await
        .unwrap();
    let before = f.snapshot(ACCOUNT).await;
    let (reruns, reviews) = (&f.engine.reruns, &f.engine.reviews);
    let all = ReviewedMessages::AllPending;
    let request = |campaign, group| RerunRequest {
        campaign,
        new_group: Some(group),
        reuse_from: ReuseFrom::AnyRun,
        allow_missing_fields: false,
    };
    let campaign = f
        .engine
        .campaigns
        .create(&who, new_campaign(own, &["country"]), None)
        .await;
    let campaign = campaign.unwrap().outcome.id;
    f.engine.reruns.launch(&who, campaign, None).await.unwrap();
    f.generate().await;
    reviews
        .review(&who, campaign, &Decision::Approve, &all, None, None)
        .await
        .unwrap();
    reviews.publish(&who, campaign, None).await.unwrap();
    let refused = reruns.initiate(&who, request(campaign, group), None).await;
    assert!(
        matches!(refused, Err(Error::CustomerGroupNotFound)),
        "{refused:?}"
    );
    reruns
        .initiate(&who, request(campaign, own), None)
        .await
        .unwrap();
    let content = Content {
        subject: "x".into(),
        body: "y".into(),
    };
    let refused = reviews
        .edit(&who, campaign, Some(message), content, None)
        .await;
    assert!(
        matches!(refused, Err(Error::MessageNotFound)),
        "{refused:?}"
    );
    before.assert_same(&f.snapshot(ACCOUNT).await, "another account's commands");
    f.check().await;
}

/// The store itself refuses decisions that carry another account's ids, whatever made them.
pub async fn forged_decisions_change_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let (group, campaign, message) = story(f).await;
    let fresh = f.published(&["DE"]).await;
    let start = decided(f, fresh, group).await;
    let before = (f.snapshot(ACCOUNT).await, f.snapshot(OTHER_ACCOUNT).await);
    let forged_audit = || {
        author(f, stranger()).of(Event::CampaignCreated {
            campaign_id: campaign,
            name: "Forged".into(),
        })
    };
    let mut forged = start.clone();
    let other = |campaign: Campaign| {
        let stolen = campaign.with(|campaign| campaign.account_id = OTHER_ACCOUNT);
        stolen.unwrap()
    };
    forged.campaign = other(forged.campaign);
    forged.audit = forged_audit();
    assert!(f.store.start_run(forged).await.is_err(), "a forged start");
    let CampaignContext {
        campaign: stolen,
        current_run,
        ..
    } = f.context(campaign).await;
    let stolen = other(stolen);
    let run = current_run.unwrap().cancelled(f.now(), None);
    let cancel = CancelRun {
        standing: stolen.without_cancelled(&run),
        run,
        campaign: stolen.clone(),
        audit: forged_audit(),
        response: None,
        now: f.now(),
    };
    assert!(
        f.store.cancel_run(cancel).await.is_err(),
        "a forged cancellation"
    );
    let pending = MessageState::PendingReview { stage: 0 };
    for selection in [
        Selection::Ids(vec![message]),
        Selection::Every {
            not_edited_by: None,
            not_approved_by: None,
        },
    ] {
        let change = MessageChange {
            campaign: stolen.clone(),
            selection,
            moves: vec![Move {
                from: pending,
                to: MessageState::Approved,
                approval: None,
            }],
            command: MessageCommand::Approve,
            patch: Patch::default(),
            author: author(f, stranger()),
            key: None,
            now: f.now(),
        };
        assert!(
            f.store.change_messages(change).await.is_err(),
            "a forged change"
        );
    }
    let theirs = other(f.campaign(campaign).await);
    let theirs = theirs.with(|theirs| theirs.id = CampaignId::new(f.ids.next()));
    let created = f
        .store
        .create_campaign(&theirs.unwrap(), forged_audit(), None)
        .await;
    assert!(created.is_err(), "a campaign over another account's group");
    before
        .0
        .assert_same(&f.snapshot(ACCOUNT).await, "forged decisions");
    before
        .1
        .assert_same(&f.snapshot(OTHER_ACCOUNT).await, "forged decisions");
    f.store
        .start_run(start)
        .await
        .expect("the honest decision still holds");
    f.check().await;
}

/// Two accounts can have rows of the same ids without meeting.
pub async fn accounts_with_the_same_ids_do_not_meet<S: Store + 'static>(f: &Fixture<S>) {
    let (group, campaign, _) = story(f).await;
    let mut twin_group = f.store.find_group(ACCOUNT, group).await.unwrap().unwrap();
    twin_group.account_id = OTHER_ACCOUNT;
    twin_group.customer_count = 0;
    let audit = author(f, stranger()).of(Event::GroupCreated {
        customer_group_id: group,
        name: "Twin".into(),
    });
    let before = f.snapshot(ACCOUNT).await;
    f.store
        .create_group(&twin_group, audit, None)
        .await
        .expect("ids are an account's own");
    let twin = f.campaign(campaign).await.with(|twin| {
        twin.account_id = OTHER_ACCOUNT;
        twin.customer_group_id = group;
        twin.status = rerun_core::campaign::CampaignStatus::Draft;
        twin.current_run = None;
        twin.last_run = None;
    });
    let twin = twin.unwrap();
    let audit = author(f, stranger()).of(Event::CampaignCreated {
        campaign_id: campaign,
        name: "Twin".into(),
    });
    f.store
        .create_campaign(&twin, audit, None)
        .await
        .expect("ids are an account's own");
    let who = stranger();
    let columns = ["customer_ref", "country"];
    f.try_import(&who, group, &columns, &[&["C-0", "PT"], &["C-9", "AT"]])
        .await
        .unwrap();
    f.engine.reruns.launch(&who, campaign, None).await.unwrap();
    let leased = f.lease(10).await;
    assert_eq!(leased.tasks.len(), 2);
    assert!(
        leased
            .tasks
            .iter()
            .all(|task| task.account_id == OTHER_ACCOUNT)
    );
    f.settle(&leased, |task| Ok(generated(task))).await;
    before.assert_same(&f.snapshot(ACCOUNT).await, "a namesake in another account");
    for (actor, run, country) in [(caller(), 2, "DE"), (stranger(), 1, "PT")] {
        let recipients = &f.engine.recipients;
        let number = Some(run_number(run));
        let got = recipients.get(&actor, campaign, number, Some("C-0")).await;
        let message = got.unwrap().message.unwrap();
        let by_country = SegmentBy::new(&["country"]).unwrap();
        assert_eq!(message.segment.key, by_country.key([Some(country)]));
    }
    f.cancel(campaign).await;
    let theirs = f
        .store
        .find_campaign(OTHER_ACCOUNT, campaign)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(theirs.current_run, Some(run_number(1)));
    assert_eq!(caller().account_id, ACCOUNT);
    f.check().await;
}
