//! Ports that a store implements.

use std::net::IpAddr;

use async_trait::async_trait;

use crate::Timestamp;
use crate::audit::{AuditAction, AuditDraft, AuditEntry, ChainHead};
use crate::campaign::{ApprovalStages, Campaign, CampaignStatus, wire_enum};
use crate::change::MessageChange;
use crate::error::{Invalid, StoreError};
use crate::generation::{GenerationTask, Settled, TaskResult};
use crate::group::{CustomerGroup, CustomerRows, Imported};
use crate::ids::{
    AccountId, AuditEntryId, CampaignId, CustomerGroupId, LeaseId, MessageId, RunNumber, UserId,
};
use crate::message::{Content, Message, MessageState};
use crate::page::{AuditKey, CreatedKey, MessageKey, Page, PageRequest};
use crate::plan::{ReuseFrom, RunPlan, SegmentCandidate};
use crate::run::Run;
use crate::segment::{Segment, SegmentBy, SegmentKey};

/// Why an import of rows was refused or failed. Either way nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ImportFailure {
    /// A row broke a rule.
    #[error(transparent)]
    Rejected(#[from] Invalid),
    /// The account has no such customer group.
    #[error("customer group not found")]
    GroupNotFound,
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps customer groups and their customers.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait CustomerGroupStore: Send + Sync {
    /// Adds a group that has no customers yet, with its audit entry.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn create_group(
        &self,
        group: &CustomerGroup,
        audit: AuditDraft,
    ) -> Result<(), StoreError>;

    /// The group, or `None` when the account has no such group.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_group(
        &self,
        account: AccountId,
        id: CustomerGroupId,
    ) -> Result<Option<CustomerGroup>, StoreError>;

    /// The account's groups, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_groups(
        &self,
        account: AccountId,
        page: PageRequest<CreatedKey>,
    ) -> Result<Page<CustomerGroup, CreatedKey>, StoreError>;

    /// Takes every row into the group in one transaction. Rows are pulled one by one, so that
    /// memory does not grow with their number. A customer that the group has is updated: the
    /// given `fields` replace its values (`None` removes one), other fields stay; of several
    /// rows with one reference the last wins. Counts of segments kept for the group are dropped
    /// when a customer came or changed. The audit entry is completed with the answer's numbers
    /// by [`Imported::audited`]; an import that changes nothing has none.
    ///
    /// # Errors
    /// [`ImportFailure`]; the first refused row ends the import.
    async fn import_customers(
        &self,
        account: AccountId,
        id: CustomerGroupId,
        fields: Vec<String>,
        rows: CustomerRows,
        audit: AuditDraft,
    ) -> Result<Imported, ImportFailure>;
}

/// A message of a campaign that is brought in from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedMessage {
    /// Its new id.
    pub id: MessageId,
    /// Its segment.
    pub segment: Segment,
    /// Its published content.
    pub content: Content,
}

/// Messages that are brought in, pulled one by one from a thread that may block.
pub type ImportedMessages = Box<dyn Iterator<Item = Result<ImportedMessage, Invalid>> + Send>;

/// Keeps campaigns.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait CampaignStore: Send + Sync {
    /// Adds a draft, with its audit entry.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn create_campaign(
        &self,
        campaign: &Campaign,
        audit: AuditDraft,
    ) -> Result<(), StoreError>;

    /// The campaign, or `None` when the account has no such campaign.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_campaign(
        &self,
        account: AccountId,
        id: CampaignId,
    ) -> Result<Option<Campaign>, StoreError>;

    /// The account's campaigns, newest first; with `status`, those that have it.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_campaigns(
        &self,
        account: AccountId,
        status: Option<CampaignStatus>,
        page: PageRequest<CreatedKey>,
    ) -> Result<Page<Campaign, CreatedKey>, StoreError>;

    /// Adds a published campaign with the messages of its run 1, all published and of source
    /// `generated`, in one transaction. `run` is the synthesised entry without its numbers: the
    /// store fills in customers, segments and counts from the messages and answers the run as
    /// it stored it. Two messages for one segment are refused.
    ///
    /// # Errors
    /// [`ImportFailure`].
    async fn import_campaign(
        &self,
        campaign: &Campaign,
        run: Run,
        messages: ImportedMessages,
        audit: AuditDraft,
    ) -> Result<Run, ImportFailure>;
}

/// Which messages of a campaign to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageSelection {
    /// Those of the current run; none when there is no current run.
    CurrentRun,
    /// Those of this run, whether it is current or not.
    Run(RunNumber),
    /// Those of every run, newest run first.
    EveryRun,
}

