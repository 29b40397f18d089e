#![doc = include_str!("../README.md")]

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use rerun_core::error::Invalid;
use rerun_core::ports::Calendar;
use rerun_core::schedule::{CalendarTime, ClockChange, Schedule};
use rerun_core::timestamp::Timestamp;

/// The calendar of the IANA time zone database, as it was when this program was built.
#[derive(Debug, Clone, Copy, Default)]
pub struct IanaCalendar;

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 200;

/// No clock change moves a local time by more: whole days were left out.
const LONGEST_CHANGE: Duration = Duration::hours(25);

/// So many times are looked at to see how far apart the times of a pattern are. A day has at most 96
/// that are far enough apart.
const COMPARED: usize = 400;

fn zone(name: &str) -> Result<Tz, Invalid> {
    name.parse().map_err(|_unknown| {
        let name = rerun_core::text::excerpt(name);
        Invalid::new(format!(
            "`time_zone`: the IANA database has no time zone `{name}`; a name is, for example, `Europe/Berlin`"
        ))
    })
}

/// A pattern that was read.
struct Pattern {
    cron: Cron,
    /// Whether minute or hour has a wildcard.
    has_wildcard: bool,
}

fn malformed(error: &CronError) -> Invalid {
    let said = error.to_string();
    Invalid::new(format!("`cron`: {}", said.trim_end_matches('.')))
}

fn never() -> Invalid {
    Invalid::new("`cron`: this pattern never fires")
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_PATTERN {
            let said = format!("`cron` must have at most {MAX_PATTERN} bytes");
            return Err(Invalid::new(said));
        }
        // What the library calls a nickname is found anywhere in the text by it.
        let named = match text.trim().to_ascii_lowercase().as_str() {
            "@yearly" | "@annually" => Some("0 0 1 1 *"),
            "@monthly" => Some("0 0 1 * *"),
            "@weekly" => Some("0 0 * * 0"),
            "@daily" | "@midnight" => Some("0 0 * * *"),
            "@hourly" => Some("0 * * * *"),
            _ => None,
        };
        let text = named.unwrap_or(text);
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, ..] = fields[..] else {
            return Err(Self::other_fields(fields.len()));
        };
        if fields.len() != 5 || text.contains('@') {
            return Err(Self::other_fields(fields.len()));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        Ok(Self {
            cron: parser.parse(text).map_err(|error| malformed(&error))?,
            has_wildcard: minute.contains('*') || hour.contains('*'),
        })
    }

    fn other_fields(found: usize) -> Invalid {
        Invalid::new(format!(
            "`cron` must have five fields: minute, hour, day of the month, month, day of the week; \
             found {found}"
        ))
    }

    /// The local times of the pattern after this one, without a time zone, in their order.
    fn local_times(
        &self,
        after: NaiveDateTime,
    ) -> impl Iterator<Item = Result<NaiveDateTime, Invalid>> {
        let mut last = Some(after.and_utc());
        std::iter::from_fn(move || {
            let found = self.cron.find_next_occurrence(&last?, false);
            match found {
                Ok(next) => {
                    last = Some(next);
                    Some(Ok(next.naive_utc()))
                }
                Err(CronError::TimeSearchLimitExceeded) => {
                    last = None;
                    None
                }
                Err(error) => {
                    last = None;
                    Some(Err(malformed(&error)))
                }
            }
        })
    }

    /// Checks that it fires, and how often.
    fn check(&self) -> Result<(), Invalid> {
        // A whole number of the 400 years after which the calendar is the same.
        let start = DateTime::UNIX_EPOCH.naive_utc();
        let mut before: Option<NaiveDateTime> = None;
        for time in self.local_times(start).take(COMPARED) {
            let time = time?;
            let minutes = Schedule::MIN_MINUTES;
            if before.is_some_and(|before| time - before < Duration::minutes(minutes.into())) {
                return Err(Invalid::new(format!(
                    "`cron`: times must be at least {minutes} minutes apart"
                )));
            }
            before = Some(time);
        }
        before.map(|_fires| ()).ok_or_else(never)
    }
}

/// The first instant of a zone that a clock shows as a time after `local`, which it never shows.
fn end_of_gap(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    // No offset is larger than this, and none changes by more.
    let (mut before, mut after) = (local - LONGEST_CHANGE * 2, local + LONGEST_CHANGE * 2);
    while after - before > Duration::seconds(1) {
        let middle = before + Duration::seconds((after - before).num_seconds() / 2);
        if zone.from_utc_datetime(&middle).naive_local() > local {
            after = middle;
        } else {
            before = middle;
        }
    }
    after.and_utc()
}

/// The instants at which a pattern that has this local time fires for it.
fn instants(
    zone: Tz,
    local: NaiveDateTime,
    has_wildcard: bool,
) -> impl Iterator<Item = (DateTime<Utc>, Option<ClockChange>)> {
    let (first, second) = match zone.from_local_datetime(&local) {
        LocalResult::Single(at) => (Some((at.to_utc(), None)), None),
        LocalResult::Ambiguous(first, second) => {
            let repeated = Some(ClockChange::Repeated);
            let second = has_wildcard.then_some((second.to_utc(), repeated));
            (Some((first.to_utc(), repeated)), second)
        }
        LocalResult::None if has_wildcard => (None, None),
        LocalResult::None => {
            let at = end_of_gap(zone, local);
            (Some((at, Some(ClockChange::Skipped))), None)
        }
    };
    first.into_iter().chain(second)
}

impl Calendar for IanaCalendar {
    fn check_zone(&self, time_zone: &str) -> Result<(), Invalid> {
        zone(time_zone).map(|_known| ())
    }

    fn describe(&self, cron: &str, time_zone: &str) -> Result<String, Invalid> {
        let pattern = Pattern::parse(cron)?;
        let zone = zone(time_zone)?;
        pattern.check()?;
        let said = pattern.cron.describe();
        Ok(format!("{} ({zone})", said.trim_end_matches('.')))
    }

    fn times(
        &self,
        cron: &str,
        time_zone: &str,
        after: Timestamp,
        limit: usize,
    ) -> Result<Vec<CalendarTime>, Invalid> {
        let pattern = Pattern::parse(cron)?;
        let zone = zone(time_zone)?;
        let mut found: Vec<(DateTime<Utc>, Option<ClockChange>)> = Vec::new();
        // Local times near a clock change are not in the order of their instants.
        let start = zone.from_utc_datetime(&after.naive_utc()).naive_local() - LONGEST_CHANGE;
        for local in pattern.local_times(start) {
            let local = local?;
            let last = limit.checked_sub(1).and_then(|last| found.get(last));
            let is_settled = last.is_none_or(|(last, _)| {
                let last = zone.from_utc_datetime(&last.naive_utc()).naive_local();
                local > last + LONGEST_CHANGE
            });
            if is_settled && found.len() >= limit {
                break;
            }
            for (at, change) in instants(zone, local, pattern.has_wildcard) {
                let place = found.partition_point(|(before, _)| *before < at);
                let is_known = found.get(place).is_some_and(|(known, _)| *known == at);
                if at > after && !is_known {
                    found.insert(place, (at, change));
                }
            }
        }
        found.truncate(limit);
        let times = found.into_iter().map(|(at, clock_change)| CalendarTime {
            at,
            local: zone
                .from_utc_datetime(&at.naive_utc())
                .fixed_offset()
                .to_rfc3339_opts(SecondsFormat::Secs, false),
            clock_change,
        });
        Ok(times.collect())
    }
}
