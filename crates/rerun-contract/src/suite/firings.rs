//! Firings: each time of a schedule fires once, and what becomes of it is written down.

use std::time::Duration;

use chrono::TimeDelta;
use rerun_core::actor::{Actor, Person};
use rerun_core::campaign::CampaignStatus;
use rerun_core::ids::UserId;
use rerun_core::ports::{FiringChange, SettleFirings, Store};
use rerun_core::schedule::{Firing, FiringKey, Outcome, Overlap, ScheduleStatus, When};
use rerun_core::usecases::{NewSchedule, PageQuery, ScheduleChanges};
use uuid::Uuid;

use super::schedules::{HOUR, fire, firings, get, hours_after, outcomes, scheduled};
use crate::fixture::{
    ACCOUNT, Fixture, all_at_once, assert_conflict, caller, colleague, every_page, first_page,
    hourly, page_of, run_number,
};
use crate::ports::OUTSIDER;

/// A time starts one run, which names the schedule and its creator, and a firing.
pub async fn a_time_starts_one_run<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let start = f.now();
    let id = scheduled(f, hourly(campaign)).await;
    assert_eq!(fire(f).await, [], "nothing is due");
    f.clock.advance(HOUR);
    let fired = fire(f).await;
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0].late_millis, Some(0));
    let run = f.current_run(campaign).await;
    assert_eq!(run.number, run_number(2));
    assert_eq!(run.schedule_id, Some(id));
    assert_eq!(run.initiated_by, caller().user_id());
    let expected = Firing {
        key: FiringKey {
            scheduled_for: hours_after(start, 1),
            triggered: false,
        },
        fired_at: f.now(),
        outcome: Outcome::Started,
        run_number: Some(run_number(2)),
        reason: None,
    };
    assert_eq!(firings(f, id).await, std::slice::from_ref(&expected));
    assert_eq!(get(f, id).await.view.last_firing, Some(expected));
    let entries = f.entries(ACCOUNT).await;
    let started = entries
        .iter()
        .find(|entry| entry.action == "rerun.initiated");
    assert!(started.unwrap().details.contains(&id.to_string()));
    assert_eq!(fire(f).await, [], "once");
    // Nothing is published by it, with every message reused either.
    assert_eq!(
        f.campaign(campaign).await.status,
        CampaignStatus::ReadyToPublish
    );
    f.check().await;
}

/// Servers that decide at the same time start one run between them.
pub async fn servers_at_once_fire_each_time_once<S: Store + 'static>(f: &Fixture<S>) {
    let mut schedules = Vec::new();
    for _ in 0..3 {
        let campaign = f.published(&["DE"]).await;
        schedules.push((campaign, scheduled(f, hourly(campaign)).await));
    }
    f.clock.advance(HOUR);
    let due: Vec<_> = f.engine.schedules.lease(10).await.unwrap();
    assert_eq!(due.len(), 3);
    // As if no lease kept them apart.
    let engine = f.engine.clone();
    let fired = all_at_once(12, move |n| {
        let (engine, due) = (engine.clone(), due.clone());
        async move {
            let one = due[n % due.len()];
            engine.schedules.fire(one).await
        }
    })
    .await;
    let started = fired.iter().filter(
        |fired| matches!(fired, Ok(Some(fired)) if fired.firing.outcome == Outcome::Started),
    );
    assert_eq!(started.count(), 3);
    for (campaign, id) in schedules {
        assert_eq!(outcomes(f, id).await, [Outcome::Started]);
        assert_eq!(f.campaign(campaign).await.last_run, Some(run_number(2)));
    }
    f.check().await;
}

/// Whoever watches sees how long a time has been due, leased or not, until it fires.
pub async fn an_operator_sees_that_nothing_fires<S: Store + 'static>(f: &Fixture<S>) {
    let start = f.now();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let campaign = f.published(&["DE"]).await;
        ids.push(scheduled(f, hourly(campaign)).await);
    }
    let due_since = async || f.store.schedule_due_since(f.now()).await.unwrap();
    assert_eq!(due_since().await, None);
    f.clock.set(hours_after(start, 2) - TimeDelta::minutes(1));
    assert_eq!(due_since().await, Some(hours_after(start, 1)));
    let schedules = &f.engine.schedules;
    schedules
        .pause(&caller(), ids[0], None, None)
        .await
        .unwrap();
    assert_eq!(schedules.lease(10).await.unwrap().len(), 1);
    assert_eq!(due_since().await, Some(hours_after(start, 1)));
    f.seconds_later(31);
    fire(f).await;
    assert_eq!(due_since().await, None);
}

