use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::Host;
use super::turns::Turn;
use crate::error::StoreError;
use crate::generation::{
    EndedRun, GenerationError, GenerationPolicy, GenerationTask, Made, Settled, TaskResult,
};
use crate::ids::{AccountId, AuditEntryId, CampaignId, ContentId, LeaseId, MessageId, RunNumber};
use crate::ports::{Backoff, GenerationQueue, LeaseTasks, SettleRun};
use crate::timestamp::Timestamp;

/// The worker's side of generation. A worker leases tasks, calls its generator for each, and
/// settles the results under the same lease; how many it has at once and when it sleeps is its
/// own business.
#[derive(Clone)]
pub struct Generation {
    queue: Arc<dyn GenerationQueue>,
    backoff: Arc<dyn Backoff>,
    host: Host,
    policy: GenerationPolicy,
    turn: Turn,
}

/// Tasks that were leased together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedTasks {
    /// Their lease.
    pub lease: LeaseId,
    /// The tasks.
    pub tasks: Vec<GenerationTask>,
}

/// What became of results.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settlement {
    /// The messages, of all runs together.
    pub settled: Settled,
    /// The runs whose generation these results ended.
    pub ended: Vec<EndedRun>,
}

/// The most bytes that a lease returns: attributes, templates and briefs. It may go beyond by one
/// task.
pub const MAX_LEASE_BYTES: u64 = 8 << 20;

/// The most accounts that one lease serves; the next lease begins after them.
const MAX_LEASE_ACCOUNTS: u32 = 32;

/// What tasks of one account take up, in bytes.
fn size(tasks: &[GenerationTask]) -> u64 {
    let mut briefs = BTreeSet::new();
    let task = |task: &GenerationTask| {
        let attributes = task.attributes.as_json().len();
        if briefs.insert(task.campaign_id) {
            attributes + task.brief.size()
        } else {
            attributes
        }
    };
    u64::try_from(tasks.iter().map(task).sum::<usize>()).unwrap_or(u64::MAX)
}

/// The tasks of all queues, the first of each, then the second of each, and so on.
fn in_turns(mut queues: VecDeque<VecDeque<GenerationTask>>) -> Vec<GenerationTask> {
    let mut tasks = Vec::with_capacity(queues.iter().map(VecDeque::len).sum());
    while let Some(mut queue) = queues.pop_front() {
        if let Some(task) = queue.pop_front() {
            tasks.push(task);
            queues.push_back(queue);
        }
    }
    tasks
}

impl Generation {
    /// Over these ports.
    #[must_use]
    pub fn new(
        queue: Arc<dyn GenerationQueue>,
        backoff: Arc<dyn Backoff>,
        host: Host,
        policy: GenerationPolicy,
    ) -> Self {
        Self {
            queue,
            backoff,
            host,
            policy,
            turn: Turn::default(),
        }
    }

    /// Attempts and lease length.
    #[must_use]
    pub const fn policy(&self) -> &GenerationPolicy {
        &self.policy
    }

    /// Leases up to `limit` tasks that are due, and no more than [`MAX_LEASE_BYTES`] of them. The
    /// accounts that have due tasks share the lease, and take turns in the order of its tasks, so
    /// that an account with a long queue delays no other.
    ///
    /// # Errors
    /// [`StoreError`], when nothing was leased.
    pub async fn lease(&self, limit: u32) -> Result<LeasedTasks, StoreError> {
        let now = self.host.clock.now();
        let lease = LeaseId::new(self.host.ids.next());
        let (mut left, mut bytes) = (limit, MAX_LEASE_BYTES);
        let mut taken: BTreeMap<AccountId, Vec<GenerationTask>> = BTreeMap::new();
        let mut open = self.accounts_in_turn(limit, now).await?;
        let order = open.clone();
        while !open.is_empty() {
            let mut have_more = Vec::new();
            for (turns, account_id) in (1..=open.len()).rev().zip(&open) {
                if left == 0 || bytes == 0 {
                    break;
                }
                let share = left.div_ceil(u32::try_from(turns).unwrap_or(u32::MAX));
                let request = LeaseTasks {
                    account_id: *account_id,
                    lease,
                    limit: share,
                    bytes: bytes.div_ceil(u64::try_from(turns).unwrap_or(u64::MAX)),
                    now,
                    until: now + self.policy.lease,
                };
                let tasks = match self.queue.lease(request).await {
                    Ok(tasks) => tasks,
                    Err(error) if taken.is_empty() => {
                        // The next lease must come to the accounts after this one.
                        self.turn.set(Some(*account_id));
                        return Err(error);
                    }
                    // What was taken is made; the next lease reports the error, if it remains.
                    Err(_again) => {
                        have_more.clear();
                        break;
                    }
                };
                let number = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
                left = left.saturating_sub(number);
                bytes = bytes.saturating_sub(size(&tasks));
                if number >= share {
                    have_more.push(*account_id);
                }
                if number > 0 {
                    self.turn.set(Some(*account_id));
                    taken.entry(*account_id).or_default().extend(tasks);
                }
            }
            open = have_more;
        }
        let queues: VecDeque<_> = order
            .iter()
            .filter_map(|account| taken.remove(account))
            .map(VecDeque::from)
            .collect();
        Ok(LeasedTasks {
            lease,
            tasks: in_turns(queues),
        })
    }

