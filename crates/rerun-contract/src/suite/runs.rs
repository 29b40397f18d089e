//! Launches and reruns.

use std::collections::BTreeMap;

use rerun_core::actor::UserName;
use rerun_core::campaign::CampaignStatus;
use rerun_core::error::{Error, IllegalTransition};
use rerun_core::event::{Event, StartedRun, StatusChange};
use rerun_core::ids::{CampaignId, CustomerGroupId, JobId, MessageId};
use rerun_core::message::{MessageState, Source};
use rerun_core::page::{Limit, PageRequest};
use rerun_core::plan::{Audience, ReuseFrom, RunPlan};
use rerun_core::ports::{
    CampaignContext, CandidateQuery, IdGenerator, StartRun, Store, WantedGroup,
};
use rerun_core::run::{MessageCounts, Run, RunGroup, RunParts, RunStatus, SegmentCounts};
use rerun_core::usecases::{
    Decision, LaunchRequest, NewCampaign, PageQuery, RerunRequest, ReviewedMessages,
};

use crate::fixture::{
    ACCOUNT, CALLERS_NAME, Fixture, all_at_once, assert_conflict, author, caller, generated,
    messages_from_elsewhere, new_campaign, run_number,
};

/// A rerun as the use case decides it, to be committed by the case itself.
pub(super) async fn decided<S: Store + 'static>(
    f: &Fixture<S>,
    campaign: CampaignId,
    group: CustomerGroupId,
) -> StartRun {
    let context = f
        .store
        .campaign_context(ACCOUNT, campaign, WantedGroup::Named(group))
        .await;
    let CampaignContext {
        campaign,
        current_run,
        group,
    } = context.unwrap().unwrap();
    let group = group.unwrap();
    let reuse = current_run
        .as_ref()
        .map(|run| (campaign.id, run.number, ReuseFrom::CurrentRun));
    let query = CandidateQuery {
        account_id: ACCOUNT,
        group_id: group.id,
        segment_by: campaign.segment_by.clone(),
        reuse,
        limit: 1_000,
    };
    let candidates = f.store.segment_candidates(query).await.unwrap();
    let current = current_run.as_ref();
    let audience = Audience {
        group: &group,
        segments: &candidates.segments,
        fields: &candidates.fields,
        allow_missing_fields: false,
        limit: 1_000,
    };
    let plan = if current.is_some() {
        RunPlan::rerun(&campaign, current, ReuseFrom::CurrentRun, &audience).unwrap()
    } else {
        RunPlan::launch(&campaign, &audience).unwrap()
    };
    let (now, counts) = (f.now(), plan.counts());
    let run = Run::from_parts(RunParts {
        number: plan.run_number,
        job_uid: Some(JobId::new(f.ids.next())),
        status: RunStatus::Queued,
        synthesised: false,
        group: RunGroup {
            id: group.id,
            name: group.name,
        },
        customer_count: plan.customer_count,
        segments: plan.segments,
        counts,
        resulting_status: plan.resulting_status,
        initiated_by: caller().user_id(),
        initiated_by_name: caller().as_person().unwrap().user_name.clone(),
        schedule_id: None,
        previous_run: plan.previous_run,
        error: None,
        cancel_reason: None,
        started_at: now,
        completed_at: None,
        archived_at: None,
        usage: rerun_core::generation::TokenCounts::default(),
        saved: rerun_core::generation::Saved::default(),
        metered: rerun_core::generation::Metered::default(),
    })
    .unwrap()
    .recounted(counts, now, None);
    StartRun {
        suggestions: std::collections::HashMap::new(),
        group_version: candidates.group_version,
        message_ids: plan
            .items
            .iter()
            .map(|_| MessageId::new(f.ids.next()))
            .collect(),
        initiated_ip: caller().as_person().unwrap().ip,
        firing: None,
        audit: author(f, caller()).of(Event::RerunInitiated(StartedRun {
            status: StatusChange {
                campaign_id: campaign.id,
                run_number: run.number,
                before: campaign.status,
                after: run.counts.campaign_status(),
            },
            job_uid: run.job_uid.unwrap(),
            customer_group_id: group.id,
            matched: plan.segments.matched,
            new: plan.segments.new,
            archived_messages: plan.archived_messages,
            schedule_id: None,
        })),
        standing: campaign.with_started(&run),
        campaign,
        plan,
        run,
        response: None,
        now,
    }
}

