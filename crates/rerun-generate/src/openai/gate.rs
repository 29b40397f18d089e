//! Decides when the endpoint may be called: one gate for the whole process.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The longest time that calls are put off at once.
pub(super) const LONGEST: Duration = Duration::from_mins(5);

/// What is waited when the endpoint named no time, the first time.
const FIRST: Duration = Duration::from_secs(1);

/// The shortest wait after the first refusal, whatever the endpoint says. It doubles with each
/// refusal in a row, up to [`SHORTEST_LATER`], so that an endpoint that names no wait at all is
/// not called without end.
const SHORTEST: Duration = Duration::from_millis(50);
const SHORTEST_LATER: Duration = Duration::from_secs(1);

/// A call begins in a round. Calls of one round that are all put off close the gate once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round(u64);

#[derive(Debug, Default)]
struct State {
    until: Option<Instant>,
    round: u64,
    /// Rounds in a row in which no call was taken.
    refused: u32,
}

impl State {
    fn left(&self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

/// Closed while the endpoint is to get no calls.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<State>);

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The round in which a call may begin.
    ///
    /// # Errors
    /// How long the gate stays closed.
    pub(super) fn enter(&self) -> Result<Round, Duration> {
        let state = self.lock();
        match state.left() {
            None => Ok(Round(state.round)),
            Some(left) => Err(left),
        }
    }

    /// Returns when the gate is open.
    pub(super) async fn opened(&self) {
        loop {
            let until = self.lock().until;
            match until {
                Some(until) if Instant::now() < until => sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// The endpoint has taken a call.
    pub(super) fn taken(&self) {
        self.lock().refused = 0;
    }

    /// The endpoint put off a call that began in `round`, and may have named a wait. Returns how
    /// long calls wait from now on, and whether this is the first such call of its round.
    /// `chance` is between 0 and 1.
    pub(super) fn put_off(
        &self,
        round: Round,
        named: Option<Duration>,
        chance: f64,
    ) -> (Duration, bool) {
        let mut state = self.lock();
        let first = round.0 == state.round;
        if first {
            state.round += 1;
            state.refused = state.refused.saturating_add(1);
        }
        let doubled = |wait: Duration| {
            let times = 1_u32.checked_shl(state.refused.saturating_sub(1));
            wait.saturating_mul(times.unwrap_or(u32::MAX))
        };
        let wait = match named {
            Some(wait) => wait.max(doubled(SHORTEST).min(SHORTEST_LATER)),
            None => doubled(FIRST),
        };
        let wait = wait.min(LONGEST).mul_f64(chance.mul_add(0.1, 1.0));
        let wait = wait.min(LONGEST);
        let until = Instant::now() + wait;
        match state.until {
            // Others of the round have closed it already; a wait that was named may be longer.
            Some(closed) if !first && (named.is_none() || until < closed) => {}
            _ => state.until = Some(until),
        }
        (state.left().unwrap_or(wait), first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_opens_when_the_wait_is_over() {
        let gate = Gate::default();
        let round = gate.enter().unwrap();
        assert_eq!(
            gate.put_off(round, Some(7 * SECOND), 0.0),
            (7 * SECOND, true)
        );
        assert_eq!(gate.enter(), Err(7 * SECOND));
        let begun = Instant::now();
        gate.opened().await;
        assert_eq!(begun.elapsed(), 7 * SECOND);
        assert!(gate.enter().is_ok());
        gate.opened().await;
        assert_eq!(begun.elapsed(), 7 * SECOND, "an open gate lets in at once");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_of_one_round_close_it_once() {
        let gate = Gate::default();
        let rounds: Vec<Round> = (0..16).map(|_| gate.enter().unwrap()).collect();
        for (n, round) in rounds.iter().enumerate() {
            let (wait, first) = gate.put_off(*round, None, 0.0);
            assert_eq!((wait, first), (SECOND, n == 0), "call {n}");
        }
        // Unless one of them names a longer wait.
        assert_eq!(
            gate.put_off(rounds[0], Some(9 * SECOND), 0.0),
            (9 * SECOND, false)
        );
        assert_eq!(
            gate.put_off(rounds[0], Some(2 * SECOND), 0.0),
            (9 * SECOND, false)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn waits_that_nobody_names_double_up_to_five_minutes() {
        let gate = Gate::default();
        let mut waits = Vec::new();
        for _ in 0..11 {
            gate.opened().await;
            let round = gate.enter().unwrap();
            waits.push(gate.put_off(round, None, 0.0).0.as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        gate.opened().await;
        let round = gate.enter().unwrap();
        gate.taken();
        assert_eq!(gate.put_off(round, None, 0.0).0, SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_of_nothing_is_no_loop() {
        let gate = Gate::default();
        let mut waits = Vec::new();
        for _ in 0..7 {
            gate.opened().await;
            let round = gate.enter().unwrap();
            waits.push(gate.put_off(round, Some(Duration::ZERO), 0.0).0.as_millis());
        }
        assert_eq!(waits, [50, 100, 200, 400, 800, 1_000, 1_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn chance_makes_waits_longer_and_never_too_long() {
        let gate = Gate::default();
        let round = gate.enter().unwrap();
        assert_eq!(gate.put_off(round, Some(10 * SECOND), 1.0).0, 11 * SECOND);
        gate.opened().await;
        let round = gate.enter().unwrap();
        let day = Duration::from_hours(24);
        assert_eq!(gate.put_off(round, Some(day), 1.0).0, LONGEST);
    }
}