/// A page of a campaign's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The campaign's status.
    pub status: CampaignStatus,
    /// The campaign's current run.
    pub current_run: Option<RunNumber>,
    /// Its runs, newest first.
    pub runs: Page<Run, RunNumber>,
}

/// A page of a campaign's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageList {
    /// The campaign's current run.
    pub current_run: Option<RunNumber>,
    /// The campaign's stages, which the messages' states count.
    pub approval_stages: ApprovalStages,
    /// Whether the run that was asked for exists; true when none was.
    pub run_exists: bool,
    /// The messages: within a run in the order of their segments' numbers.
    pub messages: Page<Message, MessageKey>,
}

wire_enum! {
    /// How a segment differs between two runs.
    DiffChange {
        /// Only the later run has it.
        Added => "added",
        /// Only the earlier run has it.
        Removed => "removed",
        /// Both have it, with the same content.
        KeptSame => "kept_same",
        /// Both have it, with different content.
        KeptChanged => "kept_changed",
    }
}

/// How many segments differ in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct DiffCounts {
    /// [`DiffChange::Added`].
    pub added: i64,
    /// [`DiffChange::Removed`].
    pub removed: i64,
    /// [`DiffChange::KeptSame`].
    pub kept_same: i64,
    /// [`DiffChange::KeptChanged`].
    pub kept_changed: i64,
}

/// One segment in a comparison of two runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffItem {
    /// The store's number of the segment within the campaign; orders the items.
    pub segment_no: i32,
    /// The segment, with the customers of the later run, or of the earlier when it was removed.
    pub segment: Segment,
    /// How it differs.
    pub change: DiffChange,
    /// Its message in the earlier run.
    pub from: Option<MessageId>,
    /// Its message in the later run.
    pub to: Option<MessageId>,
}

/// A page of a comparison of two runs. Content is compared by identity: a reused message has
/// the same content, an edited or regenerated one has different content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// Whether both runs exist.
    pub runs_exist: bool,
    /// The numbers of the whole comparison.
    pub counts: DiffCounts,
    /// Its segments, by number.
    pub items: Page<DiffItem, i32>,
}

/// Reads what campaigns have been through.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait HistoryStore: Send + Sync {
    /// The campaign's runs, newest first; `None` when the account has no such campaign.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn history(
        &self,
        account: AccountId,
        campaign: CampaignId,
        page: PageRequest<RunNumber>,
    ) -> Result<Option<History>, StoreError>;

    /// The campaign's messages; `None` when the account has no such campaign.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
        selection: MessageSelection,
        page: PageRequest<MessageKey>,
    ) -> Result<Option<MessageList>, StoreError>;

    /// One message; `None` when the campaign has no such message.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_message(
        &self,
        account: AccountId,
        campaign: CampaignId,
        message: MessageId,
    ) -> Result<Option<Message>, StoreError>;

    /// Compares two runs segment by segment; `None` when the account has no such campaign.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn diff(
        &self,
        account: AccountId,
        campaign: CampaignId,
        from: RunNumber,
        to: RunNumber,
        page: PageRequest<i32>,
    ) -> Result<Option<Diff>, StoreError>;
}

/// Which customer group a decision needs besides the campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedGroup {
    /// None.
    None,
    /// The one that the campaign was made for.
    OfCampaign,
    /// This one.
    Named(CustomerGroupId),
}

/// What a decision about a campaign rests on, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignContext {
    /// The campaign.
    pub campaign: Campaign,
    /// Its current run.
    pub current_run: Option<Run>,
    /// The wanted group; `None` when the account has no such group.
    pub group: Option<CustomerGroup>,
}

/// Asks for the segments of a group, with what each could reuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateQuery {
    /// The account.
    pub account_id: AccountId,
    /// The group that falls into segments.
    pub group_id: CustomerGroupId,
    /// By which fields.
    pub segment_by: SegmentBy,
    /// The campaign and its current run, whose published messages may be reused, and whether
    /// those of its other runs may be too. `None` for a launch, which reuses nothing.
    pub reuse: Option<(CampaignId, RunNumber, ReuseFrom)>,
    /// The most segments that are of interest: with more, `limit + 1` are answered.
    pub limit: u32,
}

