//! Schedules: how they are made, changed, listed and deleted.

use std::time::Duration;

use chrono::TimeDelta;
use rerun_core::Timestamp;
use rerun_core::error::Error;
use rerun_core::ids::{CustomerGroupId, ScheduleId};
use rerun_core::ports::Store;
use rerun_core::schedule::{Firing, Outcome, Overlap, ScheduleStatus, When};
use rerun_core::usecases::{
    Fired, NewSchedule, PageQuery, ScheduleChanges, ScheduleDetails, Settings,
};
use uuid::Uuid;

use crate::fixture::{
    ACCOUNT, Fixture, all_at_once, caller, colleague, every_page, hourly, stranger,
};

pub(super) const HOUR: Duration = Duration::from_hours(1);

async fn create<S: Store + 'static>(f: &Fixture<S>, new: NewSchedule) -> ScheduleDetails {
    let made = f.engine.schedules.create(&caller(), new, None).await;
    made.unwrap().outcome
}

pub(super) async fn scheduled<S: Store + 'static>(f: &Fixture<S>, new: NewSchedule) -> ScheduleId {
    create(f, new).await.view.schedule.id
}

pub(super) async fn get<S: Store + 'static>(f: &Fixture<S>, id: ScheduleId) -> ScheduleDetails {
    f.engine.schedules.get(&caller(), id).await.unwrap()
}

/// Has a server take what is due, until nothing is.
pub(super) async fn fire<S: Store + 'static>(f: &Fixture<S>) -> Vec<Fired> {
    let mut all = Vec::new();
    loop {
        let due = f.engine.schedules.lease(10).await.unwrap();
        if due.is_empty() {
            return all;
        }
        for one in due {
            all.extend(f.engine.schedules.fire(one).await.unwrap());
        }
    }
}

/// The firings of a schedule, oldest first.
pub(super) async fn firings<S: Store + 'static>(f: &Fixture<S>, id: ScheduleId) -> Vec<Firing> {
    let page = PageQuery::default();
    let firings = f.engine.schedules.firings(&caller(), id, None, &page).await;
    let mut firings = firings.unwrap().items;
    firings.reverse();
    firings
}

pub(super) async fn outcomes<S: Store + 'static>(f: &Fixture<S>, id: ScheduleId) -> Vec<Outcome> {
    firings(f, id).await.iter().map(|one| one.outcome).collect()
}

pub(super) fn hours_after(start: Timestamp, hours: i64) -> Timestamp {
    start + TimeDelta::hours(hours)
}

