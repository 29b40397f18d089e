//! The generation queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::change::{self};
use rerun_core::error::StoreError;
use rerun_core::generation::{
    GenerationBrief, GenerationTask, NearestMessage, Settled, SettledRun, TaskOutcome,
};
use rerun_core::ids::{AccountId, CampaignId, LeaseId, MessageId, RunNumber};
use rerun_core::ports::{
    Backlog, CLOCK_TOLERANCE, GenerationQueue, LeaseTasks, QueueGauge, SettleRun,
};
use rerun_core::run::Run;

use super::ledger::waiting_rows;
use super::{Ledger, MemoryStore, Row, Waiting};

#[async_trait]
impl GenerationQueue for MemoryStore {
    async fn due_accounts(
        &self,
        after: Option<AccountId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.write(|state| {
            let mut found = Vec::new();
            for (id, account) in state {
                let mut due = false;
                let ledgers = account.campaigns.values_mut();
                for waiting in ledgers.flat_map(Ledger::waiting) {
                    due |= waiting.due_since() <= now || waiting.set_at() > now + CLOCK_TOLERANCE;
                }
                if due && after.is_none_or(|after| *id > after) {
                    found.push((*id, account));
                }
            }
            found.sort_by_key(|(id, _)| *id);
            found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            for (_, account) in &mut found {
                let ledgers = account.campaigns.values_mut();
                for waiting in ledgers.flat_map(Ledger::waiting) {
                    waiting.move_times(now);
                }
            }
            Ok(found.into_iter().map(|(id, _)| id).collect())
        })
    }

    async fn lease(&self, request: LeaseTasks) -> Result<Vec<GenerationTask>, StoreError> {
        let LeaseTasks {
            lease, now, until, ..
        } = request;
        self.write_account(request.account_id, |account| {
            let mut due: Vec<(Timestamp, &mut Row, GenerationTask)> = Vec::new();
            let mut runs: BTreeMap<CampaignId, &mut BTreeMap<RunNumber, Run>> = BTreeMap::new();
            for ledger in account.campaigns.values_mut() {
                let values = ledger.segment_values();
                let Ledger {
                    campaign,
                    runs: own_runs,
                    rows,
                    ..
                } = ledger;
                let brief = Arc::new(GenerationBrief {
                    template: campaign.template.clone(),
                    brief: campaign.brief.clone(),
                    segment_by: campaign.segment_by.clone(),
                });
                for row in rows.values_mut() {
                    let Some(waiting) = row.waiting.as_ref().filter(|w| w.is_due(now)) else {
                        continue;
                    };
                    let missing = || StoreError::corrupt("segments: one is missing");
                    let kept = row.kept(&values).ok_or_else(missing)?;
                    let task = GenerationTask {
                        account_id: campaign.account_id,
                        campaign_id: campaign.id,
                        run_number: row.bare.run_number,
                        message_id: row.bare.id,
                        failed_attempts: waiting.failed_attempts,
                        put_off: waiting.put_off,
                        attributes: campaign.segment_by.shown(kept)?,
                        example: None,
                        brief: Arc::clone(&brief),
                    };
                    due.push((waiting.due_since(), row, task));
                }
                runs.insert(campaign.id, own_runs);
            }
            due.sort_by_key(|(due_at, _, task)| (*due_at, task.message_id));
            let mut tasks = Vec::new();
            let (mut bytes, mut briefs) = (0, BTreeSet::new());
            for (_, row, task) in due
                .into_iter()
                .take(usize::try_from(request.limit).unwrap_or(usize::MAX))
            {
                if bytes >= request.bytes {
                    break;
                }
                let mut size = task.attributes.as_json().len();
                if briefs.insert(task.campaign_id) {
                    size += task.brief.size();
                }
                bytes += u64::try_from(size).unwrap_or(u64::MAX);
                if let Some(waiting) = &mut row.waiting {
                    waiting.lease = Some((lease, until));
                    waiting.set_at = Some(now);
                }
                let run = runs
                    .get_mut(&task.campaign_id)
                    .and_then(|runs| runs.get_mut(&task.run_number));
                if let Some(run) = run
                    && run.status == rerun_core::run::RunStatus::Queued
                {
                    *run = run
                        .clone()
                        .with(|run| run.status = rerun_core::run::RunStatus::Processing)?;
                }
                tasks.push(task);
            }
            Ok(tasks)
        })
    }