/// The segments of a group at one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentCandidates {
    /// Grows with every import that changes the group's customers.
    pub group_version: i64,
    /// The segments, ordered by key. Each names the newest published message for its key in the
    /// runs that may be reused from.
    pub segments: Vec<SegmentCandidate>,
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
    /// An id for the message of each of the plan's segments, in their order.
    pub message_ids: Vec<MessageId>,
    /// Where the initiating user called from.
    pub initiated_ip: IpAddr,
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
    /// The run as it stays in the history.
    pub run: Run,
    /// The campaign's status afterwards, with the run's `previous_run` current again.
    pub campaign_status: CampaignStatus,
    /// The audit entry.
    pub audit: AuditDraft,
    /// When.
    pub now: Timestamp,
}

/// Decides nothing, makes runs come and go.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait RerunStore: Send + Sync {
    /// The campaign with its current run and the wanted group; `None` when the account has no
    /// such campaign.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn campaign_context(
        &self,
        account: AccountId,
        campaign: CampaignId,
        group: WantedGroup,
    ) -> Result<Option<CampaignContext>, StoreError>;

    /// The group's segments. A store may keep the counts until the group changes.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Conflict`] when the group changed while they were counted.
    async fn segment_candidates(
        &self,
        query: CandidateQuery,
    ) -> Result<SegmentCandidates, StoreError>;

    /// Some of the group's segments with their attributes, ordered by key.
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

    /// Makes a plan true: the run and its messages are there, matched ones approved with the
    /// content (and its approvals) that they reuse, new ones queued for generation; the previous
    /// run is archived; the campaign has the run as its current one, the status that the run's
    /// counts give, and the next version.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when campaign or group are not at their versions any more, or
    /// the idempotency key was used meanwhile.
    async fn start_run(&self, start: StartRun) -> Result<(), StoreError>;

    /// Takes the current run back: it is archived as cancelled, nothing of it is generated any
    /// more, and its `previous_run` is current and active again.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the campaign is not at its version any more.
    async fn cancel_run(&self, cancel: CancelRun) -> Result<(), StoreError>;

    /// Archives what is still active of a past run, with the audit entry when there was any;
    /// answers how many messages that were. Where archiving is a fact of the run, as in this
    /// project's stores, nothing of a past run is ever active.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the run is the current one.
    async fn archive_run(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
        audit: AuditDraft,
    ) -> Result<Option<u32>, StoreError>;
}

/// What a review decision needs to know of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRef {
    /// The message.
    pub id: MessageId,
    /// Its run.
    pub run_number: RunNumber,
    /// Where its review stands.
    pub state: MessageState,
    /// Who wrote its content, when a person did.
    pub edited_by: Option<UserId>,
}

/// Moves messages through review.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait ReviewStore: Send + Sync {
    /// Those of the named messages that the campaign has, in no particular order.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn message_refs(
        &self,
        account: AccountId,
        campaign: CampaignId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<MessageRef>, StoreError>;

    /// Makes a change of messages true in one transaction, together with what
    /// [`MessageChange::applied`] says of run and campaign; the campaign gets the next version.
    /// Answers how many messages changed; with none, nothing is written.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the campaign is not at its version any more, a named message
    /// is in no state that the moves start from, or the idempotency key was used meanwhile.
    async fn change_messages(&self, change: MessageChange) -> Result<ChangeOutcome, StoreError>;
}

/// What a change of messages came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeOutcome {
    /// How many messages changed.
    pub messages: u32,
    /// The campaign's status afterwards.
    pub campaign_status: CampaignStatus,
}

/// A request that carries an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// What the key was given to; a key is good for one endpoint of one account.
    pub endpoint: &'static str,
    /// The key, 1 to 255 characters.
    pub key: String,
    /// Hash of the request: another one under the same key is refused.
    pub fingerprint: [u8; 32],
}

/// A response to keep under its key, in the transaction that it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotentResponse {
    /// The key.
    pub key: IdempotencyKey,
    /// The outcome as JSON.
    pub response: String,
}

/// A response that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptResponse {
    /// Hash of the request that it answered.
    pub fingerprint: [u8; 32],
    /// The outcome as JSON.
    pub response: String,
}

/// How long a response is kept under its key.
pub const IDEMPOTENCY_WINDOW: std::time::Duration = std::time::Duration::from_hours(24);

/// Keeps the responses of requests with an idempotency key. They are written by the methods
/// whose transaction they belong to; a key that is older than [`IDEMPOTENCY_WINDOW`] at that
/// moment is written over.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait IdempotencyStore: Send + Sync {
    /// The response kept for the key since `not_before`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_response(
        &self,
        account: AccountId,
        endpoint: &'static str,
        key: &str,
        not_before: Timestamp,
    ) -> Result<Option<KeptResponse>, StoreError>;

    /// Forgets responses kept before `before`; answers how many those were.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn forget_responses(&self, before: Timestamp) -> Result<u64, StoreError>;
}