    /// Leases up to `limit` due tasks of one account: the next one that has any and that `claim` accepts. It is
    /// asked before the tasks are leased, and refuses `busy` accounts at most.
    ///
    /// # Errors
    /// [`StoreError`], when nothing was leased.
    pub async fn lease_from_one(
        &self,
        limit: u32,
        busy: usize,
        claim: impl Fn(AccountId) -> bool,
    ) -> Result<LeasedTasks, StoreError> {
        let now = self.host.clock.now();
        let lease = LeaseId::new(self.host.ids.next());
        let looks = u32::try_from(busy).unwrap_or(u32::MAX).saturating_add(1);
        // If another worker has just taken an account's tasks, it is the next account's turn.
        for _account in 0..MAX_LEASE_ACCOUNTS {
            let next = self
                .accounts_in_turn(limit.min(1).saturating_mul(looks), now)
                .await?;
            let Some(account_id) = next.into_iter().find(|account| claim(*account)) else {
                break;
            };
            self.turn.set(Some(account_id));
            let request = LeaseTasks {
                account_id,
                lease,
                limit,
                bytes: MAX_LEASE_BYTES,
                now,
                until: now + self.policy.lease,
            };
            let tasks = self.queue.lease(request).await?;
            if !tasks.is_empty() {
                return Ok(LeasedTasks { lease, tasks });
            }
        }
        Ok(LeasedTasks {
            lease,
            tasks: Vec::new(),
        })
    }

    /// Gives leased tasks the approved messages that are nearest to theirs, as examples.
    ///
    /// # Errors
    /// [`StoreError`]; the tasks are leased all the same.
    pub async fn add_examples(&self, leased: &mut LeasedTasks) -> Result<(), StoreError> {
        let mut messages: BTreeMap<AccountId, Vec<MessageId>> = BTreeMap::new();
        for task in &leased.tasks {
            let of_account = messages.entry(task.account_id).or_default();
            of_account.push(task.message_id);
        }
        let mut found = HashMap::new();
        for (account, messages) in messages {
            let nearest = self.queue.examples(account, messages).await?;
            let nearest = nearest.into_iter();
            found.extend(nearest.map(|nearest| ((account, nearest.suggested_for), nearest)));
        }
        for task in &mut leased.tasks {
            if let Some(nearest) = found.remove(&(task.account_id, task.message_id)) {
                task.example = nearest.example(&task.brief.segment_by)?;
            }
        }
        Ok(())
    }

    /// The accounts with due tasks, from the one after the last that was served.
    async fn accounts_in_turn(
        &self,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        let find = |after, most| self.queue.due_accounts(after, most, now);
        self.turn
            .accounts(limit.min(MAX_LEASE_ACCOUNTS), find)
            .await
    }