/// A schedule has what it was made with, and each change of it is in the log.
pub async fn a_schedule_comes_back_as_it_was_made<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["DE", "FR"]).await;
    let start = f.now();
    let new = NewSchedule {
        customer_group: Some(group),
        when: None,
        jitter_seconds: Some(0),
        ends_at: Some(hours_after(start, 100)),
        ..hourly(campaign)
    };
    let made = create(f, new).await;
    let schedule = &made.view.schedule;
    assert_eq!(schedule.customer_group_id, Some(group));
    assert_eq!(
        (schedule.when, schedule.overlap),
        (When::GroupChanged, Overlap::Skip)
    );
    assert_eq!(
        (schedule.catch_up_seconds, schedule.jitter_seconds),
        (86_400, 0)
    );
    assert_eq!(schedule.state.next_time, Some(hours_after(start, 1)));
    assert_eq!(made.next_times.len(), 5);
    assert_eq!(made.next_times[4], hours_after(start, 5));
    let id = schedule.id;
    assert_eq!(get(f, id).await, made);
    let schedules = &f.engine.schedules;
    let changes = ScheduleChanges {
        name: Some("Every two hours".into()),
        cron: Some("120".into()),
        overlap: Some(Overlap::Wait),
        ..ScheduleChanges::default()
    };
    let updated = schedules.update(&caller(), id, changes.clone(), None).await;
    let updated = updated.unwrap().outcome;
    assert_eq!(
        updated.next_times[0],
        hours_after(start, 2) - TimeDelta::hours(1)
    );
    assert_eq!(updated.view.schedule.name, "Every two hours");
    // The same again changes nothing, later either.
    let before = get(f, id).await.view;
    f.seconds_later(1);
    let again = schedules.update(&caller(), id, changes, None).await;
    assert_eq!(again.unwrap().outcome.view, before);
    assert_eq!(get(f, id).await.view, before);
    let paused = schedules
        .pause(&colleague(), id, Some("Holidays"), None)
        .await;
    let paused = paused.unwrap().outcome;
    assert_eq!(paused.view.schedule.state.status, ScheduleStatus::Paused);
    assert_eq!(paused.view.schedule.state.note.as_deref(), Some("Holidays"));
    assert!(paused.next_times.is_empty());
    f.clock.advance(HOUR * 3);
    assert_eq!(fire(f).await, []);
    let resumed = schedules.resume(&caller(), id, None).await.unwrap().outcome;
    assert_eq!(resumed.view.schedule.state.status, ScheduleStatus::Active);
    assert_eq!(resumed.view.schedule.state.note, None);
    assert!(
        resumed.next_times[0] > f.now(),
        "times that passed are gone"
    );
    let read = get(f, id).await;
    assert_eq!(read.view.schedule.state, resumed.view.schedule.state);
    assert_eq!(read.next_times, resumed.next_times);
    schedules.delete(&caller(), id, None).await.unwrap();
    let gone = schedules.get(&caller(), id).await;
    assert!(matches!(gone, Err(Error::ScheduleNotFound)));
    let entries = f.entries(ACCOUNT).await;
    let actions = entries.iter().map(|entry| entry.action.as_str());
    let actions: Vec<&str> = actions
        .filter(|action| action.starts_with("schedule."))
        .collect();
    let mut expected = vec![
        "schedule.created",
        "schedule.updated",
        "schedule.paused",
        "schedule.resumed",
        "schedule.deleted",
    ];
    if actions.first() == Some(&"schedule.deleted") {
        expected.reverse();
    }
    assert_eq!(actions, expected);
    f.check().await;
}

/// A group of a schedule cannot be deleted until the schedule is, though it has ended.
pub async fn a_schedule_holds_its_group<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let group = f.group(&["FR"]).await;
    let new = NewSchedule {
        cron: None,
        at: Some(hours_after(f.now(), 1)),
        customer_group: Some(group),
        ..hourly(campaign)
    };
    let id = scheduled(f, new).await;
    let groups = &f.engine.groups;
    let refused = groups.delete(&caller(), group, None).await;
    assert!(matches!(refused, Err(Error::GroupInUse)), "{refused:?}");
    f.clock.advance(HOUR);
    fire(f).await;
    f.cancel(campaign).await;
    let state = get(f, id).await.view.schedule.state;
    assert_eq!(state.status, ScheduleStatus::Ended);
    let refused = groups.delete(&caller(), group, None).await;
    assert!(matches!(refused, Err(Error::GroupInUse)), "{refused:?}");
    let schedules = &f.engine.schedules;
    schedules.delete(&caller(), id, None).await.unwrap();
    groups.delete(&caller(), group, None).await.unwrap();
    let unknown = CustomerGroupId::new(Uuid::from_u128(9));
    for group in [unknown, group] {
        let new = NewSchedule {
            customer_group: Some(group),
            ..hourly(campaign)
        };
        let refused = schedules.create(&caller(), new, None).await;
        assert!(matches!(refused, Err(Error::CustomerGroupNotFound)));
    }
}

/// An account has no more schedules than it may have, made at once or one after the other.
pub async fn an_account_has_a_number_of_schedules<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let engine = f.engine_with(Settings {
        schedules_per_account: 3,
        ..Settings::default()
    });
    let made = all_at_once(8, move |_| {
        let engine = engine.clone();
        async move {
            engine
                .schedules
                .create(&caller(), hourly(campaign), None)
                .await
        }
    })
    .await;
    let good = made.iter().filter(|made| made.is_ok()).count();
    assert!((1..=3).contains(&good), "{made:?}");
    let page = PageQuery::default();
    let known = f.engine.schedules.list(&caller(), &page).await.unwrap();
    assert_eq!(known.items.len(), good);
    // Refused ones leave nothing.
    let entries = f.entries(ACCOUNT).await;
    let created = entries
        .iter()
        .filter(|entry| entry.action == "schedule.created");
    assert_eq!(created.count(), good);
}