/// The first run: every segment is new, and everything waits to be generated.
pub async fn a_launch_makes_run_and_messages<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR", "DE", ""]).await;
    let campaign = f.draft(group).await;
    let before = f.campaign(campaign).await;
    f.seconds_later(5);
    let started = f.launch(campaign).await;
    let after = f.campaign(campaign).await;
    assert_eq!(
        (after.current_run, after.last_run),
        (Some(run_number(1)), Some(run_number(1)))
    );
    assert_eq!(after.status, CampaignStatus::Processing);
    assert!(
        after.version > before.version,
        "the campaign's version grows"
    );
    assert_eq!(
        (after.created_at, after.updated_at),
        (before.created_at, f.now())
    );
    let run = f.current_run(campaign).await;
    assert_eq!(
        run,
        Run::from_parts(RunParts {
            number: run_number(1),
            job_uid: Some(started.job_uid),
            status: RunStatus::Queued,
            synthesised: false,
            group: RunGroup {
                id: group,
                name: "Customers".into()
            },
            customer_count: 4,
            segments: SegmentCounts {
                total: 3,
                matched: 0,
                new: 3
            },
            counts: MessageCounts {
                generated: 3,
                generating: 3,
                ..MessageCounts::default()
            },
            resulting_status: CampaignStatus::ReadyForReview,
            initiated_by: caller().user_id(),
            initiated_by_name: Some(UserName::new(CALLERS_NAME).unwrap()),
            schedule_id: None,
            previous_run: None,
            error: None,
            cancel_reason: None,
            started_at: f.now(),
            completed_at: None,
            archived_at: None,
            usage: rerun_core::generation::TokenCounts::default(),
            saved: rerun_core::generation::Saved::default(),
            metered: rerun_core::generation::Metered::default(),
        })
        .unwrap(),
    );
    assert_eq!(
        f.run(campaign, 1).await,
        run,
        "the history has the same run"
    );
    let messages = f.current(campaign).await;
    let counts: BTreeMap<Option<String>, i64> = messages
        .iter()
        .map(|message| {
            assert_eq!(
                (message.state, message.source),
                (MessageState::Generating, Source::Generated)
            );
            assert_eq!((&message.content, &message.provenance), (&None, &None));
            assert_eq!((message.created_at, message.updated_at), (f.now(), f.now()));
            let country = message
                .segment
                .attributes
                .to_map()
                .unwrap()
                .remove("country")
                .unwrap();
            (country, message.segment.customer_count)
        })
        .collect();
    let expected = [(None, 1), (Some("DE".into()), 2), (Some("FR".into()), 1)];
    assert_eq!(counts, BTreeMap::from(expected));
    f.check().await;
}

