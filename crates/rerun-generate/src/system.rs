//! What a worker needs from its machine: random waits, and the signal to shut down.

use std::time::Duration;

use async_trait::async_trait;
use rerun_core::ports::Pause;
use tokio::sync::watch;

/// Pauses with chance in them: up to 0.05 s after the first conflict, up to 0.8 s after the fifth.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomPause;

impl RandomPause {
    const FIRST: Duration = Duration::from_millis(50);
    const MOST_DOUBLINGS: u32 = 4;

    /// The longest pause after so many conflicts.
    fn longest(conflicts: u32) -> Duration {
        Self::FIRST * (1 << conflicts.saturating_sub(1).min(Self::MOST_DOUBLINGS))
    }
}

#[async_trait]
impl Pause for RandomPause {
    async fn after_conflict(&self, conflicts: u32) {
        tokio::time::sleep(Self::longest(conflicts).mul_f64(fastrand::f64())).await;
    }
}

/// Asks everything that holds a [`Shutdown`] of this trigger to end. Dropping it asks as well.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

impl ShutdownTrigger {
    /// Asks.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

/// Whether, and when, the process is asked to end.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// One that nobody has asked for yet, and what asks for it.
    #[must_use]
    pub fn new() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger(sender), Self(receiver))
    }

    /// Whether it has been asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until it is asked for.
    pub async fn requested(&self) {
        // The error says that the trigger is gone, which asks as well.
        let mut receiver = self.0.clone();
        let _gone = receiver.wait_for(|requested| *requested).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let millis = |conflicts| RandomPause::longest(conflicts).as_millis();
        assert_eq!([1, 2, 3, 4, 5].map(millis), [50, 100, 200, 400, 800]);
        assert_eq!([0, 6, u32::MAX].map(millis), [50, 800, 800]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_two_pauses_are_alike() {
        let mut taken = Vec::new();
        for _ in 0..20 {
            let begun = tokio::time::Instant::now();
            RandomPause.after_conflict(5).await;
            taken.push(begun.elapsed());
        }
        assert!(taken.iter().all(|took| *took <= Duration::from_millis(801)));
        taken.sort();
        taken.dedup();
        assert!(taken.len() > 10, "{taken:?}");
    }

    #[tokio::test]
    async fn a_shutdown_is_seen_by_all_and_at_any_time() {
        let (trigger, shutdown) = Shutdown::new();
        assert!(!shutdown.is_requested());
        let other = shutdown.clone();
        trigger.request();
        assert!(shutdown.is_requested());
        shutdown.requested().await;
        other.requested().await;
    }

    #[tokio::test]
    async fn a_lost_trigger_asks_as_well() {
        let (trigger, shutdown) = Shutdown::new();
        drop(trigger);
        assert!(shutdown.is_requested());
        shutdown.requested().await;
    }
}
