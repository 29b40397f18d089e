//! The plan of a run: which segments reuse an approved message and which need a new one.
//!
//! Planning is a pure function of what a store read. The plan names what to reuse by id, so that
//! content never travels through the process.

use crate::campaign::{Campaign, CampaignStatus, wire_enum};
use crate::error::{Action, Error};
use crate::ids::{MessageId, RunNumber};
use crate::message::{ReusedFrom, ReviewStatus, Source};
use crate::run::{MessageCounts, Run, SegmentCounts};
use crate::segment::SegmentKey;

wire_enum! {
    /// Where a rerun looks for messages to reuse.
    ReuseFrom {
        /// Messages that are published in the current run.
        CurrentRun => "current_run",
        /// Messages that are published in any run of the campaign; the newest wins.
        AnyRun => "any_run",
    }
}

/// A message that a store offers for reuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReuseCandidate {
    /// The message.
    pub message_id: MessageId,
    /// Its run.
    pub run_number: RunNumber,
    /// Its review status; only a published message is reused.
    pub status: ReviewStatus,
}

/// A segment of the group that a run is planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentCandidate {
    /// The segment.
    pub key: SegmentKey,
    /// Its customers.
    pub customer_count: i64,
    /// The message for the same segment in the runs that the rerun may reuse from, if there is
    /// one; the newest of several.
    pub reusable: Option<ReuseCandidate>,
}

/// A segment of the group, with the message that it reuses when it is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedSegment {
    /// The segment.
    pub key: SegmentKey,
    /// Its customers.
    pub customer_count: i64,
    /// The message whose content it reuses; `None` when the segment is new.
    pub reuses: Option<ReusedFrom>,
}

/// What a run will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPlan {
    /// The number that the run takes.
    pub run_number: RunNumber,
    /// The run that is current now and will be archived.
    pub previous_run: Option<RunNumber>,
    /// How many messages of that run will be archived.
    pub archived_messages: u32,
    /// How the segments split.
    pub segments: SegmentCounts,
    /// The customers of all segments.
    pub customer_count: i64,
    /// The campaign's status when the run has been generated.
    pub resulting_status: CampaignStatus,
    /// Every segment of the group.
    pub items: Vec<PlannedSegment>,
}

impl RunPlan {
    /// Plans the rerun of a published campaign. `limit` is the most segments that a run may
    /// have.
    ///
    /// # Errors
    /// In this order: [`Error::CampaignNotPublished`], [`Error::MessagesNotPublished`],
    /// [`Error::EmptyCustomerGroup`], [`Error::TooManySegments`].
    pub fn rerun(
        campaign: &Campaign,
        current: Option<&Run>,
        reuse_from: ReuseFrom,
        candidates: &[SegmentCandidate],
        limit: u32,
    ) -> Result<Self, Error> {
        campaign.check_rerun(current)?;
        Self::new(campaign, current, Some(reuse_from), candidates, limit)
    }

    /// Plans the first run of a draft, in which every segment is new.
    ///
    /// # Errors
    /// In this order: [`Error::IllegalTransition`], [`Error::EmptyCustomerGroup`],
    /// [`Error::TooManySegments`].
    pub fn launch(
        campaign: &Campaign,
        candidates: &[SegmentCandidate],
        limit: u32,
    ) -> Result<Self, Error> {
        campaign.check(Action::Launch)?;
        Self::new(campaign, None, None, candidates, limit)
    }

    fn new(
        campaign: &Campaign,
        current: Option<&Run>,
        reuse_from: Option<ReuseFrom>,
        candidates: &[SegmentCandidate],
        limit: u32,
    ) -> Result<Self, Error> {
        if candidates.is_empty() {
            return Err(Error::EmptyCustomerGroup);
        }
        let total = u32::try_from(candidates.len())
            .ok()
            .filter(|total| *total <= limit)
            .ok_or(Error::TooManySegments { limit })?;
        let current_number = current.map(|run| run.number);
        let reuses = |candidate: &SegmentCandidate| {
            let found = candidate.reusable?;
            let in_scope = match reuse_from? {
                ReuseFrom::CurrentRun => Some(found.run_number) == current_number,
                ReuseFrom::AnyRun => true,
            };
            (in_scope && found.status == ReviewStatus::Published).then_some(ReusedFrom {
                message_id: found.message_id,
                run_number: found.run_number,
            })
        };
        let mut matched = 0;
        let mut customer_count = 0;
        let items = candidates
            .iter()
            .map(|candidate| {
                let reuses = reuses(candidate);
                matched += u32::from(reuses.is_some());
                customer_count += candidate.customer_count;
                PlannedSegment {
                    key: candidate.key,
                    customer_count: candidate.customer_count,
                    reuses,
                }
            })
            .collect();
        let new = total - matched;
        Ok(Self {
            run_number: campaign.next_run()?,
            previous_run: current_number,
            archived_messages: current.map_or(0, |run| run.counts.total()),
            segments: SegmentCounts {
                total,
                matched,
                new,
            },
            customer_count,
            resulting_status: if new == 0 {
                CampaignStatus::ReadyToPublish
            } else {
                CampaignStatus::ReadyForReview
            },
            items,
        })
    }

    /// The counts of the run's messages at its start: matched ones are approved, new ones are
    /// to be generated.
    #[must_use]
    pub fn counts(&self) -> MessageCounts {
        MessageCounts::default()
            .add(
                ReviewStatus::Approved,
                Source::Reused,
                self.segments.matched,
            )
            .add(
                ReviewStatus::Generating,
                Source::Generated,
                self.segments.new,
            )
    }
}
