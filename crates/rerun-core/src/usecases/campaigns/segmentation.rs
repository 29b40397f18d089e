//! Changes how the values of a campaign's fields are compared.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Campaigns;
use crate::actor::Actor;
use crate::error::{Action, Error, Invalid};
use crate::event::{CampaignUpdate, Event, RulesChange};
use crate::ids::CampaignId;
use crate::ports::{IdempotencyKey, UpdateSegmentation};
use crate::rekeying::{KeyConflict, Rekey, Rekeying};
use crate::rules::FieldDeclaration;
use crate::segment::SegmentBy;
use crate::usecases::idempotency::Replayable;

/// Other value rules for a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRules {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its fields, with the rules that they are to have.
    pub segment_by: Vec<FieldDeclaration>,
    /// Whether to say only what would happen.
    pub dry_run: bool,
}

/// The same, checked. Two requests for the same are equal here.
#[derive(Serialize)]
struct RulesRequest {
    campaign: CampaignId,
    #[serde(serialize_with = "SegmentBy::effective")]
    segment_by: SegmentBy,
    dry_run: bool,
}

/// What other value rules did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentationUpdated {
    /// How many different keys the published segments of all runs had.
    pub segments_before: u32,
    /// How many they have with the new rules.
    pub segments_after: u32,
    /// How many keys messages with different texts have.
    pub conflict_count: u32,
    /// The conflicts of most customers, at most [`Rekeying::MAX_CONFLICTS`] and as many as fill a
    /// page.
    pub conflicts: Vec<KeyConflict>,
}

impl Campaigns {
    /// Changes the value rules of a campaign's fields, and gives the segments of its runs the keys
    /// that the new rules make of their values. With `dry_run` it only reports what would change.
    ///
    /// # Errors
    /// In this order: [`Error::Invalid`] for rules that are not valid or for the key;
    /// [`Error::IdempotencyKeyReused`]; [`Error::CampaignNotFound`];
    /// [`Error::Invalid`] for other fields; [`Error::IllegalTransition`] unless the campaign is a
    /// draft or published; [`Error::Store`].
    pub async fn update_segmentation(
        &self,
        actor: &Actor,
        change: NewRules,
        idempotency_key: Option<&str>,
    ) -> Result<Replayable<SegmentationUpdated>, Error> {
        let wanted = RulesRequest {
            campaign: change.campaign,
            segment_by: SegmentBy::declare(change.segment_by)?,
            dry_run: change.dry_run,
        };
        self.once
            .run(
                actor,
                "segmentation.update",
                idempotency_key,
                &wanted,
                |key| self.rule(actor, &wanted, key),
            )
            .await
    }

    async fn rule(
        &self,
        actor: &Actor,
        wanted: &RulesRequest,
        key: Option<IdempotencyKey>,
    ) -> Result<SegmentationUpdated, Error> {
        let account = actor.account_id;
        let campaign = self.get(actor, wanted.campaign).await?;
        if wanted.segment_by.sorted() != campaign.segment_by.sorted() {
            return Err(Invalid::new(format!(
                "`segment_by` must have the campaign's fields, {}; only their rules can be changed",
                campaign
                    .segment_by
                    .fields()
                    .iter()
                    .map(|field| format!("`{field}`"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ))
            .into());
        }
        campaign.check(Action::ChangeRules)?;
        let known = self.store.known_segments(account, campaign.id).await?;
        let rekey = Rekey::new(&campaign.segment_by, &wanted.segment_by, known)?;
        let contents = rekey.contents();
        let digests = if contents.is_empty() {
            HashMap::new()
        } else {
            let (store, id) = (&self.store, campaign.id);
            store.text_digests(account, id, contents).await?
        };
        let Rekeying {
            before,
            after,
            conflict_count,
            conflicts,
            segments,
        } = rekey.decide(&digests)?;
        let updated = SegmentationUpdated {
            segments_before: before,
            segments_after: after,
            conflict_count,
            conflicts,
        };
        let response = key.map(|key| key.answered(&updated)).transpose()?;
        let now = self.host.clock.now();
        let same = campaign.segment_by == wanted.segment_by && segments.is_empty();
        if wanted.dry_run || same {
            if let Some(response) = response {
                self.responses.keep_response(account, response, now).await?;
            }
            return Ok(updated);
        }
        let event = Event::CampaignUpdated(CampaignUpdate {
            campaign_id: campaign.id,
            name: None,
            template: false,
            brief: false,
            approval_stages: None,
            distinct_reviewers: None,
            suggest_reruns: None,
            segmentation: Some(RulesChange {
                segments_before: before,
                segments_after: after,
                conflicts: conflict_count,
            }),
        });
        let to = campaign.clone().with(|to| {
            to.segment_by = wanted.segment_by.clone();
            to.version += 1;
            to.updated_at = now;
        })?;
        self.store
            .update_segmentation(UpdateSegmentation {
                campaign,
                to,
                segments,
                audit: self.host.author(actor, now).of(event),
                response,
            })
            .await?;
        Ok(updated)
    }
}