/// A lease keeps others away until it ends, or until the clock is set back.
pub async fn a_lease_keeps_others_away_until_it_ends<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let id = scheduled(f, hourly(campaign)).await;
    f.clock.advance(HOUR);
    let schedules = &f.engine.schedules;
    assert_eq!(schedules.lease(10).await.unwrap().len(), 1);
    assert_eq!(schedules.lease(10).await.unwrap(), []);
    f.seconds_later(31);
    assert_eq!(schedules.lease(10).await.unwrap().len(), 1, "it ended");
    assert_eq!(schedules.lease(10).await.unwrap(), []);
    f.clock.set(f.now() - TimeDelta::seconds(31));
    let due = schedules.lease(10).await.unwrap();
    assert_eq!(due.len(), 1, "it was given later than now");
    schedules.fire(due[0]).await.unwrap();
    assert_eq!(outcomes(f, id).await, [Outcome::Started]);
}

/// `group_changed`: an import, a deletion and another group are changes; time alone is none.
pub async fn an_unchanged_group_is_skipped<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.current_run(campaign).await.group.id;
    let new = NewSchedule {
        when: Some(When::GroupChanged),
        ..hourly(campaign)
    };
    let id = scheduled(f, new).await;
    let next = async || {
        f.clock.advance(HOUR);
        let fired = fire(f).await;
        f.generate().await;
        if f.campaign(campaign).await.status != CampaignStatus::Published {
            f.finish(campaign).await;
        }
        fired[0].firing.outcome
    };
    assert_eq!(next().await, Outcome::SkippedUnchanged);
    f.import_countries(group, &["ES"]).await;
    assert_eq!(next().await, Outcome::Started);
    assert_eq!(next().await, Outcome::SkippedUnchanged);
    let page = PageQuery::default();
    let customers = f
        .engine
        .groups
        .customers(&caller(), group, None, &page)
        .await;
    let reference = customers.unwrap().items[0].customer_ref.clone();
    let deleted = f
        .engine
        .groups
        .delete_customers(&caller(), group, &[reference], None)
        .await;
    assert_eq!(deleted.unwrap().outcome.deleted_customers, 1);
    assert_eq!(next().await, Outcome::Started);
    let other = f.group(&["DE"]).await;
    let changes = ScheduleChanges {
        customer_group: Some(other),
        ..ScheduleChanges::default()
    };
    let updated = f
        .engine
        .schedules
        .update(&caller(), id, changes, None)
        .await;
    updated.unwrap();
    assert_eq!(next().await, Outcome::Started);
    assert_eq!(next().await, Outcome::SkippedUnchanged);
    f.check().await;
}

/// `new_segments`: a rerun needs at least one segment without a message to reuse.
pub async fn a_group_without_new_segments_is_skipped<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE", "FR"]).await;
    let group = f.current_run(campaign).await.group.id;
    let new = NewSchedule {
        when: Some(When::NewSegments),
        ..hourly(campaign)
    };
    let id = scheduled(f, new).await;
    f.clock.advance(HOUR);
    fire(f).await;
    let rows: &[&[&str]] = &[&["new-customer", "DE"]];
    f.import(group, &["customer_ref", "country"], rows).await;
    f.clock.advance(HOUR);
    fire(f).await;
    let rows: &[&[&str]] = &[&["other-customer", "ES"]];
    f.import(group, &["customer_ref", "country"], rows).await;
    f.clock.advance(HOUR);
    fire(f).await;
    let (unchanged, started) = (Outcome::SkippedUnchanged, Outcome::Started);
    assert_eq!(outcomes(f, id).await, [unchanged, unchanged, started]);
    assert_eq!(f.current_run(campaign).await.segments.new, 1);
}

/// Of the times that passed while no server ran, the last is made up for, if it is not too old.
pub async fn the_last_missed_time_is_made_up_for<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let start = f.now();
    let id = scheduled(f, hourly(campaign)).await;
    f.clock.advance(HOUR * 5 + HOUR / 2);
    let fired = fire(f).await;
    assert_eq!((fired.len(), fired[0].missed), (1, 4));
    assert_eq!(fired[0].late_millis, Some(1_800_000));
    assert_eq!(fired[0].firing.key.scheduled_for, hours_after(start, 5));
    let (missed, started) = (Outcome::Missed, Outcome::Started);
    assert_eq!(
        outcomes(f, id).await,
        [missed, missed, missed, missed, started]
    );
    // No more than one entry for all of them.
    let entries = f.entries(ACCOUNT).await;
    let skipped = entries
        .iter()
        .filter(|entry| entry.action == "schedule.skipped");
    assert_eq!(skipped.count(), 1);
    f.check().await;
}