/// Matched segments reuse, new ones wait, the previous run is archived as it was.
pub async fn a_rerun_reuses_generates_and_archives<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR", "IT"]).await;
    let first = f.current(campaign).await;
    let first_run = f.current_run(campaign).await;
    let group = f.group(&["DE", "FR", "FR", "ES", ""]).await;
    f.seconds_later(60);
    let now = f.now();
    let before = f.campaign(campaign).await;
    let started = f.rerun(campaign, group).await;
    assert_eq!(
        started.segments,
        SegmentCounts {
            total: 4,
            matched: 2,
            new: 2
        }
    );
    assert_eq!(started.archived_messages, 3);
    let after = f.campaign(campaign).await;
    assert_eq!(
        (after.current_run, after.last_run),
        (Some(run_number(2)), Some(run_number(2)))
    );
    assert_eq!(after.status, CampaignStatus::Processing);
    assert!(after.version > before.version);
    let run = f.current_run(campaign).await;
    assert_eq!(run.previous_run, Some(run_number(1)));
    assert_eq!((run.customer_count, run.status), (5, RunStatus::Queued));
    assert_eq!(
        run.counts,
        MessageCounts {
            reused: 2,
            generated: 2,
            approved: 2,
            generating: 2,
            ..Default::default()
        },
    );
    let archived = f.run(campaign, 1).await;
    assert_eq!(
        archived,
        first_run.with(|run| run.archived_at = Some(now)).unwrap(),
        "run 1 is archived"
    );
    let archived = f.of_run(campaign, 1).await;
    for (was, is) in first.iter().zip(&archived) {
        let expected = was.clone().with(|was| was.archived_at = Some(now));
        assert_eq!(*is, expected.unwrap(), "an archived message is as it was");
    }
    for country in ["DE", "FR"] {
        let message = f.message(campaign, country).await;
        let origin = first
            .iter()
            .find(|m| m.segment.key == message.segment.key)
            .unwrap();
        assert_eq!(
            (message.state, message.source),
            (MessageState::Approved, Source::Reused)
        );
        assert_eq!(message.reused_from.unwrap().message_id, origin.id);
        assert_eq!(message.content, origin.content);
        assert_eq!(message.provenance, origin.provenance);
        assert_eq!(
            message.segment_no, origin.segment_no,
            "one number for one segment"
        );
        assert_eq!((message.created_at, message.updated_at), (now, now));
        assert_ne!(message.id, origin.id);
    }
    assert_eq!(
        f.message(campaign, "FR").await.segment.customer_count,
        2,
        "as the new group has"
    );
    for country in ["ES", ""] {
        let message = f.message(campaign, country).await;
        assert_eq!(
            (message.state, message.source),
            (MessageState::Generating, Source::Generated)
        );
        assert_eq!(message.content, None);
    }
    let leased = f.lease(100).await;
    assert_eq!(leased.tasks.len(), 2, "only new segments are generated");
    f.check().await;
}

/// With nothing new the run is complete inside the call.
pub async fn a_rerun_with_nothing_new_is_complete_at_once<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.group(&["DE"]).await;
    f.seconds_later(60);
    let started = f.rerun(campaign, group).await;
    assert_eq!(started.campaign_status, CampaignStatus::ReadyToPublish);
    assert_eq!(
        (started.run_status, started.completed_at),
        (RunStatus::Completed, Some(f.now()))
    );
    assert_eq!(
        f.campaign(campaign).await.status,
        CampaignStatus::ReadyToPublish
    );
    let run = f.current_run(campaign).await;
    assert_eq!(
        (run.status, run.completed_at),
        (RunStatus::Completed, Some(f.now()))
    );
    assert_eq!(f.lease(10).await.tasks, []);
    f.publish(campaign).await;
    f.check().await;
}

/// A rerun of a rerun of a rerun: content travels through all of them.
pub async fn content_travels_through_many_runs<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let original = f.message(campaign, "DE").await;
    let group = f.group(&["DE", "FR"]).await;
    for number in 2..=6 {
        f.seconds_later(60);
        f.rerun(campaign, group).await;
        f.publish(campaign).await;
        let message = f.message(campaign, "DE").await;
        assert_eq!(message.run_number, run_number(number));
        assert_eq!(
            message.reused_from.unwrap().run_number,
            run_number(number - 1)
        );
        assert_eq!(message.content, original.content);
        assert_eq!(
            message.provenance, original.provenance,
            "made in run 1, approved there"
        );
    }
    f.check().await;
}

/// A decision on a campaign that moved meanwhile is not committed, nor is any of it.
pub async fn a_stale_campaign_is_a_conflict<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.group(&["DE", "ES"]).await;
    let start = decided(f, campaign, group).await;
    f.rerun(campaign, group).await;
    let before = f.snapshot(ACCOUNT).await;
    assert_conflict(f.store.start_run(start).await, "a stale campaign");
    before.assert_same(&f.snapshot(ACCOUNT).await, "a stale start");
    let leased = f.lease(100).await;
    assert_eq!(leased.tasks.len(), 1, "nothing of it was queued");
    f.check().await;
}