/// Schedules are listed newest first, with their last firings, page by page.
pub async fn schedules_are_listed_newest_first<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(scheduled(f, hourly(campaign)).await);
        f.seconds_later(1);
    }
    ids.reverse();
    f.engine
        .schedules
        .trigger(&caller(), ids[1], None)
        .await
        .unwrap();
    let store = f.store.as_ref();
    let all = every_page(2, async |page| {
        store.list_schedules(ACCOUNT, page).await.unwrap()
    })
    .await;
    let found: Vec<_> = all.iter().map(|view| view.schedule.id).collect();
    assert_eq!(found, ids);
    let fired: Vec<_> = all.iter().map(|view| view.last_firing.is_some()).collect();
    assert_eq!(fired, [false, true, false, false, false]);
}

/// Nobody reaches another account's schedule.
pub async fn another_accounts_schedule_is_not_found<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let id = scheduled(f, hourly(campaign)).await;
    let before = get(f, id).await;
    let (who, schedules) = (stranger(), &f.engine.schedules);
    let page = PageQuery::default();
    assert!(matches!(
        schedules.create(&who, hourly(campaign), None).await,
        Err(Error::CampaignNotFound)
    ));
    let changes = ScheduleChanges {
        name: Some("Mine".into()),
        ..ScheduleChanges::default()
    };
    let errors = [
        schedules.get(&who, id).await.err(),
        schedules.update(&who, id, changes, None).await.err(),
        schedules.pause(&who, id, None, None).await.err(),
        schedules.resume(&who, id, None).await.err(),
        schedules.delete(&who, id, None).await.err(),
        schedules.trigger(&who, id, None).await.err(),
        schedules.firings(&who, id, None, &page).await.err(),
    ];
    for error in errors {
        assert!(matches!(error, Some(Error::ScheduleNotFound)), "{error:?}");
    }
    assert_eq!(schedules.list(&who, &page).await.unwrap().items, []);
    assert_eq!(get(f, id).await, before);
}

/// A key keeps the response of each endpoint that writes.
pub async fn a_key_keeps_what_was_done_to_a_schedule<S: Store + 'static>(f: &Fixture<S>) {
    let campaign = f.published(&["DE"]).await;
    let (who, schedules) = (caller(), &f.engine.schedules);
    let first = schedules
        .create(&who, hourly(campaign), Some("c"))
        .await
        .unwrap();
    f.seconds_later(10);
    let again = schedules
        .create(&who, hourly(campaign), Some("c"))
        .await
        .unwrap();
    assert!(again.replayed);
    assert_eq!(again.outcome, first.outcome);
    let id = first.outcome.view.schedule.id;
    let other = NewSchedule {
        name: "Another".into(),
        ..hourly(campaign)
    };
    let reused = schedules.create(&who, other, Some("c")).await;
    assert!(matches!(reused, Err(Error::IdempotencyKeyReused)));
    let paused = schedules
        .pause(&who, id, Some("x"), Some("p"))
        .await
        .unwrap();
    schedules.resume(&who, id, Some("r")).await.unwrap();
    let again = schedules
        .pause(&who, id, Some("x"), Some("p"))
        .await
        .unwrap();
    assert!(again.replayed);
    assert_eq!(again.outcome, paused.outcome);
    assert_eq!(
        get(f, id).await.view.schedule.state.status,
        ScheduleStatus::Active
    );
    schedules.delete(&who, id, Some("d")).await.unwrap();
    assert!(
        schedules
            .delete(&who, id, Some("d"))
            .await
            .unwrap()
            .replayed
    );
}