/// A time that is older than the catch-up window is missed, and the schedule goes on.
pub async fn what_is_too_old_is_missed<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let new = NewSchedule {
        catch_up_seconds: Some(600),
        ..hourly(campaign)
    };
    let id = scheduled(f, new).await;
    f.clock.advance(HOUR + Duration::from_secs(601));
    fire(f).await;
    assert_eq!(outcomes(f, id).await, [Outcome::Missed]);
    f.clock.advance(HOUR);
    fire(f).await;
    assert_eq!(outcomes(f, id).await, [Outcome::Missed, Outcome::Missed]);
    f.clock
        .set(f.now() - TimeDelta::seconds(1) + TimeDelta::hours(1) - TimeDelta::seconds(600));
    fire(f).await;
    assert_eq!(outcomes(f, id).await.last(), Some(&Outcome::Started));
    // A single time ends the schedule, made up for or not.
    let new = NewSchedule {
        cron: None,
        at: Some(f.now() + TimeDelta::hours(1)),
        catch_up_seconds: Some(0),
        ..hourly(campaign)
    };
    let once = scheduled(f, new).await;
    f.clock.advance(HOUR * 2);
    fire(f).await;
    assert_eq!(outcomes(f, once).await, [Outcome::Missed]);
    assert_eq!(
        get(f, once).await.view.schedule.state.status,
        ScheduleStatus::Ended
    );
}

/// Thousands of times that passed are written down in parts, each once.
pub async fn a_long_outage_is_written_down<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let new = NewSchedule {
        cron: Some("15".into()),
        ..hourly(campaign)
    };
    let id = scheduled(f, new).await;
    f.clock.advance(HOUR * 300);
    let fired = fire(f).await;
    assert_eq!(fired.len(), 1);
    let store = f.store.as_ref();
    let all = every_page(100, async |page| {
        store.firings(ACCOUNT, id, None, page).await.unwrap()
    })
    .await;
    assert_eq!(all.len(), 1_200);
    assert!(all.windows(2).all(|pair| pair[0].key > pair[1].key));
    assert_eq!(all[0].outcome, Outcome::Started);
    assert!(
        all[1..]
            .iter()
            .all(|firing| firing.outcome == Outcome::Missed)
    );
    let missed = store
        .firings(ACCOUNT, id, Some(Outcome::Missed), page_of(2, None))
        .await
        .unwrap();
    assert_eq!((missed.items.len(), missed.next), (2, Some(all[2].key)));
    assert_eq!(missed.items, all[1..3]);
}

/// A clock that is set back fires nothing twice; one that is set forward is like an outage.
pub async fn a_clock_that_changes_fires_nothing_twice<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let start = f.now();
    let id = scheduled(f, hourly(campaign)).await;
    f.clock.advance(HOUR);
    fire(f).await;
    f.publish(campaign).await;
    f.clock.set(start);
    assert_eq!(fire(f).await, []);
    f.clock.set(hours_after(start, 1));
    assert_eq!(fire(f).await, [], "its time has been");
    f.clock.set(hours_after(start, 3));
    fire(f).await;
    let (missed, started) = (Outcome::Missed, Outcome::Started);
    assert_eq!(outcomes(f, id).await, [started, missed, started]);
}

/// Times that pass while a schedule is paused have no firings.
pub async fn a_pause_is_not_made_up_for<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let id = scheduled(f, hourly(campaign)).await;
    let schedules = &f.engine.schedules;
    f.clock.advance(HOUR);
    let due = schedules.lease(10).await.unwrap();
    schedules.pause(&caller(), id, None, None).await.unwrap();
    let fired = schedules.fire(due[0]).await.unwrap();
    assert_eq!(fired, None, "paused after a server leased it");
    f.clock.advance(HOUR * 2 + HOUR / 2);
    assert_eq!(fire(f).await, []);
    schedules.resume(&caller(), id, None).await.unwrap();
    assert_eq!(fire(f).await, []);
    f.clock.advance(HOUR / 2);
    fire(f).await;
    assert_eq!(outcomes(f, id).await, [Outcome::Started]);
}

