use std::sync::{Arc, Mutex, PoisonError};

use super::turns::Turn;
use super::{Host, RerunRequest, Reruns};
use crate::actor::Actor;
use crate::error::{Error, StoreError};
use crate::event::{Event, SuggestedRerun};
use crate::ids::{AccountId, CampaignId, CustomerGroupId, LeaseId};
use crate::outlook::{MOST_ATTEMPTS, Outlook, RETRY};
use crate::ports::{ChangedGroupQueue, NoteOutlook, TakeGroup, TakenGroup};

/// The most campaigns that are listed at once.
const PAGE: u32 = 100;

/// Previews the reruns of campaigns into whose groups somebody imported, and writes the event
/// `campaign.rerun_suggested` when something would change. Any number of processes may do that at
/// once; how often they look is their own business.
#[derive(Clone)]
pub struct RerunSuggestions {
    queue: Arc<dyn ChangedGroupQueue>,
    reruns: Reruns,
    host: Host,
    /// The account that was served last, so that the next one is that after it.
    turn: Turn,
    /// The group that is being previewed.
    held: Arc<Mutex<Option<TakenGroup>>>,
}

/// What became of the campaigns of a group.
#[derive(Debug, Default)]
pub struct PreviewedGroup {
    /// A rerun was suggested.
    pub suggested: u32,
    /// The same was suggested before.
    pub repeated: u32,
    /// A rerun would change nothing.
    pub unchanged: u32,
    /// A rerun would be refused.
    pub refused: u32,
    /// The store failed for these. The group is previewed again, unless this was the last attempt.
    pub failed: u32,
    /// Why it failed the first time.
    pub error: Option<StoreError>,
}

enum Looked {
    Suggested,
    Repeated,
    Unchanged,
}

impl PreviewedGroup {
    fn count(&mut self, looked: Result<Looked, Error>) {
        match looked {
            Ok(Looked::Suggested) => self.suggested += 1,
            Ok(Looked::Repeated) => self.repeated += 1,
            Ok(Looked::Unchanged) => self.unchanged += 1,
            Err(Error::Store(error)) => {
                self.failed += 1;
                self.error.get_or_insert(error);
            }
            Err(_refusal) => self.refused += 1,
        }
    }
}

impl RerunSuggestions {
    /// Over these ports.
    #[must_use]
    pub fn new(queue: Arc<dyn ChangedGroupQueue>, reruns: Reruns, host: Host) -> Self {
        Self {
            queue,
            reruns,
            host,
            turn: Turn::default(),
            held: Arc::default(),
        }
    }

    /// Previews the campaigns of one group that is due; accounts take turns. `None` when no group
    /// is due.
    ///
    /// # Errors
    /// [`StoreError`]. The next call starts with another account.
    pub async fn preview_next(&self) -> Result<Option<PreviewedGroup>, StoreError> {
        let now = self.host.clock.now();
        let after = self.turn.last();
        let mut accounts = self.queue.accounts_changed(after, 1, now).await?;
        if accounts.is_empty() && after.is_some() {
            accounts = self.queue.accounts_changed(None, 1, now).await?;
        }
        // Also before an error: the next call must come to the accounts after this one.
        self.turn.set(accounts.first().copied());
        let Some(account_id) = accounts.pop() else {
            return Ok(None);
        };
        let request = TakeGroup {
            account_id,
            lease: LeaseId::new(self.host.ids.next()),
            now,
        };
        let Some(taken) = self.queue.take_group(request).await? else {
            return Ok(Some(PreviewedGroup::default()));
        };
        self.hold(Some(taken));
        let mut previewed = PreviewedGroup::default();
        if let Err(error) = self.preview(&taken, &mut previewed).await {
            previewed.count(Err(error.into()));
        }
        let tried_enough = taken.attempt >= MOST_ATTEMPTS;
        let again = (previewed.failed > 0 && !tried_enough).then(|| self.host.clock.now() + RETRY);
        self.queue.leave_group(taken, again).await?;
        self.hold(None);
        Ok(Some(previewed))
    }

    /// Gives the group back that a call of [`RerunSuggestions::preview_next`] had when it was
    /// dropped, for another process to take at once.
    ///
    /// # Errors
    /// [`StoreError`]; the lease will end by itself.
    pub async fn release(&self) -> Result<(), StoreError> {
        let held = self
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(taken) = held {
            let now = self.host.clock.now();
            self.queue.leave_group(taken, Some(now)).await?;
        }
        Ok(())
    }

    fn hold(&self, taken: Option<TakenGroup>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = taken;
    }