    async fn examples(
        &self,
        account: AccountId,
        messages: Vec<MessageId>,
    ) -> Result<Vec<NearestMessage>, StoreError> {
        let state = self.lock();
        let Some(account) = state.get(&account) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for ledger in account.campaigns.values() {
            let values = ledger.segment_values();
            let rows = &ledger.rows;
            for id in &messages {
                let suggestion = rows.get(id).and_then(|row| row.bare.suggestion.as_ref());
                let Some(suggestion) = suggestion else {
                    continue;
                };
                let nearest = rows.get(&suggestion.read()?.message_id);
                let nearest =
                    nearest.and_then(|row| Some((row.kept(&values)?, row.text.as_ref()?)));
                if let Some((segment, text)) = nearest {
                    found.push(NearestMessage {
                        suggested_for: *id,
                        segment,
                        content: text.content.clone(),
                    });
                }
            }
        }
        Ok(found)
    }

    async fn renew(
        &self,
        lease: LeaseId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write(|state| {
            let mut held = 0;
            for waiting in waiting_rows(state).filter(|waiting| waiting.held_by(lease, now)) {
                waiting.lease = Some((lease, until));
                waiting.set_at = Some(now);
                held += 1;
            }
            Ok(held)
        })
    }

    async fn release(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError> {
        self.write(|state| {
            let mut held = 0;
            for waiting in waiting_rows(state) {
                if waiting.lease.is_some_and(|(holder, _)| holder == lease) {
                    waiting.lease = None;
                    waiting.due_at = now;
                    waiting.set_at = None;
                    held += 1;
                }
            }
            Ok(held)
        })
    }

    async fn settle(&self, settle: SettleRun) -> Result<SettledRun, StoreError> {
        self.write_account(settle.account_id, |account| {
            let mut settled = Settled::default();
            let Some(ledger) = account.campaigns.get_mut(&settle.campaign_id) else {
                return Ok(SettledRun::default());
            };
            let Some(run) = ledger
                .current_run()
                .filter(|run| run.number == settle.run_number)
            else {
                return Ok(SettledRun::default());
            };
            let mut shifts = Vec::new();
            let mut last_error = None;
            for result in &settle.results {
                let shift = ledger.generated(result, &settle, &mut settled)?;
                if let (Some(_), TaskOutcome::Failed { error }) = (&shift, &result.outcome) {
                    last_error = Some(error.clone());
                }
                shifts.extend(shift);
            }
            // Its usage has grown.
            let run = ledger.current_run().unwrap_or(run);
            if shifts.is_empty() {
                return Ok(SettledRun {
                    settled,
                    ended: None,
                });
            }
            let last_error = last_error.or_else(|| ledger.last_error(run.number));
            let applied = change::generated(
                &ledger.campaign,
                run,
                &shifts,
                last_error.as_deref(),
                settle.audit_id,
                settle.now,
            )?;
            if applied.campaign_status != ledger.campaign.status {
                ledger.change(|campaign| campaign.version += 1)?;
            }
            let ended = applied.ended(&ledger.campaign);
            ledger.settle_down(&applied, settle.now)?;
            if let Some(audit) = applied.audit {
                account.record(audit);
            }
            Ok(SettledRun { settled, ended })
        })
    }
}

#[async_trait]
impl QueueGauge for MemoryStore {
    async fn backlog(&self, now: Timestamp) -> Result<Backlog, StoreError> {
        let state = self.lock();
        let ledgers = state
            .values()
            .flat_map(|account| account.campaigns.values());
        let rows = ledgers.flat_map(|ledger| ledger.rows.values());
        let waiting: Vec<&Waiting> = rows.filter_map(|row| row.waiting.as_ref()).collect();
        let due = waiting.iter().filter(|waiting| waiting.is_due(now));
        Ok(Backlog {
            messages: u64::try_from(waiting.len())
                .unwrap_or(u64::MAX)
                .min(Backlog::MOST_COUNTED.into()),
            due_since: due.map(|waiting| waiting.due_since()).min(),
        })
    }
}