/// A decision on a group that changed meanwhile is not committed either.
pub async fn a_stale_group_is_a_conflict<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.group(&["DE", "ES"]).await;
    // The same segments with other customers, one segment more, one less.
    for countries in [["DE", "ES", "ES"], ["DE", "ES", "IT"], ["DE", "FR", "IT"]] {
        let start = decided(f, campaign, group).await;
        f.import_countries(group, &countries).await;
        let before = f.snapshot(ACCOUNT).await;
        assert_conflict(f.store.start_run(start).await, "a stale group");
        before.assert_same(&f.snapshot(ACCOUNT).await, "a stale start");
        assert_eq!(f.lease(100).await.tasks, [], "nothing of it was queued");
    }
    let start = decided(f, campaign, group).await;
    f.import_countries(group, &["DE", "FR", "IT"]).await;
    f.store
        .start_run(start)
        .await
        .expect("an unchanged import is no change of the group");
    f.check().await;
}

/// Of many simultaneous reruns exactly one is.
pub async fn one_of_many_initiates_succeeds<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR", "IT"]).await;
    let groups = [f.group(&["DE", "ES"]).await, f.group(&["DE", "FR"]).await];
    let answers = all_at_once(32, |task| {
        let engine = f.engine.clone();
        let request = RerunRequest {
            campaign,
            new_group: Some(groups[task % 2]),
            reuse_from: ReuseFrom::CurrentRun,
            allow_missing_fields: false,
        };
        async move { engine.reruns.initiate(&caller(), request, None).await }
    })
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(
        done.len(),
        1,
        "exactly one succeeds; the others: {refused:?}"
    );
    for answer in refused {
        assert!(
            matches!(answer, Err(Error::CampaignNotPublished(_))),
            "{answer:?}"
        );
    }
    let snapshot = f.snapshot(ACCOUNT).await;
    assert_eq!(snapshot.campaign(campaign).runs.len(), 2);
    let started = snapshot
        .entries
        .iter()
        .filter(|e| e.action == "rerun.initiated");
    assert_eq!(started.count(), 1);
    f.check().await;
}

/// Of many simultaneous launches exactly one is.
pub async fn one_of_many_launches_succeeds<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR"]).await;
    let campaign = f.draft(group).await;
    let answers = all_at_once(32, |_| {
        let engine = f.engine.clone();
        async move { engine.reruns.launch(&caller(), campaign, None).await }
    })
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(
        done.len(),
        1,
        "exactly one succeeds; the others: {refused:?}"
    );
    for answer in refused {
        assert!(
            matches!(
                answer,
                Err(Error::IllegalTransition(IllegalTransition::Campaign { .. }))
            ),
            "{answer:?}"
        );
    }
    assert_eq!(f.snapshot(ACCOUNT).await.campaign(campaign).runs.len(), 1);
    assert_eq!(f.lease(100).await.tasks.len(), 2);
    f.check().await;
}

/// Reruns and imports into their group at once: each run has the segments of one version of it.
pub async fn imports_and_reruns_at_once_do_not_mix<S: Store + 'static>(f: &Fixture<S>) {
    let first = f.group(&["DE"]).await;
    let mut campaigns = Vec::new();
    for _ in 0..4 {
        campaigns.push(f.draft(first).await);
    }
    let answers = all_at_once(8, |task| {
        let engine = f.engine.clone();
        let campaign = campaigns[task / 2];
        async move {
            if task % 2 == 0 {
                return engine
                    .reruns
                    .launch(&caller(), campaign, None)
                    .await
                    .map(|_| ());
            }
            // Every customer moves, so that a run sees all of them here or all of them there.
            let country = format!("country {task}");
            let rows = ["C-0", "C-1", "C-2"].map(|name| [name, country.as_str()]);
            let rows: Vec<&[&str]> = rows.iter().map(<[&str; 2]>::as_slice).collect();
            let file = crate::fixture::customer_file(&["customer_ref", "country"], &rows);
            engine
                .groups
                .import(&caller(), first, file, None)
                .await
                .map(|_| ())
        }
    })
    .await;
    for answer in answers {
        answer.expect("launches and imports all go through");
    }
    for campaign in campaigns {
        let run = f.current_run(campaign).await;
        assert_eq!(
            run.segments.total, 1,
            "customers of two versions in one run"
        );
        assert!(
            [1, 3].contains(&run.customer_count),
            "{} customers",
            run.customer_count
        );
    }
    f.check().await;
}

