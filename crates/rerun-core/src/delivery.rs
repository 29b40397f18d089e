//! Deliveries of events to webhooks: what is sent, and what follows an attempt.

use std::time::Duration;

use chrono::DateTime;

use crate::feed::PublicEvent;
use crate::ids::{AccountId, AuditEntryId, LeaseId, WebhookId};
use crate::page::Contents;
use crate::status::wire_enum;
use crate::timestamp::Timestamp;
use crate::webhook::{DisabledReason, SecretNumber};

/// How long to wait after each failed attempt: the table of Standard Webhooks. The first retry
/// follows immediately.
const WAITS: [Duration; 10] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];

/// The most attempts at a delivery: one at once, and one after each wait.
pub const MAX_ATTEMPTS: u32 = 11;

/// The longest wait that a receiver may ask for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// A webhook that has delivered nothing for this long is disabled.
pub const PATIENCE: Duration = Duration::from_hours(5 * 24);

/// How long deliveries that ended are kept, and each attempt.
pub const KEPT: Duration = Duration::from_hours(30 * 24);

/// How many deliveries to one webhook may wait before further events stay in the log.
pub const MOST_PENDING: u32 = 10_000;

/// How many deliveries to one webhook are on their way at once; to an ordered one it is 1.
pub const MOST_AT_ONCE: u32 = 4;

/// By how much a wait is longer or shorter than in the table, in thousandths of it: from -100 to
/// 100, so that deliveries that failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread(i16);

impl Spread {
    /// The wait as it stands in the table.
    pub const NONE: Self = Self(0);

    /// One of the spreads, for any random number.
    #[must_use]
    pub fn from_random(random: u16) -> Self {
        Self(i16::try_from(random % 201).map_or(0, |place| place - 100))
    }

    fn of(self, wait: Duration) -> Duration {
        let thousandths = u32::try_from(1_000 + i32::from(self.0)).unwrap_or(1_000);
        wait * thousandths / 1_000
    }
}

wire_enum! {
    /// Why no response came.
    SendError {
        /// The address, or the URL, is not allowed.
        NotAllowed => "not_allowed",
        /// It could not be signed: the installation has no secret for that.
        NotSigned => "not_signed",
        /// The name has no address.
        NotResolved => "not_resolved",
        /// Nobody takes the connection.
        NotConnected => "not_connected",
        /// The certificate is not accepted, or TLS failed in another way.
        Tls => "tls",
        /// The receiver took too long.
        TimedOut => "timed_out",
        /// The connection broke, or what came is not HTTP.
        Broken => "broken",
        /// The attempt began, and nobody knows how it ended: the sender stopped.
        Interrupted => "interrupted",
    }
}

/// The parts of a response that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// After this time it may be tried again, if the response says so; see [`retry_after`].
    pub retry_after: Option<Duration>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The response, or why there is none.
    pub response: Result<Response, SendError>,
    /// How long it took.
    pub duration: Duration,
}

impl Outcome {
    /// Whether the receiver has the event.
    #[must_use]
    pub const fn is_delivered(&self) -> bool {
        matches!(
            self.response,
            Ok(Response {
                status: 200..=299,
                ..
            })
        )
    }

    /// What is kept of it.
    #[must_use]
    pub fn attempt(&self, at: Timestamp) -> Attempt {
        Attempt {
            at,
            status: self.response.ok().map(|response| response.status),
            duration: self.duration,
            error: self.response.err(),
        }
    }
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Delivered,
    /// It is tried again at this time.
    RetryAt(Timestamp),
    /// It is given up.
    Failed,
    /// The receiver wants no more: the webhook is disabled. The event waits with it.
    Gone,
}

/// What follows the `attempt`-th attempt (from 1) that ended at `now`.
#[must_use]
pub fn judge(attempt: u32, outcome: &Outcome, now: Timestamp, spread: Spread) -> Verdict {
    if outcome.is_delivered() {
        return Verdict::Delivered;
    }
    let retry_after = match outcome.response {
        Ok(Response { status: 410, .. }) => return Verdict::Gone,
        Ok(response) => response.retry_after,
        Err(_) => None,
    };
    let place = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    let Some(wait) = WAITS.get(place) else {
        return Verdict::Failed;
    };
    let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
    Verdict::RetryAt(now + spread.of(*wait).max(asked))
}

