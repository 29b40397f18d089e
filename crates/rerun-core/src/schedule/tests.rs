use chrono::TimeDelta;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::status::CampaignStatus;

fn at(minutes: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + TimeDelta::minutes(minutes)
}

/// An active one.
pub(crate) fn schedule() -> Schedule {
    Schedule {
        account_id: AccountId::new(Uuid::from_u128(1)),
        id: ScheduleId::new(Uuid::from_u128(2)),
        campaign_id: CampaignId::new(Uuid::from_u128(3)),
        name: "Mondays".into(),
        timing: Timing::Cron("0 9 * * 1".into()),
        time_zone: "UTC".into(),
        customer_group_id: None,
        reuse_from: ReuseFrom::CurrentRun,
        when: When::GroupChanged,
        overlap: Overlap::Skip,
        catch_up_seconds: 3_600,
        jitter_seconds: 0,
        ends_at: None,
        state: ScheduleState {
            status: ScheduleStatus::Active,
            note: None,
            next_time: Some(at(0)),
            due_at: Some(at(0)),
            waiting: None,
            refusals: 0,
        },
        version: 1,
        created_by: UserId::new(Uuid::from_u128(4)),
        created_by_name: None,
        role_code: "ADMIN".into(),
        created_at: at(-60),
        updated_at: at(-60),
    }
}

fn context(status: CampaignStatus) -> Context {
    Context {
        is_late_allowed: false,
        may_initiate: true,
        campaign: Some(Standing {
            status,
            is_rerun: true,
        }),
        group_changed: Some(true),
        another_waits: false,
    }
}

/// What is decided at the time, in short.
fn decided(schedule: &Schedule, context: Context, minutes_late: i64) -> String {
    match decide(schedule, at(0), &context, at(minutes_late)) {
        Decision::Start {
            replacing,
            if_new_segments,
        } => format!("start {replacing} {if_new_segments}"),
        Decision::Settle {
            outcome: Outcome::Refused,
            reason,
        } => format!("refused {reason}"),
        Decision::Settle { outcome, .. } => outcome.to_string(),
    }
}

#[test]
fn what_becomes_of_a_time() {
    use CampaignStatus::{Draft, Processing, Published, ReadyForReview};
    let published = context(Published);
    let unchanged = Context {
        group_changed: Some(false),
        ..published
    };
    let no_group = Context {
        group_changed: None,
        ..published
    };
    let no_campaign = Context {
        campaign: None,
        ..published
    };
    let not_allowed = Context {
        may_initiate: false,
        ..published
    };
    let first_run = Context {
        campaign: Some(Standing {
            status: ReadyForReview,
            is_rerun: false,
        }),
        ..published
    };
    let review = context(ReadyForReview);
    let review_unchanged = Context {
        group_changed: Some(false),
        ..review
    };
    let one_waits = Context {
        another_waits: true,
        ..review
    };
    let late_allowed = Context {
        is_late_allowed: true,
        ..published
    };
    let (always, group, new) = (When::Always, When::GroupChanged, When::NewSegments);
    let (skip, wait, replace) = (Overlap::Skip, Overlap::Wait, Overlap::Replace);
    let table = [
        // The condition.
        (always, skip, published, 0, "start false false"),
        (always, skip, unchanged, 0, "start false false"),
        (group, skip, published, 0, "start false false"),
        (group, skip, unchanged, 0, "skipped_unchanged"),
        (new, skip, published, 0, "start false true"),
        (new, skip, unchanged, 0, "start false true"),
        // The campaign is not published.
        (group, skip, review, 0, "skipped_overlap"),
        (group, skip, context(Processing), 0, "skipped_overlap"),
        (group, skip, context(Draft), 0, "skipped_overlap"),
        (group, wait, review, 0, "waiting"),
        (group, wait, review_unchanged, 0, "waiting"),
        (group, wait, context(Draft), 0, "waiting"),
        (group, wait, one_waits, 0, "skipped_overlap"),
        (group, wait, published, 0, "start false false"),
        (group, replace, review, 0, "start true false"),
        (new, replace, review, 0, "start true true"),
        (always, replace, review_unchanged, 0, "start true false"),
        // Nothing is cancelled for a run that would be the same.
        (group, replace, review_unchanged, 0, "skipped_unchanged"),
        (new, replace, review_unchanged, 0, "skipped_unchanged"),
        (
            group,
            replace,
            first_run,
            0,
            "refused campaign_not_published",
        ),
        (group, replace, published, 0, "start false false"),
        // Refusals.
        (always, skip, not_allowed, 0, "refused unauthorized"),
        (always, skip, no_campaign, 0, "refused campaign_not_found"),
        (
            always,
            skip,
            no_group,
            0,
            "refused customer_group_not_found",
        ),
        // Late.
        (always, skip, published, 60, "start false false"),
        (always, skip, published, 61, "missed"),
        (always, skip, late_allowed, 61, "start false false"),
        (always, skip, not_allowed, 61, "missed"),
    ];
    for (row, (when, overlap, context, late, expected)) in table.into_iter().enumerate() {
        let schedule = Schedule {
            when,
            overlap,
            ..schedule()
        };
        assert_eq!(decided(&schedule, context, late), expected, "row {row}");
    }
}

#[test]
fn without_catch_up_a_time_is_on_time_for_a_minute() {
    let schedule = Schedule {
        catch_up_seconds: 0,
        ..schedule()
    };
    let published = context(CampaignStatus::Published);
    assert_eq!(decided(&schedule, published, 1), "start false false");
    assert_eq!(decided(&schedule, published, 2), "missed");
}