/// A preview foretells the rerun, and writes nothing.
pub async fn a_preview_writes_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.group(&["DE", "ES", "IT", ""]).await;
    let request = RerunRequest {
        campaign,
        new_group: Some(group),
        reuse_from: ReuseFrom::CurrentRun,
        allow_missing_fields: false,
    };
    let before = f.snapshot(ACCOUNT).await;
    let mut foretold = BTreeMap::new();
    let mut query = PageQuery {
        limit: Some(3),
        cursor: None,
    };
    loop {
        let preview = f
            .engine
            .reruns
            .preview(&caller(), request, &query)
            .await
            .unwrap();
        assert_eq!(
            preview.segments,
            SegmentCounts {
                total: 4,
                matched: 1,
                new: 3
            }
        );
        assert_eq!(preview.customer_count, 4);
        for item in preview.items.items {
            foretold.insert(item.segment.key, (item.segment, item.reuses));
        }
        match preview.items.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => break,
        }
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "a preview");
    assert_eq!(f.lease(10).await.tasks, []);
    f.rerun(campaign, group).await;
    let done = f.current(campaign).await;
    let done = done
        .into_iter()
        .map(|m| (m.segment.key, (m.segment.clone(), m.reused_from)))
        .collect();
    assert_eq!(foretold, done, "what was foretold, and what came");
}

/// A request is refused with the code of a field that nobody has, naming it.
fn assert_unknown<T: std::fmt::Debug>(answer: Result<T, Error>, field: &str) {
    match answer {
        Err(Error::UnknownSegmentField(unknown)) => assert_eq!(unknown.fields, [field]),
        other => panic!("`{field}` is not refused: {other:?}"),
    }
}

/// A campaign by `country` is neither made nor launched nor taken to a group of which nobody has
/// a country, unless the request says that this is meant. Nothing is written.
pub async fn a_field_that_nobody_has_is_refused<S: Store + 'static>(f: &Fixture<S>) {
    let (engine, who) = (&f.engine, caller());
    let campaign = f.published(&["DE", "FR", ""]).await;
    let empty = f.empty_group("Empty").await;
    let misspelt = f.empty_group("Misspelt").await;
    f.import(
        misspelt,
        &["customer_ref", "Country"],
        &[&["a", "DE"], &["b", "FR"]],
    )
    .await;
    let draft = f.draft(empty).await;
    f.import(empty, &["customer_ref", "x"], &[&["a", "y"]])
        .await;

    let rerun = |allow_missing_fields| RerunRequest {
        campaign,
        new_group: Some(misspelt),
        reuse_from: ReuseFrom::CurrentRun,
        allow_missing_fields,
    };
    let launch = |allow_missing_fields| LaunchRequest {
        campaign: draft,
        allow_missing_fields,
    };
    let create = |allow_missing_fields| NewCampaign {
        allow_missing_fields,
        ..new_campaign(misspelt, &["country"])
    };
    let page = PageQuery::default();
    let before = f.snapshot(ACCOUNT).await;
    // The second time, the counts are kept.
    for _ in 0..2 {
        let created = engine.campaigns.create(&who, create(false), None).await;
        assert_unknown(created, "country");
        let launched = engine.reruns.launch(&who, launch(false), None).await;
        assert_unknown(launched, "country");
        let previewed = engine.reruns.preview(&who, rerun(false), &page).await;
        assert_unknown(previewed, "country");
        let initiated = engine.reruns.initiate(&who, rerun(false), None).await;
        assert_unknown(initiated, "country");
    }
    let preview = engine
        .reruns
        .preview(&who, rerun(true), &page)
        .await
        .unwrap();
    let told = &preview.fields[0].coverage;
    assert_eq!(
        (told.name.as_str(), told.customers_without_value),
        ("country", 2)
    );
    before.assert_same(&f.snapshot(ACCOUNT).await, "what was refused");

    engine
        .campaigns
        .create(&who, create(true), None)
        .await
        .unwrap();
    engine
        .reruns
        .launch(&who, launch(true), None)
        .await
        .unwrap();
    let started = engine.reruns.initiate(&who, rerun(true), None).await;
    assert_eq!(started.unwrap().outcome.segments.matched, 1);
    // It was said of that request, not of the campaign.
    f.publish(campaign).await;
    let initiated = engine.reruns.initiate(&who, rerun(false), None).await;
    assert_unknown(initiated, "country");
    f.check().await;
}