/// Whether a webhook is disabled by what followed an attempt at `now`, when every attempt since
/// `failing_since` has failed, this one too.
#[must_use]
pub fn disables(
    verdict: Verdict,
    failing_since: Option<Timestamp>,
    now: Timestamp,
) -> Option<DisabledReason> {
    match verdict {
        Verdict::Gone => Some(DisabledReason::Gone),
        Verdict::Delivered => None,
        Verdict::RetryAt(_) | Verdict::Failed => failing_since
            .is_some_and(|since| since + PATIENCE <= now)
            .then_some(DisabledReason::Failing),
    }
}

/// Reads a header `retry-after`: seconds, or a date. One that cannot be read is `None`.
#[must_use]
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        // A number that does not fit into 64 bits is longer than any wait.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = DateTime::parse_from_rfc2822(value).ok()?;
    Some((at.to_utc() - now).to_std().unwrap_or_default())
}

wire_enum! {
    /// Where a delivery stands.
    DeliveryState {
        /// It waits for its first or next attempt, or is on its way.
        Pending => "pending",
        /// The receiver has the event.
        Delivered => "delivered",
        /// It was given up.
        Failed => "failed",
    }
}

/// An attempt at a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// The status of the response; `None` when there was none.
    pub status: Option<u16>,
    /// How long it took.
    pub duration: Duration,
    /// Why there was no response; `None` when there was one.
    pub error: Option<SendError>,
}

/// An event on its way to a webhook, for people who look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The event's id.
    pub event_id: AuditEntryId,
    /// Its type.
    pub event_type: String,
    /// Its number.
    pub sequence: i64,
    /// Where it stands.
    pub state: DeliveryState,
    /// Its attempts of the last [`KEPT`], oldest first.
    pub attempts: Vec<Attempt>,
    /// When it is tried next; `None` when it is not.
    pub next_attempt_at: Option<Timestamp>,
}

impl Contents for Delivery {
    fn bytes(&self) -> usize {
        // An attempt has about this many bytes of JSON.
        self.attempts.len() * 100
    }
}

