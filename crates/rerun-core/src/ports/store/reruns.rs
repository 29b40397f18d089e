//! Starts and cancels runs, and reads what a start needs.

use std::collections::HashMap;
use std::net::IpAddr;

use async_trait::async_trait;

use super::idempotency::IdempotentResponse;
use super::schedules::FiringChange;
use crate::audit::AuditDraft;
use crate::campaign::{Campaign, Standing};
use crate::error::StoreError;
use crate::ids::{AccountId, CampaignId, CustomerGroupId, MessageId, RunNumber};
use crate::nearest::{KeptSuggestion, Suggestion};
use crate::plan::{ReuseFrom, RunPlan, SegmentCandidate};
use crate::run::Run;
use crate::segment::{FieldValues, Segment, SegmentBy, SegmentKey};
use crate::survey::ValueReport;
use crate::timestamp::Timestamp;

/// Asks for the segments of a group, with what each could reuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateQuery {
    /// The account.
    pub account_id: AccountId,
    /// The group that falls into segments.
    pub group_id: CustomerGroupId,
    /// By which fields.
    pub segment_by: SegmentBy,
    /// The campaign, its current run, and which of its messages may be reused. `None` for a
    /// launch, which reuses nothing.
    pub reuse: Option<(CampaignId, RunNumber, ReuseFrom)>,
    /// The most segments that are of interest: with more, `limit + 1` are answered.
    pub limit: u32,
}

/// The segments of a group at one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentCandidates {
    /// Grows with every import that changes the group's customers.
    pub group_version: i64,
    /// The segments, ordered by key. Each names the newest message for its key that may be
    /// reused, among those whose content has no placeholder.
    pub segments: Vec<SegmentCandidate>,
    /// What the customers have in each field, in the order of [`SegmentBy::sorted`]. With more
    /// segments than the limit, it is enough to tell whether any customer has a value.
    pub fields: Vec<FieldValues>,
}

/// A run to start: the plan, made true in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRun {
    /// The campaign as the plan saw it. A store commits only while its version is the same.
    pub campaign: Campaign,
    /// The group's version that the plan's segments were counted at; likewise.
    pub group_version: i64,
    /// The plan.
    pub plan: RunPlan,
    /// The run as it is to be stored.
    pub run: Run,
    /// What the campaign is afterwards.
    pub standing: Standing,
    /// What is suggested for new segments, by their keys.
    pub suggestions: HashMap<SegmentKey, KeptSuggestion>,
    /// An id for the message of each of the plan's segments, in their order.
    pub message_ids: Vec<MessageId>,
    /// Where the initiating user called from, if that is known.
    pub initiated_ip: Option<IpAddr>,
    /// What became of the times of the schedule that starts the run.
    pub firing: Option<Box<FiringChange>>,
    /// The audit entry.
    pub audit: AuditDraft,
    /// The response to keep under an idempotency key.
    pub response: Option<IdempotentResponse>,
    /// When.
    pub now: Timestamp,
}

/// A run to take back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelRun {
    /// The campaign as the decision saw it. A store commits only while its version is the same.
    pub campaign: Campaign,
    /// The run as it stays in the history. Its counts are those of the decision: a store keeps its
    /// own, since workers may have stored results meanwhile.
    pub run: Run,
    /// What the campaign is afterwards.
    pub standing: Standing,
    /// The audit entry.
    pub audit: AuditDraft,
    /// The response to keep under an idempotency key.
    pub response: Option<IdempotentResponse>,
    /// When.
    pub now: Timestamp,
}

/// Decides nothing, makes runs come and go.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait RerunStore: Send + Sync {
    /// The group's segments. A store may keep the counts until the group changes. Values go
    /// through [`FieldValues::counted`], so that memory is bounded whatever profiles hold.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Conflict`] when the group changed while they were counted.
    async fn segment_candidates(
        &self,
        query: CandidateQuery,
    ) -> Result<SegmentCandidates, StoreError>;

    /// Those of the named fields that some customer of the group has a value for, in any order.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn valued_fields(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        names: Vec<String>,
    ) -> Result<Vec<String>, StoreError>;

    /// Some of the group's segments with their attributes, ordered by key: the first of those
    /// that are named, at least as many as fill a [`Page`](crate::page::Page).
    ///
    /// # Errors
    /// [`StoreError`].
    async fn segments(
        &self,
        account: AccountId,
        group: CustomerGroupId,
        segment_by: &SegmentBy,
        keys: Vec<SegmentKey>,
    ) -> Result<Vec<Segment>, StoreError>;

    /// What the values of the group's segments have in common with those of the messages that may be
    /// reused: see [`Survey`](crate::survey::Survey). `None` when the group is not at this version
    /// any more.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn survey(
        &self,
        query: CandidateQuery,
        group_version: i64,
    ) -> Result<Option<ValueReport>, StoreError>;

    /// The messages that may be reused which are nearest to some of the group's segments: see
    /// [`Nearest`](crate::nearest::Nearest). `None` when the group is not at this version any more.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn suggestions(
        &self,
        query: CandidateQuery,
        group_version: i64,
        keys: Vec<SegmentKey>,
    ) -> Result<Option<HashMap<SegmentKey, Suggestion>>, StoreError>;

    /// Makes a plan true: the run and its messages are there, matched ones approved with the
    /// content (and its approvals) that they reuse, new ones queued for generation; the previous
    /// run is archived; the campaign has its new standing, and the next version.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when campaign or group are not at their versions any more, or
    /// the idempotency key was used meanwhile.
    async fn start_run(&self, start: StartRun) -> Result<(), StoreError>;

    /// Takes the current run back: it is archived as cancelled, nothing of it is generated any
    /// more, and its `previous_run` is current and active again.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the campaign is not at its version any more, or the
    /// idempotency key was used meanwhile.
    async fn cancel_run(&self, cancel: CancelRun) -> Result<(), StoreError>;
}
