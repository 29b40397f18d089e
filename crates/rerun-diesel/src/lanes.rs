//! Imports wait for each other before they take a connection.
//!
//! An import holds its connection for as long as its file takes. If imports waited for each other
//! on the database, each with a connection, a few of them would take the whole pool from everybody
//! else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CustomerGroupId};
use rerun_core::ports::PoolUsage;
use tokio::sync::{Mutex as Queue, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::waits::Meter;

/// Which group an import is about.
pub type Group = (AccountId, CustomerGroupId);

/// The first pause of an import that waits for another process, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Lets imports begin: at most half of the pool's connections import at once, and of the imports
/// of one group one at a time, in the order in which they came. Clones are the same lanes.
#[derive(Debug, Clone)]
pub struct Lanes {
    size: u32,
    free: Arc<Semaphore>,
    groups: Arc<Mutex<HashMap<Group, Weak<Queue<()>>>>>,
    meter: Arc<Meter>,
}

/// An import's turn in its group. It ends when this is dropped.
#[derive(Debug)]
pub struct Turn {
    _group: OwnedMutexGuard<()>,
}

/// A lane that an import uses. It is free again when this is dropped.
#[derive(Debug)]
pub struct Lane {
    _permit: OwnedSemaphorePermit,
}

impl Lanes {
    /// The lanes of a pool of so many connections: half as many, and at least one.
    #[must_use]
    pub fn new(pool_size: u32) -> Self {
        let size = (pool_size / 2).max(1);
        Self {
            size,
            free: Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(1))),
            groups: Arc::default(),
            meter: Arc::default(),
        }
    }

    /// The number of lanes.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Waits until no other import of this process into the group is under way. The wait holds
    /// nothing, has no end of its own, and ends when the future is dropped.
    pub async fn turn(&self, group: Group) -> Turn {
        let _waiting = self.meter.wait();
        let queue = self.queue(group);
        Turn {
            _group: queue.lock_owned().await,
        }
    }

    /// Waits for a lane, in the same way.
    ///
    /// # Errors
    /// [`StoreError::Backend`] once the lanes are closed, which nothing does.
    pub async fn lane(&self) -> Result<Lane, StoreError> {
        let _waiting = self.meter.wait();
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let permit = permit.map_err(|closed| StoreError::Backend(closed.into()))?;
        Ok(Lane { _permit: permit })
    }

    /// Pauses before the given try of an import that another process keeps from its group, with
    /// neither a lane nor a connection.
    pub async fn pause(&self, tries: u32) {
        let _waiting = self.meter.wait();
        let (first, longest) = PAUSES;
        let pause = first.saturating_mul(2_u32.saturating_pow(tries));
        tokio::time::sleep(pause.min(longest)).await;
    }

    /// How the lanes are used, as if they were connections: idle ones are free.
    #[must_use]
    pub fn usage(&self) -> PoolUsage {
        let free = u32::try_from(self.free.available_permits()).unwrap_or(self.size);
        self.meter
            .usage(self.size, self.size.saturating_sub(free), free)
    }

    fn queue(&self, group: Group) -> Arc<Queue<()>> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|_, queue| queue.strong_count() > 0);
        if let Some(queue) = groups.get(&group).and_then(Weak::upgrade) {
            return queue;
        }
        let queue = Arc::new(Queue::new(()));
        groups.insert(group, Arc::downgrade(&queue));
        queue
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use uuid::Uuid;

    use super::*;

    fn group(account: u128, group: u128) -> Group {
        (
            AccountId::new(Uuid::from_u128(account)),
            CustomerGroupId::new(Uuid::from_u128(group)),
        )
    }

    #[tokio::test]
    async fn imports_of_one_group_come_one_after_the_other() {
        let lanes = Lanes::new(8);
        let first = lanes.turn(group(1, 1)).await;
        for other in [group(1, 2), group(2, 1)] {
            assert!(lanes.turn(other).now_or_never().is_some(), "another group");
        }
        let mut second = Box::pin(lanes.turn(group(1, 1)));
        let mut third = Box::pin(lanes.turn(group(1, 1)));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!((lanes.usage().waiting, lanes.usage().in_use), (2, 0));
        drop(first);
        assert!(third.as_mut().now_or_never().is_none(), "in their order");
        // Who gives up does not keep the others waiting.
        drop(second);
        assert!(third.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn half_of_the_pool_imports_at_once() {
        for (pool, expected) in [(1, 1), (2, 1), (3, 1), (8, 4)] {
            let lanes = Lanes::new(pool);
            let mut taken = Vec::new();
            while let Some(lane) = lanes.lane().now_or_never() {
                taken.push(lane.expect("a lane"));
            }
            assert_eq!(
                (taken.len(), lanes.size()),
                (expected, lanes.usage().in_use)
            );
            taken.pop();
            assert!(lanes.lane().now_or_never().is_some());
        }
    }

    #[tokio::test]
    async fn a_group_that_nobody_imports_into_is_forgotten() {
        let lanes = Lanes::new(8);
        for n in 0..9 {
            drop(lanes.turn(group(1, n)).await);
        }
        assert_eq!(lanes.groups.lock().expect("the groups").len(), 1);
    }
}
