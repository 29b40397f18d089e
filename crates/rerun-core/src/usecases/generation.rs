use std::collections::BTreeMap;
use std::sync::Arc;

use super::Stamps;
use crate::error::StoreError;
use crate::generation::{GenerationError, GenerationPolicy, GenerationTask, Settled, TaskResult};
use crate::ids::{AccountId, AuditEntryId, CampaignId, ContentId, LeaseId, RunNumber};
use crate::message::Content;
use crate::ports::{Backoff, GenerationQueue, SettleRun};

/// The worker's side of generation. A worker leases tasks, calls its generator for each, and
/// settles the results under the same lease; how many it has at once and when it sleeps is its
/// own business.
#[derive(Clone)]
pub struct Generation {
    queue: Arc<dyn GenerationQueue>,
    backoff: Arc<dyn Backoff>,
    stamps: Stamps,
    policy: GenerationPolicy,
}

/// Tasks that were leased together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedTasks {
    /// Their lease.
    pub lease: LeaseId,
    /// The tasks.
    pub tasks: Vec<GenerationTask>,
}

impl Generation {
    /// Over these ports.
    #[must_use]
    pub fn new(
        queue: Arc<dyn GenerationQueue>,
        backoff: Arc<dyn Backoff>,
        stamps: Stamps,
        policy: GenerationPolicy,
    ) -> Self {
        Self {
            queue,
            backoff,
            stamps,
            policy,
        }
    }

    /// Attempts and lease length.
    #[must_use]
    pub const fn policy(&self) -> &GenerationPolicy {
        &self.policy
    }

    /// Leases up to `limit` tasks that are due, of any account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lease(&self, limit: u32) -> Result<LeasedTasks, StoreError> {
        let now = self.stamps.clock.now();
        let lease = LeaseId::new(self.stamps.ids.next());
        let tasks = self
            .queue
            .lease(lease, limit, now, now + self.policy.lease)
            .await?;
        Ok(LeasedTasks { lease, tasks })
    }

    /// Prolongs a lease by its whole length from now; answers how many tasks it still holds.
    /// A worker renews well before the lease ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn renew(&self, lease: LeaseId) -> Result<u64, StoreError> {
        let now = self.stamps.clock.now();
        self.queue.renew(lease, now, now + self.policy.lease).await
    }

    /// Gives back what a lease still holds, for another worker to take at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn release(&self, lease: LeaseId) -> Result<u64, StoreError> {
        self.queue.release(lease, self.stamps.clock.now()).await
    }

    /// What becomes of a task after an attempt, to be settled.
    #[must_use]
    pub fn judge(
        &self,
        task: &GenerationTask,
        attempt: Result<Content, GenerationError>,
    ) -> TaskResult {
        let now = self.stamps.clock.now();
        TaskResult {
            account_id: task.account_id,
            campaign_id: task.campaign_id,
            run_number: task.run_number,
            message_id: task.message_id,
            content_id: ContentId::new(self.stamps.ids.next()),
            outcome: self
                .policy
                .outcome(task, attempt, now, |failed| self.backoff.delay(failed)),
        }
    }

    /// Stores results of one lease, run by run.
    ///
    /// # Errors
    /// [`StoreError`]; results of runs before the one that failed are stored, the others will be
    /// generated again when the lease has ended.
    pub async fn settle(
        &self,
        lease: LeaseId,
        results: Vec<TaskResult>,
    ) -> Result<Settled, StoreError> {
        let mut runs: BTreeMap<(AccountId, CampaignId, RunNumber), Vec<TaskResult>> =
            BTreeMap::new();
        for result in results {
            let run = (result.account_id, result.campaign_id, result.run_number);
            runs.entry(run).or_default().push(result);
        }
        let mut all = Settled::default();
        for ((account_id, campaign_id, run_number), results) in runs {
            let settled = self
                .queue
                .settle(SettleRun {
                    account_id,
                    campaign_id,
                    run_number,
                    lease,
                    results,
                    audit_id: AuditEntryId::new(self.stamps.ids.next()),
                    now: self.stamps.clock.now(),
                })
                .await?;
            all.generated += settled.generated;
            all.retried += settled.retried;
            all.failed += settled.failed;
        }
        Ok(all)
    }
}
