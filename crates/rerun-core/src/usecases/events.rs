use std::sync::Arc;

use crate::actor::Actor;
use crate::audit::AuditAction;
use crate::error::{Error, Invalid, StoreError};
use crate::feed::{EventPage, PublicEvent};
use crate::ids::AccountId;
use crate::page::Limit;
use crate::ports::{EventFilter, EventLog};

/// Which events somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventQuery {
    /// Events after this number; 0 for all.
    pub after_sequence: i64,
    /// Which of them.
    pub filter: EventFilter,
    /// The most events, 1 to 10,000; 1,000 when not given.
    pub limit: Option<i64>,
}

/// What happened in an account, as other systems follow it.
#[derive(Clone)]
pub struct Events {
    log: Arc<dyn EventLog>,
}

impl Events {
    /// Over this port.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log }
    }

    /// The account's events after a number, oldest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a number or limit out of range, or a list of no types;
    /// [`Error::CampaignNotFound`] when the filter names a campaign that is not there;
    /// [`Error::Store`].
    pub async fn list(
        &self,
        actor: &Actor,
        query: &EventQuery,
    ) -> Result<EventPage<PublicEvent>, Error> {
        let limit = query.limit.map_or(Ok(Limit::default()), Limit::new)?;
        if query.after_sequence < 0 {
            return Err(Invalid::new("`after_sequence` must be 0 or more").into());
        }
        if query.filter.types.as_ref().is_some_and(Vec::is_empty) {
            return Err(Invalid::new("`types` must name at least one type").into());
        }
        let mut filter = query.filter.clone();
        if let Some(types) = &mut filter.types {
            types.sort_unstable_by_key(|action| action.as_str());
            types.dedup();
        }
        if filter
            .types
            .as_ref()
            .is_some_and(|types| types.len() == AuditAction::ALL.len())
        {
            filter.types = None;
        }
        let found = self
            .log
            .events(actor.account_id, &filter, query.after_sequence, limit)
            .await?;
        let page = found.ok_or(Error::CampaignNotFound)?;
        let events = page.events.iter().map(PublicEvent::of);
        Ok(EventPage {
            events: events.collect::<Result<_, _>>()?,
            next_sequence: page.next_sequence,
            head_sequence: page.head_sequence,
        })
    }

    /// The number of the newest event of each of these accounts that has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn heads(&self, accounts: &[AccountId]) -> Result<Vec<(AccountId, i64)>, StoreError> {
        self.log.event_heads(accounts).await
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ports::MockEventLog;

    const ACCOUNT: AccountId = AccountId::new(Uuid::from_u128(1));

    /// What the log is asked for.
    async fn asked(query: EventQuery) -> Result<Option<Vec<AuditAction>>, Error> {
        let (filters, asked) = std::sync::mpsc::channel();
        let mut log = MockEventLog::new();
        log.expect_events().returning(move |_, filter, _, _| {
            filters.send(filter.types.clone()).unwrap();
            Ok(Some(EventPage {
                events: Vec::new(),
                next_sequence: 0,
                head_sequence: 0,
            }))
        });
        let events = Events::new(Arc::new(log));
        events.list(&Actor::system(ACCOUNT), &query).await?;
        Ok(asked.recv().unwrap())
    }

    #[tokio::test]
    async fn events_are_asked_for_after_a_number_of_0_or_more() {
        for (after_sequence, is_valid) in [(-1, false), (0, true), (1, true)] {
            let query = EventQuery {
                after_sequence,
                ..EventQuery::default()
            };
            assert_eq!(asked(query).await.is_ok(), is_valid, "{after_sequence}");
        }
    }

    #[tokio::test]
    async fn types_are_asked_for_once_each_and_all_of_them_are_no_filter() {
        let types = async |types: &[AuditAction]| {
            let query = EventQuery {
                filter: EventFilter {
                    types: Some(types.to_vec()),
                    ..EventFilter::default()
                },
                ..EventQuery::default()
            };
            asked(query).await
        };
        let (failed, completed) = (AuditAction::RunFailed, AuditAction::RunCompleted);
        assert!(types(&[]).await.is_err());
        assert_eq!(
            types(&[failed, completed, failed]).await.unwrap(),
            Some(vec![completed, failed])
        );
        assert_eq!(types(AuditAction::ALL).await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_newest_numbers_are_those_of_the_log() {
        let mut log = MockEventLog::new();
        log.expect_event_heads()
            .returning(|accounts| Ok(accounts.iter().map(|account| (*account, 7)).collect()));
        let events = Events::new(Arc::new(log));
        assert_eq!(events.heads(&[ACCOUNT]).await.unwrap(), [(ACCOUNT, 7)]);
    }
}
