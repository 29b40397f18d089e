//! Schedules and their firings.

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::campaign::CampaignStatus;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, RunNumber, ScheduleId};
use rerun_core::page::{CreatedKey, Page, PageRequest};
use rerun_core::ports::{
    CreateSchedule, DeleteSchedule, DueSchedule, FiringChange, ScheduleGauge, ScheduleQueue,
    ScheduleStore, SettleFirings, UpdateSchedule,
};
use rerun_core::schedule::{Firing, FiringKey, Outcome, Schedule, ScheduleStatus, ScheduleView};

use super::{Account, MemoryStore, Planned, newest_first, page};

impl Planned {
    fn view(&self) -> ScheduleView {
        ScheduleView {
            schedule: self.schedule.clone(),
            last_firing: self.firings.values().next_back().cloned(),
        }
    }
}

impl Account {
    /// The schedule, while it is as the decision saw it.
    fn planned(&mut self, seen: &Schedule) -> Result<&mut Planned, StoreError> {
        self.schedules
            .get_mut(&seen.id)
            .filter(|planned| planned.schedule.version == seen.version)
            .ok_or(StoreError::Conflict)
    }

    fn has_group_of(&self, schedule: &Schedule) -> bool {
        let group = schedule.customer_group_id;
        group.is_none_or(|group| self.groups.contains_key(&group))
    }

    /// Writes down what became of times, without the entries about them.
    pub(super) fn write_firings(&mut self, change: &FiringChange) -> Result<(), StoreError> {
        let planned = self.planned(&change.schedule)?;
        for firing in &change.firings {
            let before = planned.firings.insert(firing.key, firing.clone());
            if before.is_some_and(|before| before.outcome != Outcome::Waiting) {
                return Err(StoreError::Conflict);
            }
        }
        planned.schedule.state = change.state.clone();
        planned.schedule.version += 1;
        planned.lease_until = None;
        Ok(())
    }

    /// Whether a firing of it waits for nothing any more.
    fn is_ready(&self, schedule: &Schedule) -> bool {
        let campaign = self.campaigns.get(&schedule.campaign_id);
        let published =
            campaign.is_none_or(|ledger| ledger.campaign.status == CampaignStatus::Published);
        schedule.state.waiting.is_some()
            && schedule.state.status != ScheduleStatus::Paused
            && published
    }
}

#[async_trait]
impl ScheduleStore for MemoryStore {
    async fn create_schedule(&self, create: CreateSchedule) -> Result<bool, StoreError> {
        let schedule = create.schedule;
        self.write_account(schedule.account_id, |account| {
            if !account.has_group_of(&schedule) {
                return Err(StoreError::Conflict);
            }
            let known = u32::try_from(account.schedules.len()).unwrap_or(u32::MAX);
            if known >= create.limit {
                return Ok(false);
            }
            account.keep(create.response, schedule.created_at)?;
            account
                .schedules
                .insert(schedule.id, Planned::new(schedule));
            account.record(create.audit);
            Ok(true)
        })
    }

    async fn update_schedule(&self, update: UpdateSchedule) -> Result<(), StoreError> {
        self.write_account(update.to.account_id, |account| {
            let other = update.to.customer_group_id != update.schedule.customer_group_id;
            if other && !account.has_group_of(&update.to) {
                return Err(StoreError::Conflict);
            }
            let planned = account.planned(&update.schedule)?;
            planned.schedule = Schedule {
                version: update.schedule.version + 1,
                ..update.to
            };
            planned.lease_until = None;
            account.keep(update.response, update.now)?;
            if let Some(audit) = update.audit {
                account.record(audit);
            }
            Ok(())
        })
    }

    async fn delete_schedule(&self, delete: DeleteSchedule) -> Result<(), StoreError> {
        self.write_account(delete.schedule.account_id, |account| {
            account.planned(&delete.schedule)?;
            account.schedules.remove(&delete.schedule.id);
            account.keep(delete.response, delete.now)?;
            account.record(delete.audit);
            Ok(())
        })
    }

    async fn find_schedule(
        &self,
        account: AccountId,
        id: ScheduleId,
    ) -> Result<Option<ScheduleView>, StoreError> {
        Ok(self.read(account, |account| {
            account.schedules.get(&id).map(Planned::view)
        }))
    }

    async fn list_schedules(
        &self,
        account: AccountId,
        request: PageRequest<CreatedKey>,
    ) -> Result<Page<ScheduleView, CreatedKey>, StoreError> {
        let schedules = self.read(account, |account| {
            account.schedules.values().map(Planned::view).collect()
        });
        Ok(newest_first(schedules, &request, |view| CreatedKey {
            created_at: view.schedule.created_at,
            id: view.schedule.id.as_uuid(),
        }))
    }

    async fn firings(
        &self,
        account: AccountId,
        schedule: ScheduleId,
        outcome: Option<Outcome>,
        request: PageRequest<FiringKey>,
    ) -> Result<Page<Firing, FiringKey>, StoreError> {
        let firings: Vec<Firing> = self.read(account, |account| {
            let planned = account.schedules.get(&schedule);
            let firings = planned
                .into_iter()
                .flat_map(|one| one.firings.values().rev());
            firings
                .filter(|firing| outcome.is_none_or(|outcome| firing.outcome == outcome))
                .cloned()
                .collect()
        });
        let key = |firing: &Firing| firing.key;
        Ok(page(firings, &request, key, |one, other| one < other))
    }

    async fn group_changed(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Option<bool>, StoreError> {
        Ok(self.read(account, |account| {
            let version = account.groups.get(&group)?.version;
            let ledger = account.campaigns.get(&campaign)?;
            let other = ledger.runs.get(&run)?.group.id != group;
            Some(other || ledger.group_versions.get(&run) != Some(&version))
        }))
    }
}

#[async_trait]
impl ScheduleQueue for MemoryStore {
    async fn lease_schedules(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueSchedule>, StoreError> {
        self.write(|state| {
            let mut due = Vec::new();
            for (id, account) in state.iter() {
                for planned in account.schedules.values() {
                    let schedule = &planned.schedule;
                    let lease = planned.lease_until;
                    if lease.is_some_and(|lease| lease > now && lease <= until) {
                        continue;
                    }
                    let time = schedule.state.due_at.filter(|time| *time <= now);
                    let waits = account.is_ready(schedule).then_some(now);
                    if let Some(time) = time.or(waits) {
                        due.push((time, *id, schedule.id));
                    }
                }
            }
            due.sort_unstable();
            due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            for (_, account, id) in &due {
                let account = state.get_mut(account);
                if let Some(planned) = account.and_then(|account| account.schedules.get_mut(id)) {
                    planned.lease_until = Some(until);
                }
            }
            let due = due.into_iter();
            Ok(due
                .map(|(_, account_id, id)| DueSchedule { account_id, id })
                .collect())
        })
    }

    async fn settle_firings(&self, settle: SettleFirings) -> Result<(), StoreError> {
        self.write_account(settle.change.schedule.account_id, |account| {
            account.write_firings(&settle.change)?;
            account.keep(settle.response, settle.now)?;
            for audit in settle.change.audits {
                account.record(audit);
            }
            Ok(())
        })
    }
}

#[async_trait]
impl ScheduleGauge for MemoryStore {
    async fn schedule_due_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let state = self.lock();
        let planned = state
            .values()
            .flat_map(|account| account.schedules.values());
        let due = planned.filter_map(|planned| planned.schedule.state.due_at);
        Ok(due.filter(|due_at| *due_at <= now).min())
    }
}