/// A campaign that is deleted refuses each time; five refusals in a row pause the schedule.
pub async fn five_refusals_pause_a_schedule<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let id = scheduled(f, hourly(campaign)).await;
    let deleted = f.engine.campaigns.delete(&caller(), campaign, None).await;
    deleted.unwrap();
    for _ in 0..7 {
        f.clock.advance(HOUR);
        fire(f).await;
    }
    let all = firings(f, id).await;
    assert_eq!(all.len(), 5);
    for firing in all {
        assert_eq!(firing.outcome, Outcome::Refused);
        assert_eq!(firing.reason.as_deref(), Some("campaign_not_found"));
    }
    let state = get(f, id).await.view.schedule.state;
    assert_eq!(state.status, ScheduleStatus::Paused);
    assert!(state.note.unwrap().contains("campaign_not_found"));
    let entries = f.entries(ACCOUNT).await;
    let of = |action: &str| {
        entries
            .iter()
            .filter(|entry| entry.action == action)
            .count()
    };
    assert_eq!((of("schedule.skipped"), of("schedule.paused")), (5, 1));
}

/// What the creator's role may not do any more is refused; so is a group that is empty.
pub async fn refusals_have_their_codes<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let user = UserId::new(Uuid::from_u128(77));
    let outsider = Actor::person(ACCOUNT, Person::new(user, OUTSIDER));
    let schedules = &f.engine.schedules;
    let made = schedules.create(&outsider, hourly(campaign), None).await;
    let not_allowed = made.unwrap().outcome.view.schedule.id;
    let new = NewSchedule {
        customer_group: Some(f.empty_group("Empty").await),
        ..hourly(campaign)
    };
    let empty = scheduled(f, new).await;
    f.clock.advance(HOUR);
    fire(f).await;
    for (id, code) in [
        (not_allowed, "unauthorized"),
        (empty, "empty_customer_group"),
    ] {
        let firing = &firings(f, id).await[0];
        assert_eq!(firing.outcome, Outcome::Refused);
        assert_eq!(firing.reason.as_deref(), Some(code));
    }
    assert_eq!(f.campaign(campaign).await.last_run, Some(run_number(1)));
}

/// The group of the current run was deleted while another run was current: the time is refused.
pub async fn a_deleted_group_is_refused<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.current_run(campaign).await.group.id;
    let other = f.group(&["DE", "FR"]).await;
    f.rerun(campaign, other).await;
    let groups = &f.engine.groups;
    groups.delete(&caller(), group, None).await.unwrap();
    f.cancel(campaign).await;
    let id = scheduled(f, hourly(campaign)).await;
    f.clock.advance(HOUR);
    fire(f).await;
    let firing = &firings(f, id).await[0];
    assert_eq!(firing.outcome, Outcome::Refused);
    assert_eq!(firing.reason.as_deref(), Some("customer_group_not_found"));
    assert_eq!(f.campaign(campaign).await.last_run, Some(run_number(2)));
}

/// A trigger adds a firing, moves no time, and is done once for its key.
pub async fn a_trigger_moves_no_time<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let start = f.now();
    let id = scheduled(f, hourly(campaign)).await;
    f.clock.set(hours_after(start, 1));
    let schedules = &f.engine.schedules;
    let first = schedules
        .trigger(&colleague(), id, Some("key"))
        .await
        .unwrap();
    let again = schedules
        .trigger(&colleague(), id, Some("key"))
        .await
        .unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.outcome, again.outcome);
    assert_eq!(first.outcome.firing.outcome, Outcome::Started);
    let run = f.current_run(campaign).await;
    assert_eq!(run.initiated_by, caller().user_id(), "the creator");
    let entries = f.entries(ACCOUNT).await;
    let started = entries
        .iter()
        .find(|entry| entry.action == "rerun.initiated");
    assert_eq!(started.unwrap().user_id, colleague().user_id());
    // The time of the same instant has a firing of its own.
    fire(f).await;
    let all = firings(f, id).await;
    let keys: Vec<_> = all
        .iter()
        .map(|one| (one.key.triggered, one.outcome))
        .collect();
    assert_eq!(
        keys,
        [(false, Outcome::SkippedOverlap), (true, Outcome::Started)]
    );
    assert_eq!(all[0].key.scheduled_for, all[1].key.scheduled_for);
    f.check().await;
}

