use std::sync::{Arc, Mutex, PoisonError};

use crate::error::StoreError;
use crate::ids::AccountId;

/// The account that was served last, so that the next one to be served is the one after it. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Turn(Arc<Mutex<Option<AccountId>>>);

impl Turn {
    pub(super) fn last(&self) -> Option<AccountId> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, account: Option<AccountId>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = account;
    }

    /// Up to `most` accounts, from the one after the last that was served. `find` lists accounts after one of
    /// them, or from the first one, up to a number.
    ///
    /// # Errors
    /// Those of `find`.
    pub(super) async fn accounts<F>(
        &self,
        most: u32,
        find: impl Fn(Option<AccountId>, u32) -> F,
    ) -> Result<Vec<AccountId>, StoreError>
    where
        F: Future<Output = Result<Vec<AccountId>, StoreError>>,
    {
        if most == 0 {
            return Ok(Vec::new());
        }
        let after = self.last();
        let mut accounts = find(after, most).await?;
        let found = u32::try_from(accounts.len()).unwrap_or(u32::MAX);
        if let Some(after) = after
            && found < most
        {
            let others = find(None, most - found).await?;
            accounts.extend(others.into_iter().filter(|account| *account <= after));
        }
        if accounts.is_empty() {
            self.set(None);
        }
        Ok(accounts)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn accounts_begin_after_the_last_one_and_come_round_once() {
        let [one, two, three] = [1, 2, 3].map(|id| AccountId::new(Uuid::from_u128(id)));
        let asked = Mutex::new(Vec::new());
        let find = |after: Option<AccountId>, most| {
            asked.lock().unwrap().push((after, most));
            let all = [one, two, three].into_iter();
            let found = all.filter(|account| Some(*account) > after).collect();
            std::future::ready(Ok(found))
        };
        let turn = Turn::default();
        turn.set(Some(two));
        assert_eq!(turn.accounts(4, find).await.unwrap(), [three, one, two]);
        assert_eq!(turn.accounts(1, find).await.unwrap(), [three]);
        assert_eq!(turn.accounts(0, find).await.unwrap(), []);
        // No others are looked for when there are enough.
        let expected = [(Some(two), 4), (None, 3), (Some(two), 1)];
        assert_eq!(*asked.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn without_accounts_the_next_turn_is_that_of_the_first() {
        let turn = Turn::default();
        turn.set(Some(AccountId::new(Uuid::nil())));
        let none = |_, _| std::future::ready(Ok(Vec::new()));
        assert_eq!(turn.accounts(4, none).await.unwrap(), []);
        assert_eq!(turn.last(), None);
    }
}
