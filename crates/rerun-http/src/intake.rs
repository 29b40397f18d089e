//! How much of what clients send is held at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rerun_core::ids::AccountId;

use crate::error::Refusal;

/// How many imports may be open at once: each has a temporary file.
const MAX_OPEN_IMPORTS: u64 = 64;

/// Room for the bodies in flight, shared by all requests of a process.
///
/// An account may hold at most as much as is still free. So an account alone can take half
/// of the room, and there is always some left for an account that holds nothing.
#[derive(Clone)]
pub struct Intake(Arc<Inner>);

struct Inner {
    bytes: u64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    total: Share,
    accounts: HashMap<AccountId, Share>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    bytes: u64,
    imports: u64,
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("bytes", &self.0.bytes)
            .finish_non_exhaustive()
    }
}

impl Default for Intake {
    /// 256 MiB.
    fn default() -> Self {
        Self::new(Self::DEFAULT_BYTES)
    }
}

impl Intake {
    /// Bytes of all bodies in flight, unless a setting says otherwise.
    pub const DEFAULT_BYTES: u64 = 256 << 20;

    /// Room for this many bytes of bodies, as far as they have been received.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Inner {
            bytes,
            held: Mutex::default(),
        }))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing is done under the lock that could panic half way.
        let held = self.0.held.lock();
        held.unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes more for an account, or nothing.
    fn take(&self, account: AccountId, more: Share) -> Result<(), Refusal> {
        let mut held = self.held();
        let own = held.accounts.get(&account).copied().unwrap_or_default();
        let total = held.total.plus(more);
        let own = own.plus(more);
        if own.bytes > self.0.bytes.saturating_sub(total.bytes) {
            return Err(Refusal::NoRoom("the bytes of bodies in flight"));
        }
        if own.imports > MAX_OPEN_IMPORTS.saturating_sub(total.imports) {
            return Err(Refusal::NoRoom("open imports"));
        }
        held.total = total;
        held.accounts.insert(account, own);
        Ok(())
    }

    fn give_back(&self, account: AccountId, share: Share) {
        let mut held = self.held();
        held.total = held.total.minus(share);
        let own = held.accounts.get(&account).copied().unwrap_or_default();
        let own = own.minus(share);
        if own == Share::default() {
            held.accounts.remove(&account);
        } else {
            held.accounts.insert(account, own);
        }
    }

    /// Room for a body of this account, which holds nothing yet.
    ///
    /// # Errors
    /// [`Refusal::NoRoom`] when it could not get a single byte.
    pub(crate) fn body(&self, account: AccountId) -> Result<Room, Refusal> {
        let mut room = self.room(account);
        room.grow(1)?;
        Ok(room)
    }

    /// A place among the open imports, until it is dropped.
    ///
    /// # Errors
    /// [`Refusal::NoRoom`].
    pub(crate) fn import(&self, account: AccountId) -> Result<Room, Refusal> {
        let mut room = self.room(account);
        let imports = 1;
        room.take(Share { bytes: 0, imports })?;
        Ok(room)
    }

    fn room(&self, account: AccountId) -> Room {
        Room {
            intake: self.clone(),
            account,
            share: Share::default(),
        }
    }
}

impl Share {
    fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            imports: self.imports.saturating_add(other.imports),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            imports: self.imports.saturating_sub(other.imports),
        }
    }
}

/// What one request holds; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Room {
    intake: Intake,
    account: AccountId,
    share: Share,
}

impl Room {
    /// Holds this many bytes more.
    ///
    /// # Errors
    /// [`Refusal::NoRoom`].
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.take(Share { bytes, imports: 0 })
    }

    fn take(&mut self, more: Share) -> Result<(), Refusal> {
        self.intake.take(self.account, more)?;
        self.share = self.share.plus(more);
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.intake.give_back(self.account, self.share);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn account(number: u64) -> AccountId {
        AccountId::new(Uuid::from_u64_pair(0, number))
    }

    #[test]
    fn an_account_leaves_as_much_as_it_holds() {
        let intake = Intake::new(100);
        let mut first = intake.body(account(1)).unwrap();
        first.grow(49).unwrap();
        assert!(first.grow(1).is_err());
        assert!(intake.body(account(1)).is_err());
        let mut second = intake.body(account(2)).unwrap();
        second.grow(24).unwrap();
        assert!(second.grow(1).is_err());
        drop(first);
        second.grow(25).unwrap();
        assert!(second.grow(1).is_err());
        drop(second);
        assert!(intake.held().accounts.is_empty());
        assert_eq!(intake.held().total, Share::default());
    }

    #[test]
    fn open_imports_have_a_bound_for_each_account() {
        let intake = Intake::default();
        let open = |number| {
            let mut places = Vec::new();
            while let Ok(place) = intake.import(account(number)) {
                places.push(place);
            }
            places
        };
        let (first, second, third) = (open(1), open(2), open(3));
        assert_eq!((first.len(), second.len(), third.len()), (32, 16, 8));
        drop(first);
        assert_eq!(open(4).len(), 20);
        drop((second, third));
        assert!(intake.held().accounts.is_empty());
    }

    #[test]
    fn what_is_refused_takes_nothing() {
        let intake = Intake::new(10);
        let mut room = intake.body(account(1)).unwrap();
        assert!(room.grow(usize::MAX).is_err());
        room.grow(4).unwrap();
        drop(room);
        assert_eq!(intake.held().total, Share::default());
    }
}
