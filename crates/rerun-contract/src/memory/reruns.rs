//! Starting and cancelling runs.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use rerun_core::counting::Counted;
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CustomerGroupId};
use rerun_core::nearest::{Nearest, Reusable, Suggestion};
use rerun_core::plan::SegmentCandidate;
use rerun_core::ports::{CancelRun, CandidateQuery, RerunStore, SegmentCandidates, StartRun};
use rerun_core::segment::{Segment, SegmentBy, SegmentKey};
use rerun_core::survey::{Survey, ValueReport};

use super::MemoryStore;

#[async_trait]
impl RerunStore for MemoryStore {
    async fn segment_candidates(
        &self,
        query: CandidateQuery,
    ) -> Result<SegmentCandidates, StoreError> {
        self.read(query.account_id, |account| {
            // The group was there when the query was made: it cannot have gone, but moved.
            let group = account
                .groups
                .get(&query.group_id)
                .ok_or(StoreError::Conflict)?;
            let reusable = match query.reuse {
                None => BTreeMap::new(),
                Some((campaign, current, from)) => account
                    .campaigns
                    .get(&campaign)
                    .map(|ledger| ledger.reusable(current, from))
                    .unwrap_or_default(),
            };
            let Counted { segments, fields } = group.counted(&query.segment_by, query.limit);
            let segments = segments
                .into_iter()
                .map(|segment| SegmentCandidate {
                    key: segment.key,
                    customer_count: segment.customer_count,
                    reusable: reusable.get(&segment.key).copied(),
                })
                .collect();
            Ok(SegmentCandidates {
                group_version: group.version,
                segments,
                fields,
            })
        })
    }

    async fn valued_fields(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        names: Vec<String>,
    ) -> Result<Vec<String>, StoreError> {
        Ok(self.read(account, |account| {
            let group = account.groups.get(&group);
            let customers = || group.into_iter().flat_map(|group| group.customers.values());
            let has = |name: &String| customers().any(|customer| customer.contains_key(name));
            names.into_iter().filter(has).collect()
        }))
    }

    async fn segments(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        segment_by: &SegmentBy,
        keys: Vec<SegmentKey>,
    ) -> Result<Vec<Segment>, StoreError> {
        Ok(self.read(account, |account| {
            let all = account.groups.get(&group).map(|g| g.segments(segment_by));
            let all = all.unwrap_or_default();
            all.into_values()
                .filter(|segment| keys.contains(&segment.key))
                .collect()
        }))
    }

    async fn survey(
        &self,
        query: CandidateQuery,
        group_version: i64,
    ) -> Result<Option<ValueReport>, StoreError> {
        self.read(query.account_id, |account| {
            let group = account.groups.get(&query.group_id);
            let Some(group) = group.filter(|group| group.version == group_version) else {
                return Ok(None);
            };
            let mut survey = Survey::new(&query.segment_by);
            let reuse = query.reuse.and_then(|(campaign, current, from)| {
                Some((account.campaigns.get(&campaign)?, current, from))
            });
            if let Some((ledger, current, from)) = reuse {
                let values = ledger.segment_values();
                for candidate in ledger.reusable(current, from).values() {
                    let row = ledger.rows.get(&candidate.message_id);
                    if let Some(segment) = row.and_then(|row| row.kept(&values)) {
                        survey.add_reusable(segment.values())?;
                    }
                }
            }
            for segment in group.segments(&query.segment_by).values() {
                survey.add_segment(segment)?;
            }
            Ok(Some(survey.finish()))
        })
    }

    async fn suggestions(
        &self,
        query: CandidateQuery,
        group_version: i64,
        keys: Vec<SegmentKey>,
    ) -> Result<Option<HashMap<SegmentKey, Suggestion>>, StoreError> {
        self.read(query.account_id, |account| {
            let group = account.groups.get(&query.group_id);
            let Some(group) = group.filter(|group| group.version == group_version) else {
                return Ok(None);
            };
            let mut nearest = Nearest::new(&query.segment_by);
            let reuse = query.reuse.and_then(|(campaign, current, from)| {
                Some((account.campaigns.get(&campaign)?, current, from))
            });
            if let Some((ledger, current, from)) = reuse {
                let values = ledger.segment_values();
                for candidate in ledger.reusable(current, from).values() {
                    let row = ledger.rows.get(&candidate.message_id);
                    let found =
                        row.and_then(|row| Some((row, row.kept(&values)?, row.text.as_ref()?)));
                    let Some((row, segment, text)) = found else {
                        continue;
                    };
                    nearest.add_reusable(Reusable {
                        message_id: row.bare.id,
                        run_number: row.bare.run_number,
                        customer_count: row.bare.segment.customer_count,
                        segment: &segment,
                        content: &text.content,
                    })?;
                }
            }
            let mut segments = group.segments(&query.segment_by);
            segments.retain(|key, _| keys.contains(key));
            let new = segments
                .values()
                .map(|segment| (segment.key, &segment.attributes));
            Ok(Some(nearest.suggest(new)?))
        })
    }

    async fn start_run(&self, start: StartRun) -> Result<(), StoreError> {
        self.write_account(start.campaign.account_id, |account| {
            account.keep(start.response.clone(), start.now)?;
            let mut segments = account
                .groups
                .get(&start.run.group.id)
                .filter(|group| group.version == start.group_version)
                .map(|group| group.segments(&start.campaign.segment_by))
                .ok_or(StoreError::Conflict)?;
            if let Some(firing) = &start.firing {
                account.write_firings(firing)?;
            }
            let ledger = account.unmoved(&start.campaign)?;
            for (item, id) in start.plan.items.iter().zip(&start.message_ids) {
                let segment = segments.remove(&item.key).ok_or(StoreError::Conflict)?;
                let row = ledger.planned(*id, item, segment, &start)?;
                ledger.rows.insert(*id, row);
            }
            let previous = ledger.campaign.current_run;
            if let Some(previous) = previous {
                ledger.change_run(previous, |run| run.archived_at = Some(start.now))?;
            }
            let number = start.run.number;
            ledger.become_current(start.standing, start.now)?;
            ledger.runs.insert(number, start.run);
            ledger.group_versions.insert(number, start.group_version);
            account.record(start.audit);
            for audit in start.firing.into_iter().flat_map(|firing| firing.audits) {
                account.record(audit);
            }
            Ok(())
        })
    }

    async fn cancel_run(&self, cancel: CancelRun) -> Result<(), StoreError> {
        self.write_account(cancel.campaign.account_id, |account| {
            let ledger = account.unmoved(&cancel.campaign)?;
            let current = ledger
                .current_run()
                .filter(|run| run.number == cancel.run.number);
            let current = current.ok_or(StoreError::Conflict)?;
            // Workers may have stored results since the decision: the counts are the row's own.
            let cancelled = cancel.run.with(|run| run.counts = current.counts)?;
            for row in ledger.rows.values_mut() {
                if row.bare.run_number == cancelled.number {
                    row.waiting = None;
                }
            }
            let previous = cancelled.previous_run;
            if let Some(previous) = previous {
                ledger.change_run(previous, |run| run.archived_at = None)?;
            }
            ledger.runs.insert(cancelled.number, cancelled);
            ledger.become_current(cancel.standing, cancel.now)?;
            account.keep(cancel.response, cancel.now)?;
            account.record(cancel.audit);
            Ok(())
        })
    }
}
