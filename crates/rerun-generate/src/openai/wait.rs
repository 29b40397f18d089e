//! Reads how long an endpoint asks callers to wait, from every header format in use.

use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use rerun_core::Timestamp;

/// The wait that the headers name. The most precise one counts; of the resets of two limits that
/// of the limit that is used up, or else the later one.
pub(super) fn named(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let millis = text("retry-after-ms").and_then(|text| number(text, 1_000.0));
    let after = || {
        let text = text(RETRY_AFTER.as_str())?;
        seconds(text, now).or_else(|| until(text, now))
    };
    millis.or_else(after).or_else(|| {
        let resets = ["requests", "tokens"].map(|limit| {
            let wait = span(text(&format!("x-ratelimit-reset-{limit}"))?, now)?;
            let left = text(&format!("x-ratelimit-remaining-{limit}"));
            Some((left == Some("0"), wait))
        });
        // Those that are used up come last.
        resets.into_iter().flatten().max().map(|(_, wait)| wait)
    })
}

/// A number of units, of which `per_second` are a second.
fn number(text: &str, per_second: f64) -> Option<Duration> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = text.parse().ok().filter(|_| is_plain)?;
    Duration::try_from_secs_f64(number / per_second).ok()
}

/// A number of seconds. One that is longer than thirty years is a date: the seconds, or the
/// milliseconds, since 1970.
fn seconds(text: &str, now: Timestamp) -> Option<Duration> {
    const DATE: Duration = Duration::from_secs(1_000_000_000);
    const DATE_IN_MILLIS: Duration = Duration::from_secs(1_000_000_000_000);
    let given = number(text, 1.0)?;
    if given < DATE {
        return Some(given);
    }
    let since = if given < DATE_IN_MILLIS {
        given
    } else {
        given / 1_000
    };
    let until_now = (now - Timestamp::UNIX_EPOCH).to_std().unwrap_or_default();
    Some(since.saturating_sub(until_now))
}

/// The time up to a date in one of the three forms of HTTP.
fn until(text: &str, now: Timestamp) -> Option<Duration> {
    let at = httpdate::parse_http_date(text).map(Timestamp::from);
    let at = at.or_else(|_other| DateTime::parse_from_rfc2822(text).map(|at| at.to_utc()));
    let at = at.ok()?;
    Some((at - now).to_std().unwrap_or_default())
}

/// A span such as `1s`, `6m0s`, `120ms` or `1h30m`; a bare number is of seconds, or a date.
fn span(text: &str, now: Timestamp) -> Option<Duration> {
    if let Some(seconds) = seconds(text, now) {
        return Some(seconds);
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (amount, unit) = rest.split_at(digits);
        let letters = unit
            .find(|c: char| !c.is_ascii_alphabetic() && c != '\u{b5}')
            .unwrap_or(unit.len());
        let (unit, after) = unit.split_at(letters);
        let per_second = match unit {
            "ns" => 1e9,
            "us" | "\u{b5}s" => 1e6,
            "ms" => 1e3,
            "s" => 1.0,
            "m" => 1.0 / 60.0,
            "h" => 1.0 / 3_600.0,
            "d" => 1.0 / 86_400.0,
            _ => return None,
        };
        sum = sum.checked_add(number(amount, per_second)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(given: &[(&'static str, &str)]) -> Option<u128> {
        let now = DateTime::parse_from_rfc3339("2026-11-23T09:00:00Z").unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.insert(*name, value.parse().unwrap());
        }
        named(&headers, now.to_utc()).map(|wait| wait.as_millis())
    }

    #[test]
    fn every_spelling_of_a_wait_is_read() {
        for (name, value, millis) in [
            ("retry-after", "0", Some(0)),
            ("retry-after", "7", Some(7_000)),
            ("retry-after", " 1.5 ", Some(1_500)),
            ("retry-after", "86400", Some(86_400_000)),
            ("retry-after", "-1", None),
            ("retry-after", "1e3", None),
            ("retry-after", "inf", None),
            ("retry-after", "soon", None),
            ("retry-after", "", None),
            ("retry-after", &"9".repeat(400), None),
            ("retry-after", "Mon, 23 Nov 2026 09:01:30 GMT", Some(90_000)),
            ("retry-after", "Mon, 23 Nov 2026 08:59:59 GMT", Some(0)),
            // The older forms of HTTP.
            (
                "retry-after",
                "Monday, 23-Nov-26 09:01:30 GMT",
                Some(90_000),
            ),
            ("retry-after", "Mon Nov 23 09:01:30 2026", Some(90_000)),
            ("retry-after-ms", "250", Some(250)),
            ("retry-after-ms", "x", None),
            ("x-ratelimit-reset-requests", "1s", Some(1_000)),
            ("x-ratelimit-reset-requests", "6m0s", Some(360_000)),
            ("x-ratelimit-reset-tokens", "120ms", Some(120)),
            ("x-ratelimit-reset-tokens", "1h2m3.5s", Some(3_723_500)),
            ("x-ratelimit-reset-tokens", "3", Some(3_000)),
            ("x-ratelimit-reset-tokens", "3 parsecs", None),
            ("x-ratelimit-reset-tokens", "s", None),
            ("x-ratelimit-reset-tokens", "1s2", None),
            ("x-ratelimit-reset-other", "1s", None),
            // Seconds and milliseconds since 1970.
            ("x-ratelimit-reset-requests", "1795424430", Some(30_000)),
            ("x-ratelimit-reset-tokens", "1795424430.5", Some(30_500)),
            ("x-ratelimit-reset-tokens", "1795424430500", Some(30_500)),
            ("x-ratelimit-reset-tokens", "1795424399", Some(0)),
            ("retry-after", "1795424430", Some(30_000)),
        ] {
            assert_eq!(wait(&[(name, value)]), millis, "{name}: {value}");
        }
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn of_several_waits_the_one_that_matters_counts() {
        let requests = ("x-ratelimit-reset-requests", "1s");
        let tokens = ("x-ratelimit-reset-tokens", "6m0s");
        assert_eq!(wait(&[requests, tokens]), Some(360_000));
        let used_up = ("x-ratelimit-remaining-requests", "0");
        let left = ("x-ratelimit-remaining-tokens", "149984");
        assert_eq!(wait(&[requests, tokens, used_up, left]), Some(1_000));
        let after = ("retry-after", "2");
        assert_eq!(wait(&[requests, tokens, after]), Some(2_000));
        assert_eq!(wait(&[after, ("retry-after-ms", "1200")]), Some(1_200));
        assert_eq!(wait(&[after, ("retry-after-ms", "?")]), Some(2_000));
    }
}
