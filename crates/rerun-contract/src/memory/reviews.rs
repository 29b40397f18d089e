//! Changes of messages, and the responses that are kept under a key.

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::change::{MessageChange, Move, Selection};
use rerun_core::error::{StoreError, UnfilledPlaceholder};
use rerun_core::ids::{AccountId, CampaignId, MessageId};
use rerun_core::ports::{
    ChangeOutcome, IdempotencyStore, IdempotentResponse, KeptResponse, ReviewStore,
};
use rerun_core::review::MessageRef;

use super::{MemoryStore, Row};

#[async_trait]
impl ReviewStore for MemoryStore {
    async fn message_refs(
        &self,
        account: AccountId,
        campaign: CampaignId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<MessageRef>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign);
            let rows = ids.iter().filter_map(|id| ledger?.rows.get(id));
            rows.map(|row| MessageRef {
                id: row.bare.id,
                run_number: row.bare.run_number,
                content_id: row.text.as_ref().map(|text| text.id),
                state: row.bare.state,
                edited_by: row.written_by(),
                approved_by: row.approvals.iter().map(|a| a.user_id).collect(),
            })
            .collect()
        }))
    }

    async fn change_messages(&self, change: MessageChange) -> Result<ChangeOutcome, StoreError> {
        self.write_account(change.campaign.account_id, |account| {
            let ledger = account.unmoved(&change.campaign)?;
            let run = ledger.current_run().ok_or(StoreError::Conflict)?;
            let find = |row: &Row| {
                change
                    .moves
                    .iter()
                    .find(|moved| moved.from == row.bare.state)
            };
            let mut moved: Vec<(MessageId, &Move)> = Vec::new();
            match &change.selection {
                Selection::Ids(ids) => {
                    for id in ids {
                        let row = ledger.rows.get(id).ok_or(StoreError::Conflict)?;
                        if row.bare.run_number != run.number {
                            return Err(StoreError::Conflict);
                        }
                        moved.push((*id, find(row).ok_or(StoreError::Conflict)?));
                    }
                }
                Selection::Every {
                    not_edited_by,
                    not_approved_by,
                } => {
                    let others = |row: &&Row| {
                        let approved = |user| row.approvals.iter().any(|a| a.user_id == user);
                        (not_edited_by.is_none() || row.written_by() != *not_edited_by)
                            && !not_approved_by.is_some_and(approved)
                    };
                    let rows = ledger
                        .rows
                        .values()
                        .filter(|row| row.bare.run_number == run.number);
                    let found = rows
                        .filter(others)
                        .filter_map(|r| Some((r.bare.id, find(r)?)));
                    moved.extend(found);
                }
            }
            if change.needs_filled_content() {
                let rows = moved.iter().filter_map(|(id, _)| ledger.rows.get(id));
                let unfilled = rows.filter_map(|row| Some((row, row.placeholder()?)));
                if let Some((row, placeholder)) =
                    unfilled.min_by_key(|(row, _)| row.bare.segment_no)
                {
                    return Ok(ChangeOutcome::Unfilled(UnfilledPlaceholder {
                        message_id: row.bare.id,
                        placeholder: placeholder.to_owned(),
                    }));
                }
            }
            let text = ledger.origin(&change.patch, run.number)?;
            let mut shifts = Vec::new();
            for (id, moved) in moved {
                if let Some(row) = ledger.rows.get_mut(&id) {
                    shifts.push(row.follow(moved, &change.patch, text.as_ref(), change.now));
                }
            }
            let applied = change.applied(run, &shifts)?;
            let outcome = ChangeOutcome::Changed {
                messages: applied.messages,
                campaign_status: applied.campaign_status,
            };
            if applied.messages > 0 {
                ledger.settle_down(&applied, change.now)?;
                ledger.change(|campaign| campaign.version += 1)?;
                if let Some(audit) = applied.audit {
                    account.record(audit);
                }
            }
            account.keep(applied.response, change.now)?;
            Ok(outcome)
        })
    }
}

#[async_trait]
impl IdempotencyStore for MemoryStore {
    async fn find_response(
        &self,
        account: AccountId,
        key: &str,
        not_before: Timestamp,
    ) -> Result<Option<KeptResponse>, StoreError> {
        Ok(self.read(account, |account| {
            let (kept, kept_at) = account.responses.get(key)?;
            (*kept_at >= not_before).then(|| kept.clone())
        }))
    }

    async fn keep_response(
        &self,
        account: AccountId,
        response: IdempotentResponse,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write_account(account, |account| account.keep(Some(response), now))
    }

    async fn forget_responses(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(|state| {
            let mut forgotten = 0;
            for account in state.values_mut() {
                account.responses.retain(|_, (_, kept_at)| {
                    let stays = *kept_at >= before;
                    forgotten += u64::from(!stays);
                    stays
                });
            }
            Ok(forgotten)
        })
    }
}
