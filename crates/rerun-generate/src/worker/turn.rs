use std::time::Duration;

use tokio::time::Instant;

/// About how long the messages of one lease take until they are made. What another account queues
/// meanwhile waits for about as long.
pub(super) const LENGTH: Duration = Duration::from_millis(10);

/// The same until they are stored, for a store that writes one thing at a time. Shorter turns cost
/// more than they give: each has transactions of its own.
pub(super) const WITH_ONE_WRITER: Duration = Duration::from_millis(3);

/// How many messages a worker leases at once, by how long it took for those before them.
#[derive(Debug)]
pub(super) struct Turn {
    length: Duration,
    messages: u32,
    least: u32,
    most: u32,
    /// How many were leased for the turn that is on, and when.
    on: Option<(u32, Instant)>,
}

impl Turn {
    /// Between so many messages that every call has one, and the most that a lease takes.
    pub(super) fn new(length: Duration, concurrency: usize, most: u32) -> Self {
        let least = u32::try_from(concurrency).unwrap_or(u32::MAX).min(most);
        Self {
            length,
            messages: least,
            least,
            most,
            on: None,
        }
    }

    pub(super) const fn messages(&self) -> u32 {
        self.messages
    }

    /// So many messages were asked for at that time.
    pub(super) fn begin(&mut self, messages: usize, asked: Instant) {
        self.on = Some((u32::try_from(messages).unwrap_or(u32::MAX), asked));
    }

    /// The turn that is on is over.
    pub(super) fn end(&mut self) {
        if let Some((messages, asked)) = self.on.take() {
            self.took(messages, asked.elapsed());
        }
    }

    /// The next turn has at most twice as many as this one, since what made them quick may be over.
    fn took(&mut self, messages: u32, elapsed: Duration) {
        // When a queue is nearly empty, most of the time goes into what every turn costs, and into the
        // end of the run.
        if messages < self.messages && elapsed < 4 * self.length {
            return;
        }
        let fitting = self.length.as_nanos() * u128::from(messages) / elapsed.as_nanos().max(1);
        let fitting = u32::try_from(fitting).unwrap_or(u32::MAX);
        let next = fitting.min(self.messages.saturating_mul(2));
        self.messages = next.clamp(self.least, self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_turn_has_as_many_messages_as_fit_into_its_length() {
        let mut turn = Turn::new(LENGTH, 4, 2_000);
        assert_eq!(turn.messages(), 4);
        for expected in [8, 16, 20, 20] {
            let messages = turn.messages();
            turn.took(messages, millis(u64::from(messages)) / 2);
            assert_eq!(turn.messages(), expected);
        }
        turn.took(20, millis(5_000));
        assert_eq!(turn.messages(), 4, "each call keeps one");
    }

    #[test]
    fn the_rest_of_a_queue_shortens_no_turn_unless_it_is_slow() {
        let mut turn = Turn::new(LENGTH, 4, 2_000);
        for messages in [4, 8] {
            turn.took(messages, Duration::ZERO);
        }
        turn.took(10, millis(39));
        assert_eq!(turn.messages(), 16);
        turn.took(10, millis(40));
        assert_eq!(turn.messages(), 4);
    }

    #[test]
    fn a_turn_stays_within_its_bounds() {
        let mut turn = Turn::new(LENGTH, 4, 10);
        turn.took(4, Duration::ZERO);
        turn.took(8, Duration::ZERO);
        assert_eq!(turn.messages(), 10);
        assert_eq!(Turn::new(LENGTH, 100, 10).messages(), 10);
    }
}
