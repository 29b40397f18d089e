//! The ports other than the store, for tests: no randomness, no waiting, no network.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::delivery::{Outcome, Parcel, Response};
use rerun_core::error::Invalid;
use rerun_core::ids::{AccountId, WebhookId};
use rerun_core::ports::{
    Backoff, Calendar, Clock, EventSender, IdGenerator, Pause, Permissions, WebhookSecrets,
    WebhookTargets,
};
use rerun_core::schedule::CalendarTime;
use rerun_core::usecases::WebhookPorts;
use rerun_core::webhook::{SecretNumber, WebhookSecret};
use uuid::Uuid;

/// A clock that stands still until it is set.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// 2026-03-01T09:00:00Z, where every case starts.
    pub const START_MILLIS: i64 = 1_772_355_600_000;

    pub(crate) fn new() -> Self {
        Self(AtomicI64::new(Self::START_MILLIS))
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap();
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets the clock, forwards or back.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.timestamp_millis(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_timestamp_millis(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// Ids in the order of their making: UUIDs of version 7 that count up from 1.
#[derive(Debug, Default)]
pub struct CountingIds(AtomicU64);

impl IdGenerator for CountingIds {
    fn next(&self) -> Uuid {
        let n = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        Uuid::from_u128(0x0195_5000_0000_7000_8000_0000_0000_0000 + u128::from(n))
    }
}

/// Pauses of which no two in a row are alike, without chance: they step through their range by a
/// prime.
#[derive(Debug, Default)]
pub(crate) struct OfVaryingLength(AtomicU64);

#[async_trait]
impl Pause for OfVaryingLength {
    async fn after_conflict(&self, conflicts: u32) {
        let longest = 50 << conflicts.saturating_sub(1).min(4);
        let step = self.0.fetch_add(7_919, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(step % longest)).await;
    }
}

/// Waits one second more after each failed attempt.
pub(crate) struct SecondsByAttempt;

impl Backoff for SecondsByAttempt {
    fn delay(&self, failed: u32) -> Duration {
        Duration::from_secs(u64::from(failed))
    }
}

/// A calendar whose patterns are numbers of minutes: so often a schedule fires, from 1970 on.
pub(crate) struct Intervals;

impl Calendar for Intervals {
    fn check_zone(&self, _time_zone: &str) -> Result<(), Invalid> {
        Ok(())
    }

    fn describe(&self, cron: &str, _time_zone: &str) -> Result<String, Invalid> {
        let minutes: i64 = cron.parse().map_err(|_no| Invalid::new("no number"))?;
        Ok(format!("Every {minutes} minutes"))
    }

    fn times(
        &self,
        cron: &str,
        _time_zone: &str,
        after: Timestamp,
        limit: usize,
    ) -> Result<Vec<CalendarTime>, Invalid> {
        let minutes: i64 = cron.parse().map_err(|_no| Invalid::new("no number"))?;
        let millis = minutes * 60_000;
        let first = after.timestamp_millis().div_euclid(millis) + 1;
        let times = (first..).take(limit).map(|n| {
            let at = Timestamp::from_timestamp_millis(n * millis).unwrap();
            CalendarTime {
                at,
                local: at.to_rfc3339(),
                clock_change: None,
            }
        });
        Ok(times.collect())
    }
}

/// A role that may not start reruns.
pub const OUTSIDER: &str = "OUTSIDER";

pub(crate) struct NoOutsiders;

impl Permissions for NoOutsiders {
    fn may_initiate(&self, role_code: &str) -> bool {
        role_code != OUTSIDER
    }
}

/// Receivers that take everything. A URL of theirs begins with `https://`.
struct Receivers;

#[async_trait]
impl WebhookTargets for Receivers {
    async fn check(&self, url: &str) -> Result<(), Invalid> {
        if url.starts_with("https://") {
            Ok(())
        } else {
            Err(Invalid::new("`url` must begin with `https://`"))
        }
    }
}

impl WebhookSecrets for Receivers {
    fn secret(
        &self,
        account: AccountId,
        webhook: WebhookId,
        number: SecretNumber,
    ) -> Result<WebhookSecret, Invalid> {
        Ok(WebhookSecret::new(format!(
            "whsec_{account}_{webhook}_{number}"
        )))
    }
}

#[async_trait]
impl EventSender for Receivers {
    async fn send(&self, _parcel: &Parcel) -> Outcome {
        Outcome {
            response: Ok(Response {
                status: 204,
                retry_after: None,
            }),
            duration: Duration::from_millis(5),
        }
    }
}

/// Where webhooks may point in tests, with secrets that anybody can compute. What is sent arrives
/// nowhere, and is taken.
#[must_use]
pub fn webhook_ports() -> WebhookPorts {
    WebhookPorts {
        targets: Arc::new(Receivers),
        secrets: Arc::new(Receivers),
        sender: Arc::new(Receivers),
    }
}