/// A value of more than 1,000 characters in a field to segment by refuses the run; in another
/// field it is fine.
pub async fn a_long_value_to_segment_by_is_refused<S: Store + 'static>(f: &Fixture<S>) {
    let (engine, who) = (&f.engine, caller());
    let campaign = f.published(&["DE"]).await;
    let group = f.empty_group("Long").await;
    let draft = f.draft(group).await;
    let long = "é".repeat(1_001);
    let columns = ["customer_ref", "country", "notes"];
    f.import(group, &columns, &[&["a", "DE", &long], &["b", &long, ""]])
        .await;
    let request = RerunRequest {
        campaign,
        new_group: Some(group),
        reuse_from: ReuseFrom::CurrentRun,
        allow_missing_fields: true,
    };
    let page = PageQuery::default();
    let before = f.snapshot(ACCOUNT).await;
    for _ in 0..2 {
        for refused in [
            engine.reruns.launch(&who, draft, None).await.map(|_| ()),
            engine
                .reruns
                .preview(&who, request, &page)
                .await
                .map(|_| ()),
            engine
                .reruns
                .initiate(&who, request, None)
                .await
                .map(|_| ()),
        ] {
            match refused {
                Err(Error::Invalid(invalid)) => {
                    assert!(invalid.to_string().contains("`country`"), "{invalid}");
                }
                other => panic!("not refused: {other:?}"),
            }
        }
    }
    before.assert_same(&f.snapshot(ACCOUNT).await, "what was refused");
    f.import(group, &columns, &[&["b", &long[2..], ""]]).await;
    let started = f.rerun(campaign, group).await;
    assert_eq!((started.segments.matched, started.segments.new), (1, 1));
    f.launch(draft).await;
    f.check().await;
}

/// The current run cannot be archived, a past one is already, an unknown one is not there.
pub async fn archiving_again_changes_nothing<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE", "ES"]).await;
    f.rerun(campaign, group).await;
    f.cancel(campaign).await;
    f.rerun(campaign, group).await;
    let before = f.snapshot(ACCOUNT).await;
    let archive = async |run: i64| {
        let run = Some(run_number(run));
        let done = f
            .engine
            .reruns
            .archive(&caller(), campaign, run, None)
            .await;
        done.map(|done| done.outcome)
    };
    assert_eq!(archive(1).await.unwrap(), 0);
    assert_eq!(archive(2).await.unwrap(), 0, "a cancelled run");
    let unknown = archive(4).await;
    assert!(matches!(unknown, Err(Error::RunNotFound)), "{unknown:?}");
    let current = archive(3).await;
    assert!(
        matches!(current, Err(Error::CurrentRunArchive(_))),
        "{current:?}"
    );
    before.assert_same(&f.snapshot(ACCOUNT).await, "archiving");
}

/// The context names exactly the group that was asked for.
pub async fn the_context_has_the_wanted_group<S: Store + 'static>(f: &Fixture<S>) {
    let own = f.group(&["DE"]).await;
    let other = f.empty_group("Other").await;
    let campaign = f.draft(own).await;
    let wanted = async |wanted: WantedGroup| {
        let context = f
            .store
            .campaign_context(ACCOUNT, campaign, wanted)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(context.campaign, f.campaign(campaign).await);
        context.group.map(|group| (group.id, group.customer_count))
    };
    assert_eq!(wanted(WantedGroup::None).await, None);
    assert_eq!(wanted(WantedGroup::OfCampaign).await, Some((own, 1)));
    assert_eq!(wanted(WantedGroup::Named(other)).await, Some((other, 0)));
    let unknown = CustomerGroupId::new(f.ids.next());
    assert_eq!(wanted(WantedGroup::Named(unknown)).await, None);
    let unknown = CampaignId::new(f.ids.next());
    let none = f
        .store
        .campaign_context(ACCOUNT, unknown, WantedGroup::None)
        .await
        .unwrap();
    assert_eq!(none, None);
}