/// One attempt's worth of work: an event, and where to send it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parcel {
    /// The account.
    pub account_id: AccountId,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The lease under which it was taken. A test of a webhook has one too, which nobody holds.
    pub lease: LeaseId,
    /// Where to send it.
    pub url: String,
    /// The numbers of the secrets that sign, newest first.
    pub secrets: Vec<SecretNumber>,
    /// The event. Its id is the id of the delivery at every attempt.
    pub event: PublicEvent,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_timestamp_millis(1_767_225_600_000).unwrap()
    }

    fn responded(status: u16, retry_after: Option<Duration>) -> Outcome {
        Outcome {
            response: Ok(Response {
                status,
                retry_after,
            }),
            duration: Duration::from_millis(7),
        }
    }

    const SILENT: Outcome = Outcome {
        response: Err(SendError::TimedOut),
        duration: Duration::from_secs(20),
    };

    #[test]
    fn a_spread_is_at_most_a_tenth_either_way() {
        let spread = |random| Spread::from_random(random).of(Duration::from_secs(10));
        for (random, seconds) in [(0, 9), (100, 10), (200, 11), (201, 9)] {
            assert_eq!(spread(random), Duration::from_secs(seconds), "{random}");
        }
    }

    #[test]
    fn a_delivery_is_tried_eleven_times_by_the_table() {
        let mut at = now();
        let mut waits = Vec::new();
        for attempt in 1..MAX_ATTEMPTS {
            match judge(attempt, &SILENT, at, Spread::NONE) {
                Verdict::RetryAt(next) => {
                    waits.push((next - at).num_seconds());
                    at = next;
                }
                other @ (Verdict::Delivered | Verdict::Failed | Verdict::Gone) => {
                    panic!("{attempt}: {other:?}")
                }
            }
        }
        assert_eq!(
            waits,
            [
                0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400
            ]
        );
        let last = judge(MAX_ATTEMPTS, &SILENT, at, Spread::NONE);
        assert_eq!(last, Verdict::Failed);
        let beyond = judge(u32::MAX, &SILENT, at, Spread::NONE);
        assert_eq!(beyond, Verdict::Failed);
    }

    #[test]
    fn statuses_are_judged() {
        let judged = |status| judge(1, &responded(status, None), now(), Spread::NONE);
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(judged(status), Verdict::Delivered, "{status}");
        }
        assert_eq!(judged(410), Verdict::Gone);
        for status in [
            100, 199, 300, 301, 302, 307, 308, 400, 401, 404, 409, 411, 429, 500, 599,
        ] {
            assert_eq!(judged(status), Verdict::RetryAt(now()), "{status}");
        }
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_wait_of_a_day_at_most() {
        let asked = |attempt, seconds| {
            let outcome = responded(503, Some(Duration::from_secs(seconds)));
            match judge(attempt, &outcome, now(), Spread::NONE) {
                Verdict::RetryAt(at) => (at - now()).num_seconds(),
                other @ (Verdict::Delivered | Verdict::Failed | Verdict::Gone) => {
                    panic!("{other:?}")
                }
            }
        };
        assert_eq!(asked(1, 60), 60);
        assert_eq!(asked(3, 60), 300, "not sooner than in the table");
        assert_eq!(asked(2, 86_400), 86_400);
        assert_eq!(asked(2, u64::MAX), 86_400);
    }

    #[test]
    fn retry_after_is_read() {
        let seconds = |text: &str| retry_after(text, now()).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("99999999999999999999999"), Some(u64::MAX));
        assert_eq!(seconds("Thu, 01 Jan 2026 00:01:00 GMT"), Some(60));
        assert_eq!(seconds("Wed, 31 Dec 2025 00:00:00 GMT"), Some(0));
        for other in [
            "",
            "-1",
            "1.5",
            "soon",
            "120s",
            "\u{0661}",
            "2026-01-01T00:01:00Z",
        ] {
            assert_eq!(seconds(other), None, "{other}");
        }
    }

    #[test]
    fn a_webhook_is_disabled_by_410_and_by_five_days_of_failures() {
        let hours = |hours| Some(now() - Duration::from_hours(hours));
        let again = Verdict::RetryAt(now());
        assert_eq!(
            disables(Verdict::Gone, None, now()),
            Some(DisabledReason::Gone)
        );
        for verdict in [again, Verdict::Failed] {
            assert_eq!(disables(verdict, hours(119), now()), None);
            assert_eq!(disables(verdict, None, now()), None);
            let failing = Some(DisabledReason::Failing);
            assert_eq!(disables(verdict, hours(120), now()), failing);
        }
        assert_eq!(disables(Verdict::Delivered, hours(1_000), now()), None);
    }

    #[test]
    fn an_attempt_keeps_the_status_or_the_error() {
        let attempt = responded(503, None).attempt(now());
        assert_eq!((attempt.status, attempt.error), (Some(503), None));
        let attempt = SILENT.attempt(now());
        assert_eq!(
            (attempt.status, attempt.error, attempt.at),
            (None, Some(SendError::TimedOut), now())
        );
    }

    proptest! {
        #[test]
        fn a_wait_is_spread_by_a_tenth(random: u16, attempt in 1_u32..=10) {
            let spread = Spread::from_random(random);
            let Verdict::RetryAt(at) = judge(attempt, &SILENT, now(), spread) else {
                panic!("attempt {attempt}");
            };
            let wait = (at - now()).to_std().unwrap();
            let table = WAITS[usize::try_from(attempt).unwrap() - 1];
            prop_assert!(wait >= table * 9 / 10 && wait <= table * 11 / 10, "{wait:?}");
        }
    }
}