    async fn preview(
        &self,
        taken: &TakenGroup,
        previewed: &mut PreviewedGroup,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self
                .queue
                .published_for(taken.account_id, taken.group_id, after, PAGE)
                .await?;
            for campaign in &page {
                if after.is_some() || Some(campaign) != page.first() {
                    let now = self.host.clock.now();
                    if !self.queue.renew_group(*taken, now).await? {
                        return Ok(());
                    }
                }
                let looked = self.look(taken.account_id, *campaign, taken.group_id).await;
                previewed.count(looked);
            }
            match page.last() {
                Some(last) if u32::try_from(page.len()).is_ok_and(|read| read >= PAGE) => {
                    after = Some(*last);
                }
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// Previews one campaign, and writes what follows. A campaign that moves meanwhile is previewed
    /// again.
    async fn look(
        &self,
        account: AccountId,
        campaign: CampaignId,
        group: CustomerGroupId,
    ) -> Result<Looked, Error> {
        let mut conflicts = 0;
        loop {
            match self.look_once(account, campaign, group).await {
                Err(Error::Store(error)) => self.host.decide_again(error, &mut conflicts).await?,
                looked => return looked,
            }
        }
    }

    async fn look_once(
        &self,
        account: AccountId,
        campaign: CampaignId,
        group: CustomerGroupId,
    ) -> Result<Looked, Error> {
        let actor = Actor::system(account);
        let request = RerunRequest::new(campaign, group);
        let planned = self.reruns.plan(&actor, request).await?;
        let current = planned.current_of(group);
        let Some(run) = current.filter(|_| planned.campaign.suggest_reruns) else {
            return Ok(Looked::Unchanged);
        };
        let segments = self.queue.run_segments(account, campaign, run).await?;
        let outlook = Outlook::of(&planned.plan, &segments);
        let audit = outlook.map(|outlook| {
            let event = Event::RerunSuggested(SuggestedRerun {
                campaign_id: campaign,
                run_number: run,
                customer_group_id: group,
                segments: outlook.segments,
                customers: outlook.customers,
            });
            let now = self.host.clock.now();
            self.host.author(&actor, now).of(event)
        });
        let note = NoteOutlook {
            campaign: planned.campaign,
            digest: outlook.map(|outlook| outlook.digest),
            audit,
        };
        let noted = self.queue.note_outlook(note).await?;
        Ok(match outlook {
            None => Looked::Unchanged,
            Some(_) if noted => Looked::Suggested,
            Some(_) => Looked::Repeated,
        })
    }
}

#[cfg(test)]
mod tests {
    use mockall::predicate::{always, eq};
    use uuid::Uuid;

    use super::super::Settings;
    use super::*;
    use crate::ports::{
        MockCampaignStore, MockChangedGroupQueue, MockClock, MockIdGenerator, MockIdempotencyStore,
        MockRerunStore,
    };
    use crate::timestamp::Timestamp;

    const ONE: AccountId = AccountId::new(Uuid::from_u128(1));
    const TWO: AccountId = AccountId::new(Uuid::from_u128(2));
    const GROUP: CustomerGroupId = CustomerGroupId::new(Uuid::from_u128(3));
    const LEASED: LeaseId = LeaseId::new(Uuid::from_u128(9));

    fn suggestions(queue: MockChangedGroupQueue, campaigns: MockCampaignStore) -> RerunSuggestions {
        let mut clock = MockClock::new();
        clock.expect_now().return_const(Timestamp::UNIX_EPOCH);
        let mut ids = MockIdGenerator::new();
        ids.expect_next().return_const(Uuid::from_u128(9));
        let host = Host::new(clock, ids);
        let reruns = Reruns::new(
            Arc::new(MockRerunStore::new()),
            Arc::new(campaigns),
            Arc::new(MockIdempotencyStore::new()),
            host.clone(),
            Settings::default(),
        );
        RerunSuggestions::new(Arc::new(queue), reruns, host)
    }

    const fn taken(attempt: u32) -> TakenGroup {
        TakenGroup {
            account_id: ONE,
            group_id: GROUP,
            lease: LEASED,
            imports: 1,
            attempt,
        }
    }

    /// A queue with one group of one account, at this attempt.
    fn queue(attempt: u32, campaigns: &'static [u128]) -> MockChangedGroupQueue {
        let mut queue = MockChangedGroupQueue::new();
        queue
            .expect_accounts_changed()
            .returning(|_, _, _| Ok(vec![ONE]));
        queue
            .expect_take_group()
            .returning(move |_| Ok(Some(taken(attempt))));
        queue.expect_published_for().returning(|_, _, _, _| {
            let campaigns = campaigns
                .iter()
                .map(|id| CampaignId::new(Uuid::from_u128(*id)));
            Ok(campaigns.collect())
        });
        queue
    }

    fn broken() -> StoreError {
        StoreError::Corrupt("a row of this campaign".into())
    }

    #[tokio::test]
    async fn a_campaign_that_fails_does_not_hold_up_the_others() {
        let mut queue = queue(1, &[5, 6]);
        queue
            .expect_renew_group()
            .times(1)
            .returning(|_, _| Ok(true));
        let again = Some(Timestamp::UNIX_EPOCH + RETRY);
        queue
            .expect_leave_group()
            .with(eq(taken(1)), eq(again))
            .times(1)
            .returning(|_, _| Ok(()));
        let mut campaigns = MockCampaignStore::new();
        campaigns
            .expect_campaign_context()
            .returning(|_, campaign, _| match campaign.as_uuid().as_u128() {
                5 => Err(broken()),
                _ => Ok(None),
            });
        let suggestions = suggestions(queue, campaigns);
        let previewed = suggestions.preview_next().await.unwrap().unwrap();
        assert_eq!((previewed.failed, previewed.refused), (1, 1));
        assert!(matches!(previewed.error, Some(StoreError::Corrupt(_))));
        // Nothing is held any more.
        suggestions.release().await.unwrap();
    }

    #[tokio::test]
    async fn a_preview_that_always_fails_is_given_up() {
        let mut queue = queue(MOST_ATTEMPTS, &[5]);
        queue
            .expect_leave_group()
            .with(eq(taken(MOST_ATTEMPTS)), eq(None))
            .times(1)
            .returning(|_, _| Ok(()));
        let mut campaigns = MockCampaignStore::new();
        campaigns
            .expect_campaign_context()
            .returning(|_, _, _| Err(broken()));
        let previewed = suggestions(queue, campaigns).preview_next().await;
        assert_eq!(previewed.unwrap().unwrap().failed, 1);
    }

    #[tokio::test]
    async fn a_preview_whose_lease_was_lost_ends() {
        let mut queue = queue(1, &[5, 6, 7]);
        queue
            .expect_renew_group()
            .times(1)
            .returning(|_, _| Ok(false));
        queue
            .expect_leave_group()
            .with(eq(taken(1)), eq(None))
            .times(1)
            .returning(|_, _| Ok(()));
        let mut campaigns = MockCampaignStore::new();
        campaigns
            .expect_campaign_context()
            .times(1)
            .returning(|_, _, _| Ok(None));
        let previewed = suggestions(queue, campaigns).preview_next().await;
        assert_eq!(previewed.unwrap().unwrap().refused, 1);
    }

    #[tokio::test]
    async fn campaigns_are_read_page_by_page() {
        let mut queue = MockChangedGroupQueue::new();
        queue
            .expect_accounts_changed()
            .returning(|_, _, _| Ok(vec![ONE]));
        queue.expect_take_group().returning(|_| Ok(Some(taken(1))));
        queue.expect_renew_group().returning(|_, _| Ok(true));
        queue.expect_leave_group().returning(|_, _| Ok(()));
        let campaign = |id: u32| CampaignId::new(Uuid::from_u128(id.into()));
        let mut pages = |after: Option<u32>, ids: std::ops::RangeInclusive<u32>| {
            queue
                .expect_published_for()
                .with(always(), always(), eq(after.map(campaign)), eq(PAGE))
                .times(1)
                .returning(move |_, _, _, _| Ok(ids.clone().map(campaign).collect()));
        };
        pages(None, 1..=PAGE);
        pages(Some(PAGE), PAGE + 1..=PAGE + 1);
        let mut campaigns = MockCampaignStore::new();
        campaigns
            .expect_campaign_context()
            .returning(|_, _, _| Ok(None));
        let previewed = suggestions(queue, campaigns).preview_next().await;
        assert_eq!(previewed.unwrap().unwrap().refused, PAGE + 1);
    }

    #[tokio::test]
    async fn a_preview_that_is_dropped_is_given_back() {
        let mut queue = queue(2, &[5]);
        let now = Some(Timestamp::UNIX_EPOCH);
        queue
            .expect_leave_group()
            .with(eq(taken(2)), eq(now))
            .times(1)
            .returning(|_, _| Ok(()));
        let mut campaigns = MockCampaignStore::new();
        campaigns
            .expect_campaign_context()
            .returning(|_, _, _| panic!("the process ends here"));
        let suggestions = suggestions(queue, campaigns);
        let own = suggestions.clone();
        let broken_off = tokio::spawn(async move { own.preview_next().await.is_ok() }).await;
        assert!(broken_off.is_err());
        suggestions.release().await.unwrap();
    }

    #[tokio::test]
    async fn an_account_that_fails_does_not_hold_up_others() {
        let mut queue = MockChangedGroupQueue::new();
        let mut changed = |after, accounts: &'static [AccountId]| {
            queue
                .expect_accounts_changed()
                .with(eq(after), always(), always())
                .returning(|_, _, _| Ok(accounts.to_vec()));
        };
        changed(None, &[ONE]);
        changed(Some(ONE), &[TWO]);
        queue.expect_take_group().returning(|request| {
            if request.account_id == ONE {
                return Err(broken());
            }
            Ok(None)
        });
        let suggestions = suggestions(queue, MockCampaignStore::new());
        assert!(suggestions.preview_next().await.is_err());
        assert!(suggestions.preview_next().await.unwrap().is_some());
    }
}