    /// Prolongs a lease by its whole length from now; answers how many tasks it still holds.
    /// A worker renews well before the lease ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn renew(&self, lease: LeaseId) -> Result<u64, StoreError> {
        let now = self.host.clock.now();
        self.queue.renew(lease, now, now + self.policy.lease).await
    }

    /// Gives back what a lease still holds, for another worker to take at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn release(&self, lease: LeaseId) -> Result<u64, StoreError> {
        self.queue.release(lease, self.host.clock.now()).await
    }

    /// What becomes of a task after an attempt, to be settled.
    #[must_use]
    pub fn result_of(
        &self,
        task: &GenerationTask,
        attempt: Result<impl Into<Made>, GenerationError>,
    ) -> TaskResult {
        let now = self.host.clock.now();
        let (attempt, usage) = match attempt.map(Into::into) {
            Ok(Made { content, usage }) => (Ok(content), usage),
            Err(mut error) => {
                let usage = error.usage.take();
                (Err(error), usage)
            }
        };
        TaskResult {
            account_id: task.account_id,
            campaign_id: task.campaign_id,
            run_number: task.run_number,
            message_id: task.message_id,
            content_id: ContentId::new(self.host.ids.next()),
            outcome: self
                .policy
                .outcome(task, attempt, now, |failed| self.backoff.delay(failed)),
            usage,
        }
    }

    /// Stores results of one lease, run by run: those of which there are few before the others, so that a
    /// small run need not wait for a large one.
    ///
    /// # Errors
    /// [`StoreError`]; results of runs before the one that failed are stored, the others will be
    /// generated again when the lease has ended.
    pub async fn settle(
        &self,
        lease: LeaseId,
        results: Vec<TaskResult>,
    ) -> Result<Settlement, StoreError> {
        let mut runs: BTreeMap<(AccountId, CampaignId, RunNumber), Vec<TaskResult>> =
            BTreeMap::new();
        for result in results {
            let run = (result.account_id, result.campaign_id, result.run_number);
            runs.entry(run).or_default().push(result);
        }
        let mut runs: Vec<_> = runs.into_iter().collect();
        runs.sort_by_key(|(_, results)| results.len());
        let mut all = Settlement::default();
        for ((account_id, campaign_id, run_number), results) in runs {
            let run = self
                .queue
                .settle(SettleRun {
                    account_id,
                    campaign_id,
                    run_number,
                    lease,
                    results,
                    audit_id: AuditEntryId::new(self.host.ids.next()),
                    now: self.host.clock.now(),
                })
                .await?;
            all.settled.generated += run.settled.generated;
            all.settled.retried += run.settled.retried;
            all.settled.put_off += run.settled.put_off;
            all.settled.failed += run.settled.failed;
            all.ended.extend(run.ended);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use mockall::predicate::{always, eq};
    use uuid::Uuid;

    use super::*;
    use crate::campaign::Template;
    use crate::generation::GenerationBrief;
    use crate::ports::{MockBackoff, MockClock, MockGenerationQueue, MockIdGenerator};
    use crate::segment::{Attributes, SegmentBy};

    const ONE: AccountId = AccountId::new(Uuid::from_u128(1));
    const TWO: AccountId = AccountId::new(Uuid::from_u128(2));
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn task(account_id: AccountId) -> GenerationTask {
        GenerationTask {
            account_id,
            campaign_id: CampaignId::new(Uuid::nil()),
            run_number: RunNumber::FIRST,
            message_id: MessageId::new(Uuid::nil()),
            failed_attempts: 0,
            put_off: Duration::ZERO,
            attributes: Attributes::new([]),
            example: None,
            brief: Arc::new(GenerationBrief {
                template: Template {
                    subject: "Hello".into(),
                    body: "b".into(),
                },
                brief: None,
                segment_by: SegmentBy::new(&["country"]).unwrap(),
            }),
        }
    }

    fn policy() -> GenerationPolicy {
        GenerationPolicy {
            lease: Duration::from_secs(7),
            ..GenerationPolicy::default()
        }
    }

    fn generation(queue: MockGenerationQueue) -> Generation {
        let mut clock = MockClock::new();
        clock.expect_now().return_const(NOW);
        let mut ids = MockIdGenerator::new();
        ids.expect_next().return_const(Uuid::from_u128(9));
        Generation::new(
            Arc::new(queue),
            Arc::new(MockBackoff::new()),
            Host::new(clock, ids),
            policy(),
        )
    }

    fn corrupt() -> Result<Vec<GenerationTask>, StoreError> {
        Err(StoreError::Corrupt("a row of this account".into()))
    }

    /// Two accounts with due tasks. Leasing those of an account has this result.
    fn two_accounts(
        leased: impl Fn(LeaseTasks) -> Result<Vec<GenerationTask>, StoreError> + Send + 'static,
    ) -> MockGenerationQueue {
        let mut queue = MockGenerationQueue::new();
        let mut due = |after, accounts: &'static [AccountId]| {
            queue
                .expect_due_accounts()
                .with(eq(after), always(), always())
                .returning(|_, _, _| Ok(accounts.to_vec()));
        };
        due(None, &[ONE, TWO]);
        due(Some(ONE), &[TWO]);
        due(Some(TWO), &[]);
        queue.expect_lease().returning(leased);
        queue
    }

    #[tokio::test]
    async fn an_account_that_fails_does_not_hold_up_the_tasks_of_others() {
        let fails = || {
            two_accounts(|request| match request.account_id {
                ONE => corrupt(),
                account => Ok(vec![task(account)]),
            })
        };
        let shared = generation(fails());
        assert!(shared.lease(1).await.is_err());
        assert_eq!(shared.lease(1).await.unwrap().tasks, [task(TWO)]);
        let one = generation(fails());
        assert!(one.lease_from_one(1, 0, |_| true).await.is_err());
        assert_eq!(
            one.lease_from_one(1, 0, |_| true).await.unwrap().tasks,
            [task(TWO)]
        );
    }

    #[tokio::test]
    async fn a_failure_is_told_when_nothing_was_leased() {
        let tasks = |tasks: usize| {
            generation(two_accounts(move |request| match request.account_id {
                ONE => Ok(vec![task(ONE); tasks]),
                _ => corrupt(),
            }))
        };
        assert!(tasks(0).lease(5).await.is_err());
        assert_eq!(tasks(1).lease(5).await.unwrap().tasks, [task(ONE)]);
    }

    /// Another worker may take an account's tasks after the account was found.
    #[tokio::test]
    async fn the_next_account_is_asked_when_one_has_nothing_left() {
        let generation = generation(two_accounts(|request| match request.account_id {
            ONE => Ok(Vec::new()),
            account => Ok(vec![task(account)]),
        }));
        let leased = generation.lease_from_one(5, 0, |_| true).await.unwrap();
        assert_eq!(leased.tasks, [task(TWO)]);
    }

    #[tokio::test]
    async fn accounts_share_a_lease_and_one_with_more_tasks_gets_what_is_left() {
        let asked: Arc<Mutex<Vec<LeaseTasks>>> = Arc::default();
        let requests = Arc::clone(&asked);
        let generation = generation(two_accounts(move |request| {
            requests.lock().unwrap().push(request);
            let tasks = match request.account_id {
                ONE => request.limit,
                _ => 0,
            };
            Ok(vec![task(request.account_id); tasks.try_into().unwrap()])
        }));
        let request = |account_id, limit, bytes| LeaseTasks {
            account_id,
            lease: LeaseId::new(Uuid::from_u128(9)),
            limit,
            bytes,
            now: NOW,
            until: NOW + Duration::from_secs(7),
        };
        let leased = generation.lease(3).await.unwrap();
        assert_eq!(leased.tasks.len(), 3);
        let of_two = size(&leased.tasks[..2]);
        let (half, left) = (MAX_LEASE_BYTES / 2, MAX_LEASE_BYTES - of_two);
        assert_eq!(
            std::mem::take(&mut *asked.lock().unwrap()),
            [
                request(ONE, 2, half),
                request(TWO, 1, left),
                request(ONE, 1, left)
            ]
        );
        let leased = generation.lease_from_one(1, 0, |_| true).await.unwrap();
        assert_eq!(leased.tasks, [task(ONE)]);
        assert_eq!(
            *asked.lock().unwrap(),
            [TWO, ONE].map(|account| request(account, 1, MAX_LEASE_BYTES))
        );
        assert_eq!(generation.policy(), &policy());
    }

    #[test]
    fn the_brief_of_a_campaign_counts_once_in_the_bytes_of_a_lease() {
        let attributes = task(ONE).attributes.as_json().len();
        let brief = task(ONE).brief.size();
        let other = GenerationTask {
            campaign_id: CampaignId::new(Uuid::from_u128(1)),
            ..task(ONE)
        };
        let expected = u64::try_from(3 * attributes + 2 * brief).unwrap();
        assert_eq!(size(&[task(ONE), task(ONE), other]), expected);
    }
}