/// A firing that waits and is waited for by a trigger: the trigger passes.
pub async fn a_trigger_does_not_wait_beside_another<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let new = NewSchedule {
        overlap: Some(Overlap::Wait),
        ..hourly(campaign)
    };
    let id = scheduled(f, new).await;
    let group = f.current_run(campaign).await.group.id;
    f.rerun(campaign, group).await;
    let schedules = &f.engine.schedules;
    let trigger = async || {
        f.seconds_later(1);
        let firing = schedules.trigger(&caller(), id, None).await;
        firing.unwrap().outcome.firing.outcome
    };
    assert_eq!(trigger().await, Outcome::Waiting);
    assert_eq!(trigger().await, Outcome::SkippedOverlap);
    f.publish(campaign).await;
    fire(f).await;
    assert_eq!(
        outcomes(f, id).await,
        [Outcome::Started, Outcome::SkippedOverlap]
    );
}

/// What was decided on an older version of a schedule, or about a time that has a firing, is not
/// written.
pub async fn a_stale_decision_is_not_written<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let id = scheduled(f, hourly(campaign)).await;
    let seen = get(f, id).await.view.schedule;
    let firing = |scheduled_for| Firing {
        key: FiringKey {
            scheduled_for,
            triggered: false,
        },
        fired_at: f.now(),
        outcome: Outcome::Missed,
        run_number: None,
        reason: None,
    };
    let settle = |schedule: &rerun_core::schedule::Schedule, time| SettleFirings {
        change: FiringChange {
            state: schedule.state.clone(),
            schedule: schedule.clone(),
            firings: vec![firing(time)],
            audits: Vec::new(),
        },
        response: None,
        now: f.now(),
    };
    let first = f.now();
    f.store.settle_firings(settle(&seen, first)).await.unwrap();
    let stale = f
        .store
        .settle_firings(settle(&seen, hours_after(first, 1)))
        .await;
    assert_conflict(stale, "an older version");
    let seen = get(f, id).await.view.schedule;
    let again = f.store.settle_firings(settle(&seen, first)).await;
    assert_conflict(again, "a time that has a firing");
    let all = f
        .store
        .firings(ACCOUNT, id, None, first_page())
        .await
        .unwrap();
    assert_eq!(all.items, [firing(first)]);
    assert_eq!(get(f, id).await.view.schedule, seen);
}

/// Whatever starts a rerun, and whatever it is to do: only people publish it. Every message is approved
/// each time, so that publishing is all that is left.
pub async fn no_schedule_ever_publishes<S: Store + 'static>(f: &Fixture<S>) {
    let schedules = &f.engine.schedules;
    let mut by_people = 0;
    for (when, overlap) in When::ALL
        .iter()
        .flat_map(|when| Overlap::ALL.iter().map(move |overlap| (*when, *overlap)))
    {
        let campaign = f.published(&["DE"]).await;
        by_people += 1;
        let group = f.current_run(campaign).await.group.id;
        let new = NewSchedule {
            when: Some(when),
            overlap: Some(overlap),
            ..hourly(campaign)
        };
        let id = scheduled(f, new).await;
        let only_approved = async |what: &str| {
            f.generate().await;
            f.approve(campaign).await;
            let status = f.campaign(campaign).await.status;
            assert_eq!(
                status,
                CampaignStatus::ReadyToPublish,
                "{when}, {overlap}, {what}"
            );
        };
        for (country, way) in [("ES", "due"), ("FR", "caught up"), ("IT", "triggered")] {
            f.import_countries(group, &[country]).await;
            match way {
                "due" => f.clock.advance(HOUR),
                "caught up" => f.clock.advance(HOUR * 5),
                _ => {
                    schedules.trigger(&caller(), id, None).await.unwrap();
                }
            }
            fire(f).await;
            only_approved(way).await;
            // The next time comes while the run waits to be published.
            f.import_countries(group, &["PT"]).await;
            f.clock.advance(HOUR);
            fire(f).await;
            only_approved("beside an approved run").await;
            f.publish(campaign).await;
            by_people += 1;
            // What waited starts.
            let waited = fire(f).await;
            assert_eq!(waited.len(), usize::from(overlap == Overlap::Wait));
            if waited.iter().any(|fired| fired.run.is_some()) {
                only_approved("after it waited").await;
                f.publish(campaign).await;
                by_people += 1;
            }
        }
        schedules.pause(&caller(), id, None, None).await.unwrap();
    }
    let entries = f.entries(ACCOUNT).await;
    let published = entries
        .iter()
        .filter(|entry| entry.action == "campaign.published");
    assert_eq!(published.count(), by_people);
    f.check().await;
}