/// More segments than a statement takes at once, through the whole life of two runs.
pub async fn many_segments_go_through_a_whole_life<S: Store + 'static>(f: &Fixture<S>) {
    let texts: Vec<String> = (0..5_000).map(|n| format!("country {n}")).collect();
    let countries: Vec<&str> = texts.iter().map(String::as_str).collect();
    let group = f.group(&countries[..4_500]).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    f.generate().await;
    let ids: Vec<_> = f
        .current(campaign)
        .await
        .iter()
        .map(|m| Some(m.id))
        .collect();
    let (some, rest) = ids.split_at(3_000);
    for part in [some, rest] {
        let named = ReviewedMessages::Named(part.to_vec());
        let approve = Decision::Approve;
        let done = f
            .engine
            .reviews
            .review(&caller(), campaign, &approve, &named, None, None)
            .await
            .unwrap();
        assert_eq!(usize::try_from(done.outcome.messages), Ok(part.len()));
    }
    f.publish(campaign).await;
    let group = f.group(&countries[500..]).await;
    let started = f.rerun(campaign, group).await;
    assert_eq!(
        started.segments,
        SegmentCounts {
            total: 4_500,
            matched: 4_000,
            new: 500
        }
    );
    let named: Vec<_> = f
        .current(campaign)
        .await
        .iter()
        .map(|m| Some(m.id))
        .collect();
    f.generate().await;
    let again = f
        .engine
        .reviews
        .regenerate(&caller(), campaign, &named, None)
        .await
        .unwrap();
    assert_eq!(again.outcome.messages, 4_500);
    let leased = f.lease(4_500).await;
    assert_eq!(leased.tasks.len(), 4_500, "as many as were asked for");
    let settled = f.settle(&leased, |task| Ok(generated(task))).await;
    assert_eq!(settled.generated, 4_500);
    f.finish(campaign).await;
    let page = PageRequest {
        limit: Limit::default(),
        after: None,
    };
    let diff = f
        .store
        .diff(ACCOUNT, campaign, run_number(1), run_number(2), page)
        .await;
    let counts = diff.unwrap().unwrap().counts;
    assert_eq!(
        (counts.added, counts.removed, counts.kept_changed),
        (500, 500, 4_000)
    );
    f.check().await;
}

/// A message whose content has a placeholder, from before placeholders were looked for or from
/// elsewhere, is not reused: its segment is new, and the history keeps what was published.
pub async fn content_with_a_placeholder_is_not_reused<S: Store + 'static>(f: &Fixture<S>) {
    let group = f.group(&["DE", "FR", "IT"]).await;
    let countries = [Some("DE"), Some("FR"), Some("IT")];
    let mut messages = messages_from_elsewhere(f, &countries);
    messages[0].content.body = "Dear {{ first_name }}".into();
    messages[1].content.subject = "Dear {{first_name}}".into();
    let (campaign, _) = f.import_campaign(group, messages.clone()).await.unwrap();
    let campaign = campaign.id;
    for from in [ReuseFrom::CurrentRun, ReuseFrom::AnyRun] {
        let started = f.try_rerun(campaign, group, from).await.unwrap().outcome;
        assert_eq!(
            (started.segments.matched, started.segments.new),
            (1, 2),
            "{from:?}"
        );
        assert_eq!(f.message(campaign, "IT").await.source, Source::Reused);
        assert_eq!(f.message(campaign, "FR").await.source, Source::Generated);
        f.check().await;
        f.cancel(campaign).await;
    }
    // An older message without one is reused.
    let start = f.try_rerun(campaign, group, ReuseFrom::AnyRun).await;
    start.unwrap();
    f.finish(campaign).await;
    let started = f.try_rerun(campaign, group, ReuseFrom::AnyRun).await;
    assert_eq!(started.unwrap().outcome.segments.matched, 3);
    let before: Vec<_> = messages
        .into_iter()
        .map(|message| message.content)
        .collect();
    let kept = f.of_run(campaign, 1).await.into_iter();
    let kept: Vec<_> = kept.filter_map(|message| message.content.clone()).collect();
    assert_eq!(kept, before, "the history");
    f.check().await;
}