/// Results of one lease for messages of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleRun {
    /// The account.
    pub account_id: AccountId,
    /// The campaign.
    pub campaign_id: CampaignId,
    /// The run.
    pub run_number: RunNumber,
    /// The lease under which the messages were taken.
    pub lease: LeaseId,
    /// What became of each message. All are of the run above.
    pub results: Vec<TaskResult>,
    /// For the entry of the run's end.
    pub audit_id: AuditEntryId,
    /// When.
    pub now: Timestamp,
}

/// Hands out the messages that are to be generated, of all accounts, and takes the results.
///
/// A message is due when its time has come and no live lease holds it. Leases keep workers out
/// of each other's way; they never decide alone: a result counts only while its lease is alive
/// and its message still waits, so that each message is stored once.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait GenerationQueue: Send + Sync {
    /// Takes up to `limit` due messages under `lease` until `until`, the longest due first. Runs
    /// that were `Queued` are `Processing` then.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn lease(
        &self,
        lease: LeaseId,
        limit: u32,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<GenerationTask>, StoreError>;

    /// Prolongs a lease that is still alive at `now`; answers how many messages it holds.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn renew(
        &self,
        lease: LeaseId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Gives back what a lease still holds, due at once.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn release(&self, lease: LeaseId, now: Timestamp) -> Result<u64, StoreError>;

    /// Stores results in one transaction, together with what [`crate::change::generated`] says
    /// of run and campaign. Results whose message the lease does not hold any more, or held only
    /// until before `now`, are dropped. A message that is to be tried again leaves the lease and
    /// is due at its time, with one more failed attempt. The campaign gets the next version when
    /// its status changes.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn settle(&self, settle: SettleRun) -> Result<Settled, StoreError>;
}

/// How much waits to be generated, in all accounts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Messages in the queue, those that are leased or wait for another attempt too. Stores stop
    /// counting at [`Backlog::MOST_COUNTED`].
    pub messages: u64,
    /// Since when that message is due which has been due the longest; `None` when none is due.
    pub due_since: Option<Timestamp>,
}

impl Backlog {
    /// The largest number of messages that is told: counting more would cost more than knowing
    /// it is worth.
    pub const MOST_COUNTED: u32 = 1_000_000;
}

/// Tells an operator whether workers keep up.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait QueueGauge: Send + Sync {
    /// What waits at `now`. It is asked every few seconds at most, without locks, and never reads
    /// a message.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn backlog(&self, now: Timestamp) -> Result<Backlog, StoreError>;
}

/// Which entries of the audit log to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Those about this campaign.
    pub campaign_id: Option<CampaignId>,
    /// Those of this action.
    pub action: Option<AuditAction>,
}

/// Reads the audit log. Entries are written by the methods whose transaction they belong to.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// The account's entries, newest first; `None` when the filter names a campaign that the
    /// account does not have.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_audit(
        &self,
        account: AccountId,
        filter: AuditFilter,
        page: PageRequest<AuditKey>,
    ) -> Result<Option<Page<AuditEntry, AuditKey>>, StoreError>;

    /// Up to `limit` entries with a number above `after`, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn audit_chain(
        &self,
        account: AccountId,
        after: i64,
        limit: u16,
    ) -> Result<Vec<AuditEntry>, StoreError>;

    /// The newest entry of the account's chain as the store keeps it apart from the entries.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn audit_head(&self, account: AccountId) -> Result<ChainHead, StoreError>;

    /// The accounts that have a chain or entries, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn audit_accounts(&self) -> Result<Vec<AccountId>, StoreError>;
}

/// Says whether the store can be reached and has the schema that this version needs.
#[cfg_attr(any(test, feature = "mocks"), mockall::automock)]
#[async_trait]
pub trait HealthCheck: Send + Sync {
    /// Asks the database.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn check(&self) -> Result<(), StoreError>;
}

/// All that a whole store implements.
pub trait Store:
    CustomerGroupStore
    + CampaignStore
    + HistoryStore
    + RerunStore
    + ReviewStore
    + IdempotencyStore
    + GenerationQueue
    + QueueGauge
    + AuditStore
    + HealthCheck
{
}

impl<S> Store for S where
    S: CustomerGroupStore
        + CampaignStore
        + HistoryStore
        + RerunStore
        + ReviewStore
        + IdempotencyStore
        + GenerationQueue
        + QueueGauge
        + AuditStore
        + HealthCheck
{
}