#[test]
fn of_several_times_that_have_come_the_last_counts() {
    let schedule = schedule();
    let times: Vec<_> = [0, 15, 30, 45].map(at).to_vec();
    let found = |complete, now| due(&schedule, &times, complete, at(now));
    let some = |missed: &[i64], latest: Option<i64>, next: &[i64]| Due {
        missed: missed.iter().copied().map(at).collect(),
        latest: latest.map(at),
        next: next.iter().copied().map(at).collect(),
    };
    assert_eq!(found(false, -1), some(&[], None, &[0, 15, 30, 45]));
    assert_eq!(found(false, 0), some(&[], Some(0), &[15, 30, 45]));
    assert_eq!(found(false, 16), some(&[0], Some(15), &[30, 45]));
    // Whether more times have come is not known.
    assert_eq!(found(false, 100), some(&[0, 15], None, &[30, 45]));
    assert_eq!(found(true, 100), some(&[0, 15, 30], Some(45), &[]));
}

#[test]
fn nothing_fires_after_the_end() {
    let schedule = Schedule {
        ends_at: Some(at(15)),
        ..schedule()
    };
    let times: Vec<_> = [0, 15, 30].map(at).to_vec();
    let found = due(&schedule, &times, false, at(100));
    assert_eq!((found.latest, found.next), (Some(at(15)), Vec::new()));
    assert_eq!(schedule.with_next(&times[1..]).next_time, Some(at(15)));
    assert_eq!(
        schedule.with_next(&times[2..]).status,
        ScheduleStatus::Ended
    );
}

#[test]
fn a_time_has_come_when_its_delay_is_over() {
    let jittered = Schedule {
        jitter_seconds: 600,
        ..schedule()
    };
    for minutes in 0..10 {
        let times = [at(minutes), at(minutes + 15)];
        let come = jittered.due_at(times[0], Some(times[1]));
        let latest = |now| due(&jittered, &times, true, now).latest;
        assert_eq!(latest(come), Some(times[0]));
        assert_eq!(latest(come - TimeDelta::milliseconds(1)), None);
    }
}

#[test]
fn five_refusals_in_a_row_pause() {
    let schedule = schedule();
    let firing = |outcome| Firing {
        key: FiringKey {
            scheduled_for: at(0),
            triggered: false,
        },
        fired_at: at(0),
        outcome,
        run_number: None,
        reason: Some("empty_customer_group".into()),
    };
    let mut state = schedule.state.clone();
    let outcomes = [
        (Outcome::Refused, 1),
        (Outcome::SkippedUnchanged, 0),
        (Outcome::Refused, 1),
        (Outcome::Missed, 1),
        (Outcome::Refused, 2),
        (Outcome::SkippedOverlap, 2),
        (Outcome::Refused, 3),
        (Outcome::Refused, 4),
    ];
    for (outcome, refusals) in outcomes {
        state = schedule.after(state, &firing(outcome));
        assert_eq!(
            (state.refusals, state.status),
            (refusals, ScheduleStatus::Active)
        );
    }
    state = schedule.after(state, &firing(Outcome::Refused));
    assert_eq!((state.status, state.due_at), (ScheduleStatus::Paused, None));
    let note = state.note.unwrap();
    assert!(note.contains("empty_customer_group"), "{note}");
}

#[test]
fn a_firing_waits_until_it_is_decided() {
    let schedule = schedule();
    let key = FiringKey {
        scheduled_for: at(0),
        triggered: false,
    };
    let firing = |outcome| Firing {
        key,
        fired_at: at(0),
        outcome,
        run_number: None,
        reason: None,
    };
    let state = schedule.after(schedule.state.clone(), &firing(Outcome::Waiting));
    assert_eq!(state.waiting, Some(key));
    let state = schedule.after(state, &firing(Outcome::Started));
    assert_eq!(state.waiting, None);
}

proptest! {
    #[test]
    fn a_delay_is_the_same_everywhere_and_ends_before_the_next_time(
        jitter in 0..=Schedule::MAX_JITTER, minutes in 0_i64..10_000_000, gap in 15_i64..10_000,
    ) {
        let schedule = Schedule { jitter_seconds: jitter, ..schedule() };
        let (time, after) = (at(minutes), at(minutes + gap));
        let due = schedule.due_at(time, Some(after));
        prop_assert_eq!(due, schedule.clone().due_at(time, Some(after)));
        prop_assert!(due >= time && due < after);
        prop_assert!(due - time <= TimeDelta::seconds(jitter.into()));
    }
}

#[test]
fn a_schedule_acts_for_its_creator() {
    let name = UserName::new("Ada").unwrap();
    let schedule = Schedule {
        created_by_name: Some(name.clone()),
        ..schedule()
    };
    let creator = schedule.creator();
    assert_eq!(creator.user_id, schedule.created_by);
    assert_eq!(creator.user_name, Some(name));
    assert_eq!(creator.role_code, "ADMIN");
}

#[test]
fn only_a_repeating_schedule_has_a_pattern() {
    assert_eq!(schedule().cron(), Some("0 9 * * 1"));
    let once = Schedule {
        timing: Timing::At(at(1)),
        ..schedule()
    };
    assert_eq!(once.cron(), None);
}

#[test]
fn a_delay_is_some_seconds_of_the_jitter() {
    let jittered = Schedule {
        jitter_seconds: 3_600,
        ..schedule()
    };
    let delays: Vec<i64> = (0..50)
        .map(|n| (jittered.due_at(at(n), None) - at(n)).num_seconds())
        .collect();
    assert!(delays.iter().all(|delay| (0..3_600).contains(delay)));
    assert!(delays.iter().any(|delay| *delay > 1_800), "{delays:?}");
}
