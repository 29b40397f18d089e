//! Campaigns.

use std::collections::HashMap;

use async_trait::async_trait;
use rerun_core::audit::AuditDraft;
use rerun_core::campaign::{Campaign, CampaignStatus};
use rerun_core::error::{Invalid, StoreError};
use rerun_core::ids::{AccountId, CampaignId, ContentId};
use rerun_core::message::{ReviewStatus, Source};
use rerun_core::page::{CreatedKey, Page, PageRequest};
use rerun_core::ports::{
    CampaignContext, CampaignStore, DeleteCampaign, IdempotentResponse, ImportFailure,
    ImportedMessage, ImportedMessages, UpdateCampaign, UpdateSegmentation, WantedGroup,
};
use rerun_core::rekeying::{KnownSegment, TextDigest};
use rerun_core::run::{MessageCounts, Run, SegmentCounts};

use super::{Ledger, MemoryStore, exists_already, newest_first};

#[async_trait]
impl CampaignStore for MemoryStore {
    async fn create_campaign(
        &self,
        campaign: &Campaign,
        audit: AuditDraft,
        response: Option<IdempotentResponse>,
    ) -> Result<(), StoreError> {
        self.write_account(campaign.account_id, |account| {
            if !account.groups.contains_key(&campaign.customer_group_id) {
                return Err(StoreError::Conflict);
            }
            if account
                .campaigns
                .insert(campaign.id, Ledger::new(campaign.clone()))
                .is_some()
            {
                return Err(exists_already("the campaign"));
            }
            account.keep(response, campaign.created_at)?;
            account.record(audit);
            Ok(())
        })
    }

    async fn update_campaign(&self, update: UpdateCampaign) -> Result<(), StoreError> {
        let UpdateCampaign {
            campaign,
            to,
            audit,
            response,
        } = update;
        self.write_account(campaign.account_id, |account| {
            let ledger = account.unmoved(&campaign)?;
            let now = to.updated_at;
            let to = to.into_parts();
            ledger.change(|campaign| {
                campaign.name = to.name;
                campaign.template = to.template;
                campaign.brief = to.brief;
                campaign.approval_stages = to.approval_stages;
                campaign.distinct_reviewers = to.distinct_reviewers;
                campaign.suggest_reruns = to.suggest_reruns;
                campaign.version += 1;
                campaign.updated_at = now;
            })?;
            account.keep(response, now)?;
            account.record(audit);
            Ok(())
        })
    }

