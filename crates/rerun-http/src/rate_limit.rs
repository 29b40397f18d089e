//! How many requests an account may send.

use std::fmt;
use std::hash::RandomState;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use rerun_core::ids::AccountId;

/// How many requests pass between two clean-ups.
const SWEEP_EVERY: u32 = 1_024;

/// A bound of the requests of each account in this process, if there is one. Clones share what
/// they have counted.
///
/// An account may send a second's worth at once, and then one request whenever its share of a
/// second has passed: no more bursts in a second than the limit says, and no wait for somebody
/// who sends evenly. Accounts that have used nothing for a second are forgotten, so that memory
/// grows with the accounts of the last second and a fixed number of requests, not with the
/// accounts that there are.
#[derive(Clone, Default)]
pub struct RateLimit(Option<Arc<Limiter<MonotonicClock>>>);

impl RateLimit {
    /// None.
    pub const OFF: Self = Self(None);

    /// So many requests a second for each account.
    #[must_use]
    pub fn per_second(requests: NonZeroU32) -> Self {
        Self(Some(Arc::new(Limiter::new(requests, MonotonicClock))))
    }

    /// Counts a request.
    ///
    /// # Errors
    /// After how long the next would pass, when this one must not.
    pub(crate) fn check(&self, account: AccountId) -> Result<(), Duration> {
        match &self.0 {
            None => Ok(()),
            Some(limiter) => limiter.check(account),
        }
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.0.as_ref().map(|limiter| limiter.per_second);
        f.debug_tuple("RateLimit").field(&limit).finish()
    }
}

type Accounts<C> = RateLimiter<
    AccountId,
    DashMapStateStore<AccountId, RandomState>,
    C,
    NoOpMiddleware<<C as Clock>::Instant>,
>;

struct Limiter<C: Clock> {
    per_second: NonZeroU32,
    accounts: Accounts<C>,
    clock: C,
    checked: AtomicU32,
}

impl<C: Clock + Clone> Limiter<C> {
    fn new(per_second: NonZeroU32, clock: C) -> Self {
        let quota = Quota::per_second(per_second);
        Self {
            per_second,
            accounts: RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()),
            clock,
            checked: AtomicU32::new(0),
        }
    }

    fn check(&self, account: AccountId) -> Result<(), Duration> {
        let checked = self.checked.fetch_add(1, Ordering::Relaxed);
        if checked % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.accounts.retain_recent();
            self.accounts.shrink_to_fit();
        }
        self.accounts
            .check_key(&account)
            .map_err(|early| early.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use uuid::Uuid;

    use super::*;

    fn account(number: u128) -> AccountId {
        AccountId::new(Uuid::from_u128(number))
    }

    fn limiter(per_second: u32) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let limit = NonZeroU32::new(per_second).unwrap();
        (Limiter::new(limit, clock.clone()), clock)
    }

    #[test]
    fn a_second_s_worth_may_come_at_once_and_the_rest_at_the_rate() {
        let (limiter, clock) = limiter(4);
        let one = account(1);
        for _ in 0..4 {
            assert_eq!(limiter.check(one), Ok(()));
        }
        assert_eq!(limiter.check(one), Err(Duration::from_millis(250)));
        clock.advance(Duration::from_millis(250));
        assert_eq!(limiter.check(one), Ok(()));
        assert!(limiter.check(one).is_err());
        // A refusal costs nothing: who asks too often is not kept out for longer.
        clock.advance(Duration::from_secs(1));
        let passed = (0..10).filter(|_| limiter.check(one).is_ok()).count();
        assert_eq!(passed, 4);
    }

    #[test]
    fn accounts_do_not_share_their_limits() {
        let (limiter, _clock) = limiter(1);
        assert!(limiter.check(account(1)).is_ok());
        assert!(limiter.check(account(1)).is_err());
        assert!(limiter.check(account(2)).is_ok());
    }

    #[test]
    fn accounts_that_went_away_take_no_memory() {
        let (limiter, clock) = limiter(2);
        let mut most = 0;
        for number in 0..100_000 {
            assert!(limiter.check(account(number)).is_ok());
            clock.advance(Duration::from_millis(10));
            most = most.max(limiter.accounts.len());
        }
        // Those of the last second, and those that came since the last clean-up.
        assert!(most <= 1_024 + 101, "{most}");
    }

    #[test]
    fn no_limit_lets_everything_pass() {
        for _ in 0..10_000 {
            assert_eq!(RateLimit::OFF.check(account(1)), Ok(()));
        }
    }
}
