//! Groups that imports changed.

use std::ops::Bound;

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::campaign::CampaignStatus;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber};
use rerun_core::outlook::{Due, RunSegment, Times};
use rerun_core::ports::{ChangedGroupQueue, NoteOutlook, TakeGroup, TakenGroup};

use super::{Account, Changed, MemoryStore};

impl Changed {
    fn can_be_taken(&self, times: &Times) -> bool {
        let held = self.lease.is_some_and(|(_, until)| times.is_alive(until));
        times.is_due(self.due.at) && !held
    }
}

impl Account {
    /// Queues a group that an import changed.
    pub(super) fn changed_group(&mut self, group: CustomerGroupId, now: Timestamp) {
        let fresh = || Changed {
            imports: 0,
            due: Due::after_import(now),
            attempts: 0,
            lease: None,
        };
        let changed = self.changed.entry(group).or_insert_with(fresh);
        changed.imports += 1;
        changed.attempts = 0;
        changed.due = match changed.lease {
            None => changed.due.put_off(now),
            Some(_) => Due::after_import(now),
        };
    }

    fn taken(&mut self, taken: &TakenGroup) -> Option<&mut Changed> {
        let changed = self.changed.get_mut(&taken.group_id)?;
        let (lease, _) = changed.lease?;
        (lease == taken.lease).then_some(changed)
    }
}

#[async_trait]
impl ChangedGroupQueue for MemoryStore {
    async fn accounts_changed(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        let times = Times::at(now);
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.lock();
        let accounts = state.range((after, Bound::Unbounded));
        let due = accounts.filter(|(_, account)| {
            let mut groups = account.changed.values();
            groups.any(|changed| changed.can_be_taken(&times))
        });
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(due.map(|(id, _)| *id).take(limit).collect())
    }

    async fn take_group(&self, request: TakeGroup) -> Result<Option<TakenGroup>, StoreError> {
        let times = Times::at(request.now);
        self.write_account(request.account_id, |account| {
            let due = account.changed.iter_mut();
            let due = due.filter(|(_, changed)| changed.can_be_taken(&times));
            let Some((group, changed)) = due.min_by_key(|(id, changed)| (changed.due.at, **id))
            else {
                return Ok(None);
            };
            changed.lease = Some((request.lease, times.lease_until));
            changed.attempts += 1;
            Ok(Some(TakenGroup {
                account_id: request.account_id,
                group_id: *group,
                lease: request.lease,
                imports: changed.imports,
                attempt: changed.attempts,
            }))
        })
    }

    async fn renew_group(&self, taken: TakenGroup, now: Timestamp) -> Result<bool, StoreError> {
        self.write_account(taken.account_id, |account| {
            let until = Times::at(now).lease_until;
            let changed = account.taken(&taken);
            Ok(changed.is_some_and(|changed| {
                changed.lease = Some((taken.lease, until));
                true
            }))
        })
    }

    async fn leave_group(
        &self,
        taken: TakenGroup,
        again: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.write_account(taken.account_id, |account| {
            let Some(changed) = account.taken(&taken) else {
                return Ok(());
            };
            changed.lease = None;
            if changed.imports == taken.imports {
                match again {
                    Some(at) => changed.due = Due { at, latest: at },
                    None => {
                        account.changed.remove(&taken.group_id);
                    }
                }
            }
            Ok(())
        })
    }

    async fn published_for(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        after: Option<CampaignId>,
        limit: u32,
    ) -> Result<Vec<CampaignId>, StoreError> {
        Ok(self.read(account, |account| {
            let after = after.map_or(Bound::Unbounded, Bound::Excluded);
            let campaigns = account.campaigns.range((after, Bound::Unbounded));
            let wanted = campaigns.filter(|(_, ledger)| {
                let campaign = &ledger.campaign;
                campaign.status == CampaignStatus::Published
                    && campaign.suggest_reruns
                    && ledger
                        .current_run()
                        .is_some_and(|run| run.group.id == group)
            });
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            wanted.map(|(id, _)| *id).take(limit).collect()
        }))
    }

    async fn run_segments(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Vec<RunSegment>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign);
            let rows = ledger.into_iter().flat_map(|ledger| ledger.rows.values());
            rows.filter(|row| row.bare.run_number == run)
                .map(|row| RunSegment {
                    key: row.bare.segment.key,
                    customer_count: row.bare.segment.customer_count,
                })
                .collect()
        }))
    }

    async fn note_outlook(&self, note: NoteOutlook) -> Result<bool, StoreError> {
        self.write_account(note.campaign.account_id, |account| {
            let ledger = account.unmoved(&note.campaign)?;
            if ledger.suggested == note.digest {
                return Ok(false);
            }
            ledger.suggested = note.digest;
            if let Some(audit) = note.audit {
                account.record(audit);
            }
            Ok(true)
        })
    }
}