    async fn known_segments(
        &self,
        account: AccountId,
        campaign: CampaignId,
    ) -> Result<Vec<KnownSegment>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign);
            ledger.map(Ledger::known_segments).unwrap_or_default()
        }))
    }

    async fn text_digests(
        &self,
        account: AccountId,
        campaign: CampaignId,
        contents: Vec<ContentId>,
    ) -> Result<HashMap<ContentId, TextDigest>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign);
            let rows = ledger.into_iter().flat_map(|ledger| ledger.rows.values());
            rows.filter_map(|row| row.text.as_ref())
                .filter(|text| contents.contains(&text.id))
                .map(|text| (text.id, TextDigest::of(&text.content)))
                .collect()
        }))
    }

    async fn update_segmentation(&self, update: UpdateSegmentation) -> Result<(), StoreError> {
        let UpdateSegmentation {
            campaign,
            to,
            segments,
            audit,
            response,
        } = update;
        self.write_account(campaign.account_id, |account| {
            let ledger = account.unmoved(&campaign)?;
            let to = to.into_parts();
            let now = to.updated_at;
            for number in ledger.runs.keys() {
                let rules = ledger.rules.entry(*number);
                rules.or_insert_with(|| campaign.segment_by.clone());
            }
            ledger.change(|campaign| {
                campaign.segment_by = to.segment_by;
                campaign.version = to.version;
                campaign.updated_at = now;
            })?;
            ledger.rekey(&segments);
            account.keep(response, now)?;
            account.record(audit);
            Ok(())
        })
    }

    async fn count_messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
    ) -> Result<u64, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign);
            let runs = ledger.into_iter().flat_map(|ledger| ledger.runs.values());
            runs.map(|run| u64::from(run.segments.total)).sum()
        }))
    }

    async fn delete_campaign(&self, delete: DeleteCampaign) -> Result<(), StoreError> {
        self.write_account(delete.campaign.account_id, |account| {
            let id = account.unmoved(&delete.campaign)?.campaign.id;
            account.campaigns.remove(&id);
            let id = id.to_string();
            account
                .responses
                .retain(|_, (kept, _)| !kept.response.contains(&id));
            account.keep(delete.response, delete.now)?;
            account.record(delete.audit);
            Ok(())
        })
    }

    async fn sweep_deleted(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn find_campaign(
        &self,
        account: AccountId,
        id: CampaignId,
    ) -> Result<Option<Campaign>, StoreError> {
        Ok(self.read(account, |account| {
            account.campaigns.get(&id).map(|l| l.campaign.clone())
        }))
    }

    async fn campaign_context(
        &self,
        account: AccountId,
        campaign: CampaignId,
        group: WantedGroup,
    ) -> Result<Option<CampaignContext>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign)?;
            let wanted = match group {
                WantedGroup::None => None,
                WantedGroup::OfCampaign => Some(ledger.campaign.customer_group_id),
                WantedGroup::Named(id) => Some(id),
            };
            Some(CampaignContext {
                campaign: ledger.campaign.clone(),
                current_run: ledger.current_run(),
                group: wanted
                    .and_then(|id| account.groups.get(&id))
                    .map(|g| g.about.clone()),
            })
        }))
    }

    async fn list_campaigns(
        &self,
        account: AccountId,
        status: Option<CampaignStatus>,
        request: PageRequest<CreatedKey>,
    ) -> Result<Page<Campaign, CreatedKey>, StoreError> {
        let campaigns = self.read(account, |account| {
            account
                .campaigns
                .values()
                .map(|ledger| ledger.campaign.clone())
                .filter(|campaign| status.is_none_or(|status| campaign.status == status))
                .collect()
        });
        Ok(newest_first(campaigns, &request, |campaign| CreatedKey {
            created_at: campaign.created_at,
            id: campaign.id.as_uuid(),
        }))
    }

    async fn import_campaign(
        &self,
        campaign: &Campaign,
        run: Run,
        messages: ImportedMessages,
        audit: AuditDraft,
    ) -> Result<Run, ImportFailure> {
        let messages = messages.collect::<Result<Vec<ImportedMessage>, Invalid>>()?;
        if messages.is_empty() {
            return Err(Invalid::new("the campaign has no messages").into());
        }
        let total = u32::try_from(messages.len()).map_err(|e| StoreError::Backend(e.into()))?;
        let run = run.with(|run| {
            run.segments = SegmentCounts {
                total,
                matched: 0,
                new: total,
            };
            run.counts =
                MessageCounts::default().add(ReviewStatus::Published, Source::Generated, total);
            run.customer_count = messages
                .iter()
                .map(|message| message.segment.customer_count)
                .sum();
        })?;
        self.write_account(campaign.account_id, |account| {
            let group = account.groups.get(&campaign.customer_group_id);
            let version = group.ok_or(ImportFailure::GroupNotFound)?.version;
            let mut ledger = Ledger::new(campaign.clone());
            ledger.group_versions.insert(run.number, version);
            for message in messages {
                let key = message.segment.key;
                if ledger.segment_numbers.contains_key(&key) {
                    let said = format!("two messages for the segment {key}");
                    return Err(Invalid::new(said).into());
                }
                let row = ledger.imported(message, &run);
                ledger.rows.insert(row.bare.id, row);
            }
            ledger.runs.insert(run.number, run.clone());
            if account.campaigns.insert(campaign.id, ledger).is_some() {
                return Err(exists_already("the campaign").into());
            }
            account.record(audit);
            Ok(run)
        })
    }
}
