//! Times in clock changes, and through years in every time zone.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests misses their helpers"
)]

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, Timelike, Utc};
use chrono_tz::Tz;
use rerun_calendar::IanaCalendar;
use rerun_core::ports::Calendar;
use rerun_core::schedule::{CalendarTime, ClockChange};

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn times(cron: &str, zone: &str, after: &str, limit: usize) -> Vec<CalendarTime> {
    IanaCalendar.times(cron, zone, utc(after), limit).unwrap()
}

/// Each line of the table: zone, pattern, the time after which to look, and the local times that come.
/// `>` marks a time that was skipped, `*` one that exists twice. The clock changes are those that
/// governments announced, not what a program found.
const TABLE: &[(&str, &str, &str, &[&str])] = &[
    // 29 March 2026, 02:00 to 03:00; 25 October 2026, 03:00 to 02:00.
    (
        "Europe/Berlin",
        "30 2 * * *",
        "2026-03-28T00:00:00Z",
        &[
            "2026-03-28T02:30:00+01:00",
            ">2026-03-29T03:00:00+02:00",
            "2026-03-30T02:30:00+02:00",
        ],
    ),
    (
        "Europe/Berlin",
        "0 2,3 * * *",
        "2026-03-28T12:00:00Z",
        &[
            ">2026-03-29T03:00:00+02:00",
            "2026-03-30T02:00:00+02:00",
            "2026-03-30T03:00:00+02:00",
        ],
    ),
    (
        "Europe/Berlin",
        "30 2 * * *",
        "2026-10-24T12:00:00Z",
        &["*2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
    ),
    (
        "Europe/Berlin",
        "30 * * * *",
        "2026-10-24T23:00:00Z",
        &[
            "2026-10-25T01:30:00+02:00",
            "*2026-10-25T02:30:00+02:00",
            "*2026-10-25T02:30:00+01:00",
            "2026-10-25T03:30:00+01:00",
        ],
    ),
    (
        "Europe/Berlin",
        "30 * * * *",
        "2026-03-29T00:00:00Z",
        &["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"],
    ),
    (
        "Europe/Berlin",
        "*/30 2 * * *",
        "2026-03-28T12:00:00Z",
        &["2026-03-30T02:00:00+02:00", "2026-03-30T02:30:00+02:00"],
    ),
    // 8 March 2026, 02:00 to 03:00; 1 November 2026, 02:00 to 01:00.
    (
        "America/New_York",
        "15 2 * * SUN",
        "2026-03-01T12:00:00Z",
        &[">2026-03-08T03:00:00-04:00", "2026-03-15T02:15:00-04:00"],
    ),
    (
        "America/New_York",
        "0 1 * * *",
        "2026-10-31T12:00:00Z",
        &["*2026-11-01T01:00:00-04:00", "2026-11-02T01:00:00-05:00"],
    ),
    // Half an hour: 4 October 2026, 02:00 to 02:30; 5 April 2026, 02:00 to 01:30.
    (
        "Australia/Lord_Howe",
        "15 2 * * *",
        "2026-10-03T00:00:00Z",
        &[">2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"],
    ),
    (
        "Australia/Lord_Howe",
        "*/15 1 * * *",
        "2026-04-04T14:00:00Z",
        &[
            "2026-04-05T01:15:00+11:00",
            "*2026-04-05T01:30:00+11:00",
            "*2026-04-05T01:45:00+11:00",
            "*2026-04-05T01:30:00+10:30",
            "*2026-04-05T01:45:00+10:30",
            "2026-04-06T01:00:00+10:30",
        ],
    ),
    // A day that did not exist: 30 December 2011.
    (
        "Pacific/Apia",
        "0 9 * * *",
        "2011-12-29T00:00:00Z",
        &[
            "2011-12-29T09:00:00-10:00",
            ">2011-12-31T00:00:00+14:00",
            "2011-12-31T09:00:00+14:00",
            "2012-01-01T09:00:00+14:00",
        ],
    ),
    // During Ramadan: 15 February 2026, 03:00 to 02:00; 22 March 2026, 02:00 to 03:00.
    (
        "Africa/Casablanca",
        "30 2 * * *",
        "2026-02-14T12:00:00Z",
        &["*2026-02-15T02:30:00+01:00", "2026-02-16T02:30:00+00:00"],
    ),
    (
        "Africa/Casablanca",
        "30 2 * * *",
        "2026-03-21T12:00:00Z",
        &[">2026-03-22T03:00:00+01:00", "2026-03-23T02:30:00+01:00"],
    ),
    // Two hours: 29 March 2026, 01:00 to 03:00; 25 October 2026, 03:00 to 01:00.
    (
        "Antarctica/Troll",
        "15 1,2 * * *",
        "2026-03-28T12:00:00Z",
        &[
            ">2026-03-29T03:00:00+02:00",
            "2026-03-30T01:15:00+02:00",
            "2026-03-30T02:15:00+02:00",
        ],
    ),
    (
        "Antarctica/Troll",
        "0 1,2 * * *",
        "2026-10-24T12:00:00Z",
        &[
            "*2026-10-25T01:00:00+02:00",
            "*2026-10-25T02:00:00+02:00",
            "2026-10-26T01:00:00+00:00",
            "2026-10-26T02:00:00+00:00",
        ],
    ),
];

#[test]
fn clock_changes_of_six_zones() {
    for (row, (zone, cron, after, expected)) in TABLE.iter().enumerate() {
        let found = times(cron, zone, after, expected.len());
        let found: Vec<String> = found
            .into_iter()
            .map(|time| {
                let mark = match time.clock_change {
                    None => "",
                    Some(ClockChange::Skipped) => ">",
                    Some(ClockChange::Repeated) => "*",
                };
                let local = DateTime::parse_from_rfc3339(&time.local).unwrap();
                assert_eq!(local, time.at, "row {row}");
                format!("{mark}{}", time.local)
            })
            .collect();
        assert_eq!(found, *expected, "row {row}: {cron} in {zone}");
    }
}

/// A walk through a zone minute by minute, with nothing but the offset of each instant: the instants at
/// which its clock shows this time of day, and those at which it jumps over it.
fn oracle(
    zone: Tz,
    time_of_day: (u32, u32),
    from: NaiveDate,
    days: i64,
) -> BTreeSet<DateTime<Utc>> {
    let start = from.and_hms_opt(0, 0, 0).unwrap().and_utc();
    let shown = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local();
    let mut wanted: BTreeSet<NaiveDateTime> = BTreeSet::new();
    let first = shown(start).date();
    for day in 0..=days + 2 {
        let date = first + Duration::days(day);
        wanted.insert(date.and_hms_opt(time_of_day.0, time_of_day.1, 0).unwrap());
    }
    let mut fired = BTreeSet::new();
    let mut before = shown(start);
    let mut at = start;
    while at < start + Duration::days(days) {
        // From quarter to quarter, since every offset and every change is in whole ones.
        at += Duration::minutes(15);
        let now = shown(at);
        while let Some(local) = wanted.first().copied().filter(|local| *local <= now) {
            wanted.remove(&local);
            if local > before || local == now {
                fired.insert(at);
            }
        }
        before = before.max(now);
    }
    fired
}

/// Ten years in every zone with `RERUN_TEST_ALL_YEARS=1`, else one.
#[test]
fn a_fixed_time_fires_once_a_day_in_every_zone() {
    let years = match std::env::var("RERUN_TEST_ALL_YEARS") {
        Ok(_) => 10,
        Err(_) => 1,
    };
    let from = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
    let days = 365 * years;
    let start = from.and_hms_opt(0, 0, 0).unwrap().and_utc();
    let end = start + Duration::days(days);
    let mut firings = 0;
    for (number, zone) in chrono_tz::TZ_VARIANTS.into_iter().enumerate() {
        // Between midnight and 03:45, when clocks are changed.
        let minutes = u32::try_from(number % 16).unwrap() * 15;
        let (hour, minute) = (minutes / 60, minutes % 60);
        let cron = format!("{minute} {hour} * * *");
        let mut found = Vec::new();
        let mut after = start;
        while after < end {
            let next = IanaCalendar.times(&cron, zone.name(), after, 400).unwrap();
            found.extend(next.iter().map(|time| time.at));
            after = *found.last().unwrap();
        }
        found.retain(|at| *at <= end);
        assert!(found.is_sorted_by(|one, other| one < other), "{zone}");
        let expected = oracle(zone, (hour, minute), from, days);
        let found: BTreeSet<_> = found.into_iter().collect();
        firings += found.len();
        assert_eq!(found, expected, "{cron} in {zone}");
        let dates: BTreeSet<_> = found
            .iter()
            .map(|at| at.with_timezone(&zone).date_naive())
            .collect();
        assert_eq!(dates.len(), found.len(), "{cron} in {zone}: one a day");
    }
    assert!(firings > 500 * 300);
}

#[test]
fn an_hourly_pattern_fires_every_hour_through_clock_changes() {
    for zone in ["Europe/Berlin", "America/New_York", "UTC", "Asia/Kolkata"] {
        let found = times("0 * * * *", zone, "2026-01-01T00:00:00Z", 24 * 365);
        let mut gaps = found.windows(2).map(|pair| pair[1].at - pair[0].at);
        assert!(gaps.all(|gap| gap == Duration::hours(1)), "{zone}");
    }
}

#[test]
fn pages_of_times_join_without_a_gap() {
    for (cron, zone, after) in [
        (
            "*/15 * * * *",
            "Australia/Lord_Howe",
            "2026-04-04T00:00:00Z",
        ),
        ("0 1,2 * * *", "Antarctica/Troll", "2026-10-23T00:00:00Z"),
        ("0 9 * * *", "Pacific/Apia", "2011-12-28T00:00:00Z"),
    ] {
        let all = times(cron, zone, after, 300);
        let mut paged = Vec::new();
        let mut last = utc(after);
        while paged.len() < 300 {
            paged.extend(IanaCalendar.times(cron, zone, last, 1).unwrap());
            last = paged.last().map(|time: &CalendarTime| time.at).unwrap();
        }
        assert_eq!(paged, all, "{cron} in {zone}");
    }
}

#[test]
fn patterns_are_described_in_words() {
    for (cron, zone, said) in [
        (
            "0 9 * * MON",
            "Europe/Berlin",
            "At 09:00, on Monday (Europe/Berlin)",
        ),
        ("@daily", "UTC", "At 00:00 (UTC)"),
    ] {
        let described = IanaCalendar.describe(cron, zone).unwrap();
        assert!(
            described.contains(said.split(" (").next().unwrap()),
            "{described}"
        );
        assert!(described.ends_with(&format!("({zone})")), "{described}");
    }
}

#[test]
fn bad_patterns_are_refused_and_say_why() {
    let long = "1,".repeat(200);
    for (cron, said) in [
        ("", "five fields"),
        ("* * * *", "found 4"),
        ("0 0 9 * * *", "found 6"),
        ("0 0 9 * * * 2026", "found 7"),
        ("@reboot", "five fields"),
        ("0 9 @daily * *", "five fields"),
        ("61 9 * * *", "`cron`"),
        ("0 25 * * *", "`cron`"),
        ("x 9 * * *", "`cron`"),
        ("0 0 30 2 *", "never fires"),
        ("* * * * *", "15 minutes apart"),
        ("*/10 * * * *", "15 minutes apart"),
        ("0,14 9 * * *", "15 minutes apart"),
        ("0,50 9,10 * * *", "15 minutes apart"),
        ("5,55 0,23 * * *", "15 minutes apart"),
        (&long, "at most 200 bytes"),
    ] {
        let refused = IanaCalendar.describe(cron, "UTC").unwrap_err().to_string();
        assert!(refused.contains(said), "{cron:?}: {refused}");
    }
    for good in [
        "*/15 * * * *",
        "0,15 9 * * *",
        "0 0 29 2 *",
        "0 9 L * *",
        "0 9 * * MON#1",
    ] {
        IanaCalendar.describe(good, "UTC").unwrap();
    }
    for zone in ["", "Mars/Olympus", "europe/berlin ", "+02:00"] {
        let refused = IanaCalendar.check_zone(zone).unwrap_err().to_string();
        assert!(refused.contains("`time_zone`"), "{zone:?}: {refused}");
    }
}

#[test]
fn offsets_are_in_whole_minutes() {
    // What the walk of the test above rests on.
    for zone in chrono_tz::TZ_VARIANTS {
        let at = utc("2026-06-01T00:00:00Z").with_timezone(&zone);
        assert_eq!(at.second(), 0, "{zone}");
        assert_eq!(at.minute() % 15, 0, "{zone}");
    }
}
