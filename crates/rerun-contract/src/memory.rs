//! A store in memory: every port, simply. It is what the suite itself is tested on, and what to
//! read before writing a store of one's own. It is not fast, and it forgets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::audit::{AuditAction, AuditDraft, AuditEntry, ChainHead, ImportAudit, Unlogged};
use rerun_core::campaign::{Campaign, CampaignStatus, Standing};
use rerun_core::change::{self, Applied, MessageChange, Move, Patch, Selection, Shift};
use rerun_core::counting::{Counted, Counting};
use rerun_core::diff::{DiffCounts, DiffItem};
use rerun_core::error::{Invalid, StoreError, UnfilledPlaceholder};
use rerun_core::feed::EventPage;
use rerun_core::generation::{GenerationBrief, GenerationTask, Settled, SettledRun, TaskOutcome};
use rerun_core::group::{
    Customer, CustomerFile, CustomerGroup, CustomerRow, DeletedCustomers, ImportMode, Imported,
};
use rerun_core::ids::{
    AccountId, CampaignId, ContentId, CustomerGroupId, LeaseId, MessageId, RunNumber, UserId,
};
use rerun_core::message::{
    Approval, Approvals, Content, Message, MessageCommand, MessageState, Provenance, ReviewStatus,
    Source,
};
use rerun_core::nearest::{Nearest, Reusable, Suggestion};
use rerun_core::page::{
    AuditKey, Contents, CreatedKey, CustomerKey, Limit, MessageKey, Page, PageRequest, filling,
};
use rerun_core::plan::{PlannedSegment, ReuseCandidate, ReuseFrom, SegmentCandidate};
use rerun_core::ports::{
    AuditFilter, AuditStore, Backlog, CLOCK_TOLERANCE, CampaignContext, CampaignStore, CancelRun,
    CandidateQuery, ChangeOutcome, CustomerGroupStore, CustomerQuery, CustomerValues, Customers,
    DeleteCampaign, DeleteCustomers, DeleteGroup, Diff, EraseCustomer, EventFilter, EventLog,
    GenerationQueue, GroupDeletion, HealthCheck, History, HistoryStore, IDEMPOTENCY_WINDOW,
    IdempotencyKey, IdempotencyStore, IdempotentResponse, ImportFailure, ImportedMessage,
    ImportedMessages, KeptResponse, LeaseTasks, ListCustomers, MessageFilter, MessageList,
    MessageSelection, QueueGauge, RecipientStore, RenameGroup, RerunStore, ReviewStore,
    RunAudience, RunMessage, SegmentCandidates, SettleRun, StartRun, UpdateCampaign,
    UpdateSegmentation, WantedGroup,
};
use rerun_core::rekeying::{ApprovedMessage, Displaced, KnownSegment, Rekeyed, TextDigest};
use rerun_core::review::MessageRef;
use rerun_core::run::{MessageCounts, Run, SegmentCounts};
use rerun_core::segment::{FieldValues, Segment, SegmentBy, SegmentKey};
use rerun_core::survey::{Survey, ValueReport};

/// Everything behind one lock. A method that writes works on a copy, which takes the state's
/// place only when the method succeeds: that is its transaction.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

type State = BTreeMap<AccountId, Account>;

#[derive(Debug, Clone)]
struct Account {
    groups: BTreeMap<CustomerGroupId, Group>,
    campaigns: BTreeMap<CampaignId, Ledger>,
    responses: BTreeMap<String, (KeptResponse, Timestamp)>,
    entries: Vec<AuditEntry>,
    head: ChainHead,
}

#[derive(Debug, Clone)]
struct Group {
    about: CustomerGroup,
    version: i64,
    customers: BTreeMap<String, BTreeMap<String, String>>,
}

/// A campaign with all that it has been through.
#[derive(Debug, Clone)]
struct Ledger {
    campaign: Campaign,
    runs: BTreeMap<RunNumber, Run>,
    /// The versions that their groups had when they started.
    group_versions: BTreeMap<RunNumber, i64>,
    /// The number of the segment that stands for each key.
    segment_numbers: BTreeMap<SegmentKey, i32>,
    /// The highest number of a segment.
    last_segment: i32,
    /// The segments that do not stand for their key, by their number.
    displaced: BTreeMap<i32, Displaced>,
    /// The rules that runs were planned by, if the campaign has others now.
    rules: BTreeMap<RunNumber, SegmentBy>,
    rows: BTreeMap<MessageId, Row>,
}

#[derive(Debug, Clone)]
struct Row {
    /// The message without `content_id`, `content`, `provenance` and `archived_at`, which [`Row::message`]
    /// derives.
    bare: Message,
    text: Option<Arc<Text>>,
    approvals: Vec<Approval>,
    waiting: Option<Waiting>,
}

/// Content with its identity: two messages have the same content when they share this.
#[derive(Debug)]
struct Text {
    id: ContentId,
    content: Content,
    made_in: RunNumber,
    written_by: Option<UserId>,
}

/// More segments than any group has.
const NO_LIMIT: u32 = u32::MAX;

/// A message's place in the generation queue.
#[derive(Debug, Clone)]
struct Waiting {
    due_at: Timestamp,
    /// When the due time, or the lease's end, was set; `None` for what was due at once.
    set_at: Option<Timestamp>,
    failed_attempts: u32,
    put_off: Duration,
    lease: Option<(LeaseId, Timestamp)>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            groups: BTreeMap::new(),
            campaigns: BTreeMap::new(),
            responses: BTreeMap::new(),
            entries: Vec::new(),
            head: ChainHead::EMPTY,
        }
    }
}

impl Account {
    fn record(&mut self, audit: AuditDraft) {
        let entry = audit.sealed(&self.head);
        self.head = ChainHead {
            seq: entry.seq,
            hash: entry.hash,
        };
        self.entries.push(entry);
    }

    fn keep(
        &mut self,
        response: Option<IdempotentResponse>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(IdempotentResponse { key, response }) = response else {
            return Ok(());
        };
        match self.responses.get(&key.key) {
            Some((_, kept_at)) if *kept_at >= now - IDEMPOTENCY_WINDOW => Err(StoreError::Conflict),
            Some(_) | None => {
                let kept = KeptResponse {
                    endpoint: key.endpoint.to_owned(),
                    fingerprint: key.fingerprint,
                    response,
                };
                self.responses.insert(key.key, (kept, now));
                Ok(())
            }
        }
    }

    /// The campaign, while it is as the decision saw it.
    fn unmoved(&mut self, seen: &Campaign) -> Result<&mut Ledger, StoreError> {
        self.campaigns
            .get_mut(&seen.id)
            .filter(|ledger| ledger.campaign.version == seen.version)
            .ok_or(StoreError::Conflict)
    }
}

fn counted(items: usize) -> Result<u64, StoreError> {
    u64::try_from(items).map_err(|error| StoreError::Backend(error.into()))
}

impl Group {
    /// Notes that its customers changed.
    fn changed(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let customers = i64::try_from(self.customers.len());
        self.about.customer_count = customers.map_err(|e| StoreError::Backend(e.into()))?;
        self.about.updated_at = now;
        self.version += 1;
        Ok(())
    }

    fn segments(&self, segment_by: &SegmentBy) -> BTreeMap<SegmentKey, Segment> {
        let counted = self.counted(segment_by, NO_LIMIT);
        let segments = counted.segments.into_iter();
        segments.map(|segment| (segment.key, segment)).collect()
    }

    /// The segments that the value rules make of each distinct combination of values.
    fn counted(&self, segment_by: &SegmentBy, limit: u32) -> Counted {
        let names = segment_by.sorted();
        let mut combinations: BTreeMap<Vec<Option<&str>>, i64> = BTreeMap::new();
        for customer in self.customers.values() {
            let value = |name: &&str| customer.get(*name).map(|v| FieldValues::counted(v));
            let values = names.iter().map(value).collect();
            *combinations.entry(values).or_default() += 1;
        }
        let mut counting = Counting::new(segment_by, limit);
        for (values, customers) in combinations {
            counting.add(values, customers);
        }
        counting.finish()
    }

    fn take(&mut self, fields: &[String], row: CustomerRow) {
        let customer = self.customers.entry(row.customer_ref).or_default();
        for (field, value) in fields.iter().zip(row.values) {
            match value {
                Some(value) => customer.insert(field.clone(), value),
                None => customer.remove(field),
            };
        }
    }
}

impl Row {
    fn message(&self, run: &Run) -> Result<Message, StoreError> {
        let provenance = match &self.text {
            None => None,
            Some(text) => Some(Provenance {
                run_number: text.made_in,
                approvals: Approvals::from_stored(
                    serde_json::to_string(&self.approvals)
                        .map_err(|e| StoreError::Backend(e.into()))?,
                ),
            }),
        };
        let suggestion = self.bare.suggestion.clone();
        Ok(Message {
            suggestion: suggestion.filter(|_| self.bare.state.shows_suggestion()),
            content_id: self.text.as_ref().map(|text| text.id),
            content: self.text.as_ref().map(|text| text.content.clone()),
            provenance,
            archived_at: run.archived_at,
            ..self.bare.clone()
        })
    }

    fn standing(&self) -> (ReviewStatus, Source) {
        (self.bare.state.status(), self.bare.source)
    }

    fn placeholder(&self) -> Option<&str> {
        self.text.as_ref()?.content.placeholder()
    }

    fn written_by(&self) -> Option<UserId> {
        self.text.as_ref().and_then(|text| text.written_by)
    }

    fn key(&self) -> MessageKey {
        MessageKey {
            run_number: self.bare.run_number,
            segment_no: self.bare.segment_no,
        }
    }

    /// Generated content takes the place of what the message had.
    fn write(&mut self, id: ContentId, content: Content) {
        self.text = Some(Arc::new(Text {
            id,
            content,
            made_in: self.bare.run_number,
            written_by: None,
        }));
        self.approvals = Vec::new();
        self.bare.source = Source::Generated;
        self.bare.reused_from = None;
    }

    /// `text` is the content of the patch's origin, if it has one.
    fn follow(
        &mut self,
        moved: &Move,
        patch: &Patch,
        text: Option<&Arc<Text>>,
        now: Timestamp,
    ) -> Shift {
        let from = self.standing();
        self.bare.state = moved.to;
        self.bare.updated_at = now;
        self.bare
            .rejection_reason
            .clone_from(&patch.rejection_reason);
        self.bare.error = None;
        if let Some(origin) = patch.origin {
            self.text = text.cloned();
            self.approvals = Vec::new();
            self.bare.source = origin.source;
            self.bare.reused_from = origin.reused_from;
        }
        self.approvals.extend(moved.approval.clone());
        if patch.queued {
            self.waiting = Some(Waiting::at_once(now));
        }
        Shift {
            from,
            to: self.standing(),
            messages: 1,
        }
    }
}

impl Waiting {
    fn at_once(now: Timestamp) -> Self {
        Self {
            due_at: now,
            set_at: None,
            failed_attempts: 0,
            put_off: Duration::ZERO,
            lease: None,
        }
    }

    /// When its times were set.
    fn set_at(&self) -> Timestamp {
        self.set_at.unwrap_or(self.due_at)
    }

    /// After the clock was set back: what was to wait waits for as long from now on.
    fn move_times(&mut self, now: Timestamp) {
        let set_at = self.set_at();
        if set_at > now + CLOCK_TOLERANCE {
            self.due_at = now + (self.due_at - set_at);
            if let Some((_, until)) = &mut self.lease {
                *until = now + (*until - set_at);
            }
            self.set_at = Some(now);
        }
    }

    fn held_by(&self, lease: LeaseId, now: Timestamp) -> bool {
        self.lease
            .is_some_and(|(holder, until)| holder == lease && until >= now)
    }

    fn again(&mut self, at: Timestamp, now: Timestamp) {
        self.due_at = at;
        self.set_at = Some(now);
        self.lease = None;
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.due_at <= now && self.lease.is_none_or(|(_, until)| until < now)
    }

    /// A message is due anew from the end of a lease that was not kept.
    fn due_since(&self) -> Timestamp {
        self.lease.map_or(self.due_at, |(_, until)| until)
    }
}

impl Ledger {
    fn new(campaign: Campaign) -> Self {
        Self {
            campaign,
            runs: BTreeMap::new(),
            group_versions: BTreeMap::new(),
            segment_numbers: BTreeMap::new(),
            last_segment: 0,
            displaced: BTreeMap::new(),
            rules: BTreeMap::new(),
            rows: BTreeMap::new(),
        }
    }

    fn waiting(&mut self) -> impl Iterator<Item = &mut Waiting> {
        self.rows
            .values_mut()
            .filter_map(|row| row.waiting.as_mut())
    }

    fn current_run(&self) -> Option<Run> {
        self.campaign
            .current_run
            .and_then(|number| self.runs.get(&number))
            .cloned()
    }

    fn run_of(&self, row: &Row) -> Result<&Run, StoreError> {
        let number = row.bare.run_number;
        let missing = || StoreError::corrupt(format!("messages: run {number} is missing"));
        self.runs.get(&number).ok_or_else(missing)
    }

    fn segment_no(&mut self, key: SegmentKey) -> i32 {
        let last = &mut self.last_segment;
        let number = self.segment_numbers.entry(key).or_insert_with(|| {
            *last += 1;
            *last
        });
        *number
    }

    /// The newest message for each segment that may be reused.
    fn reusable(
        &self,
        current: RunNumber,
        from: ReuseFrom,
    ) -> BTreeMap<SegmentKey, ReuseCandidate> {
        let mut newest: BTreeMap<SegmentKey, ReuseCandidate> = BTreeMap::new();
        let statuses = from.statuses();
        let approved = self.rows.values().filter(|row| {
            statuses.contains(&row.bare.state.status())
                && row.placeholder().is_none()
                && !self.displaced.contains_key(&row.bare.segment_no)
        });
        let in_scope = approved.filter(|row| match from {
            ReuseFrom::CurrentRun => row.bare.run_number == current,
            ReuseFrom::AnyRun | ReuseFrom::AnyApproved => true,
        });
        for row in in_scope {
            let candidate = ReuseCandidate {
                message_id: row.bare.id,
                run_number: row.bare.run_number,
                status: row.bare.state.status(),
            };
            let place = newest.entry(row.bare.segment.key).or_insert(candidate);
            if place.run_number < candidate.run_number {
                *place = candidate;
            }
        }
        newest
    }

    fn known_segments(&self) -> Vec<KnownSegment> {
        let mut known: BTreeMap<i32, KnownSegment> = BTreeMap::new();
        for row in self.rows.values() {
            let no = row.bare.segment_no;
            let segment = known.entry(no).or_insert_with(|| KnownSegment {
                no,
                key: row.bare.segment.key,
                attributes: row.bare.segment.attributes.clone(),
                displaced: self.displaced.get(&no).copied(),
                message: None,
            });
            let status = row.bare.state.status();
            let approved = ReuseFrom::AnyApproved.statuses().contains(&status);
            let text = row.text.as_ref().filter(|_| approved);
            if let Some(text) = text.filter(|_| row.placeholder().is_none()) {
                let message = ApprovedMessage {
                    id: row.bare.id,
                    run_number: row.bare.run_number,
                    content_id: text.id,
                    customer_count: row.bare.segment.customer_count,
                    published: status == ReviewStatus::Published,
                };
                let rank = |message: &ApprovedMessage| (message.published, message.run_number);
                if segment.message.as_ref().map(rank) < Some(rank(&message)) {
                    segment.message = Some(message);
                }
            }
        }
        known.into_values().collect()
    }

    fn rekey(&mut self, segments: &[Rekeyed]) {
        for rekeyed in segments {
            self.segment_numbers.retain(|_, no| *no != rekeyed.no);
        }
        for rekeyed in segments {
            match rekeyed.displaced {
                None => {
                    self.displaced.remove(&rekeyed.no);
                    self.segment_numbers.insert(rekeyed.key, rekeyed.no);
                }
                Some(displaced) => {
                    self.displaced.insert(rekeyed.no, displaced);
                }
            }
            for row in self.rows.values_mut() {
                if row.bare.segment_no == rekeyed.no {
                    row.bare.segment.key = rekeyed.key;
                }
            }
        }
    }

    /// The row of a planned segment's message.
    fn planned(
        &mut self,
        id: MessageId,
        item: &PlannedSegment,
        segment: Segment,
        start: &StartRun,
    ) -> Result<Row, StoreError> {
        let reused = match item.reuses {
            None => None,
            Some(from) => Some(
                self.rows
                    .get(&from.message_id)
                    .ok_or(StoreError::Conflict)?,
            ),
        };
        let text = reused.and_then(|row| row.text.clone());
        let approvals = reused.map(|row| row.approvals.clone()).unwrap_or_default();
        let waiting = item.reuses.is_none().then(|| Waiting::at_once(start.now));
        let (state, source) = match item.reuses {
            Some(_) => (MessageState::Approved, Source::Reused),
            None => (MessageState::Generating, Source::Generated),
        };
        // A segment that the campaign has is shown as it was.
        let no = self.segment_no(item.key);
        let known = self.rows.values().find(|row| row.bare.segment_no == no);
        let attributes = known.map(|row| row.bare.segment.attributes.clone());
        Ok(Row {
            bare: Message {
                id,
                run_number: start.run.number,
                segment_no: no,
                segment: Segment {
                    customer_count: item.customer_count,
                    attributes: attributes.unwrap_or(segment.attributes),
                    ..segment
                },
                content_id: None,
                content: None,
                state,
                source,
                reused_from: item.reuses,
                provenance: None,
                archived_at: None,
                rejection_reason: None,
                error: None,
                suggestion: start.suggestions.get(&item.key).cloned(),
                created_at: start.now,
                updated_at: start.now,
            },
            text,
            approvals,
            waiting,
        })
    }

    /// The row of a message that was published elsewhere.
    fn imported(&mut self, imported: ImportedMessage, run: &Run) -> Row {
        let ImportedMessage {
            id,
            segment,
            content,
        } = imported;
        let mut row = Row {
            bare: Message {
                id,
                run_number: run.number,
                segment_no: self.segment_no(segment.key),
                segment,
                content_id: None,
                content: None,
                state: MessageState::Published,
                source: Source::Generated,
                reused_from: None,
                provenance: None,
                archived_at: None,
                rejection_reason: None,
                error: None,
                suggestion: None,
                created_at: run.started_at,
                updated_at: run.started_at,
            },
            text: None,
            approvals: Vec::new(),
            waiting: None,
        };
        row.write(ContentId::new(id.as_uuid()), content);
        row
    }

    fn become_current(&mut self, standing: Standing, now: Timestamp) {
        self.campaign.status = standing.status;
        self.campaign.current_run = standing.current_run;
        self.campaign.last_run = standing.last_run;
        self.campaign.version += 1;
        self.campaign.updated_at = now;
    }

    /// The content that a patch gives to messages of the run.
    fn origin(&self, patch: &Patch, run: RunNumber) -> Result<Option<Arc<Text>>, StoreError> {
        let Some(origin) = patch.origin else {
            return Ok(None);
        };
        let mut known = self.rows.values().filter_map(|row| row.text.as_ref());
        let known = known.find(|text| text.id == origin.content_id).cloned();
        match (known, &patch.new_content) {
            (Some(text), None) => Ok(Some(text)),
            (None, Some(new)) => Ok(Some(Arc::new(Text {
                id: new.id,
                content: new.content.clone(),
                made_in: run,
                written_by: origin.edited_by,
            }))),
            (None, None) => Err(StoreError::Conflict),
            (Some(_), Some(_)) => Err(exists_already("the content")),
        }
    }

    /// Writes what a change has come to; the audit entry is left for the account.
    fn settle_down(&mut self, applied: &Applied, now: Timestamp) {
        self.runs.insert(applied.run.number, applied.run.clone());
        self.campaign.status = applied.campaign_status;
        self.campaign.updated_at = now;
    }

    /// Takes one result of a worker; `None` when the lease does not hold the message any more.
    fn generated(
        &mut self,
        result: &rerun_core::generation::TaskResult,
        settle: &SettleRun,
        settled: &mut Settled,
    ) -> Result<Option<Shift>, StoreError> {
        let stages = self.campaign.approval_stages.clone();
        let held = self
            .rows
            .get_mut(&result.message_id)
            .filter(|row| row.bare.run_number == settle.run_number)
            .filter(|row| {
                row.waiting
                    .as_ref()
                    .is_some_and(|w| w.held_by(settle.lease, settle.now))
            });
        let Some(row) = held else { return Ok(None) };
        if let (Some(usage), Some(run)) = (&result.usage, self.runs.get_mut(&settle.run_number)) {
            run.usage = run.usage.with(usage);
        }
        let from = row.standing();
        let command = match &result.outcome {
            TaskOutcome::RetryAt { at, .. } => {
                if let Some(waiting) = &mut row.waiting {
                    waiting.failed_attempts += 1;
                    waiting.again(*at, settle.now);
                }
                settled.retried += 1;
                return Ok(None);
            }
            TaskOutcome::PutOff { at, wait, .. } => {
                if let Some(waiting) = &mut row.waiting {
                    waiting.put_off += *wait;
                    waiting.again(*at, settle.now);
                }
                settled.put_off += 1;
                return Ok(None);
            }
            TaskOutcome::Generated(content) => {
                row.write(result.content_id, content.clone());
                settled.generated += 1;
                MessageCommand::Generated
            }
            TaskOutcome::Failed { error } => {
                row.bare.error = Some(error.clone());
                settled.failed += 1;
                MessageCommand::GenerationFailed
            }
        };
        row.waiting = None;
        row.bare.state = row
            .bare
            .state
            .apply(command, &stages)
            .map_err(|refusal| StoreError::corrupt(format!("queue: {refusal}")))?;
        row.bare.updated_at = settle.now;
        Ok(Some(Shift {
            from,
            to: row.standing(),
            messages: 1,
        }))
    }

    /// The error of the message of a run that was given up last.
    fn last_error(&self, run: RunNumber) -> Option<String> {
        self.rows
            .values()
            .filter(|row| row.bare.run_number == run && row.bare.error.is_some())
            .max_by_key(|row| row.bare.updated_at)
            .and_then(|row| row.bare.error.clone())
    }
}

fn exists_already(what: &str) -> StoreError {
    StoreError::Backend(format!("{what} exists already").into())
}

/// The rows that follow `request.after`; `rows` are in the list's order, and `follows` says
/// whether one comes after a key.
fn page<T: Contents, K: Copy>(
    rows: impl IntoIterator<Item = T>,
    request: &PageRequest<K>,
    key: impl Fn(&T) -> K,
    follows: impl Fn(&K, &K) -> bool,
) -> Page<T, K> {
    let rest: Vec<T> = rows
        .into_iter()
        .filter(|row| request.after.is_none_or(|after| follows(&key(row), &after)))
        .collect();
    Page::from_surplus(rest, request.limit, key)
}

fn newest_first<T: Contents>(
    mut rows: Vec<T>,
    request: &PageRequest<CreatedKey>,
    key: impl Fn(&T) -> CreatedKey,
) -> Page<T, CreatedKey> {
    let order = |key: &CreatedKey| (key.created_at, key.id);
    rows.sort_by_key(|row| std::cmp::Reverse(order(&key(row))));
    page(rows, request, key, |one, other| order(one) < order(other))
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is replaced as a whole, so that a panic elsewhere cannot have left it halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, account: AccountId, f: impl FnOnce(&Account) -> T) -> T {
        match self.lock().get(&account) {
            Some(account) => f(account),
            None => f(&Account::default()),
        }
    }

    fn write<T, E>(&self, f: impl FnOnce(&mut State) -> Result<T, E>) -> Result<T, E> {
        let mut state = self.lock();
        let mut next = state.clone();
        let answer = f(&mut next)?;
        *state = next;
        Ok(answer)
    }

    fn write_account<T, E>(
        &self,
        account: AccountId,
        f: impl FnOnce(&mut Account) -> Result<T, E>,
    ) -> Result<T, E> {
        self.write(|state| f(state.entry(account).or_default()))
    }
}

#[async_trait]
impl CustomerGroupStore for MemoryStore {
    async fn create_group(
        &self,
        group: &CustomerGroup,
        audit: AuditDraft,
        response: Option<IdempotentResponse>,
    ) -> Result<(), StoreError> {
        self.write_account(group.account_id, |account| {
            let fresh = Group {
                about: group.clone(),
                version: 1,
                customers: BTreeMap::new(),
            };
            if account.groups.insert(group.id, fresh).is_some() {
                return Err(exists_already("the customer group"));
            }
            account.keep(response, group.created_at)?;
            account.record(audit);
            Ok(())
        })
    }

    async fn rename_group(&self, rename: RenameGroup) -> Result<(), StoreError> {
        self.write_account(rename.account_id, |account| {
            let group = account.groups.get_mut(&rename.group_id);
            let group = group
                .filter(|group| group.about.name == rename.from)
                .ok_or(StoreError::Conflict)?;
            group.about.name = rename.to;
            account.keep(rename.response, rename.at)?;
            if let Some(audit) = rename.audit {
                account.record(audit);
            }
            Ok(())
        })
    }

    async fn find_group(
        &self,
        account: AccountId,
        id: CustomerGroupId,
    ) -> Result<Option<CustomerGroup>, StoreError> {
        Ok(self.read(account, |account| {
            account.groups.get(&id).map(|g| g.about.clone())
        }))
    }

    async fn list_groups(
        &self,
        account: AccountId,
        request: PageRequest<CreatedKey>,
    ) -> Result<Page<CustomerGroup, CreatedKey>, StoreError> {
        let groups = self.read(account, |account| {
            account.groups.values().map(|g| g.about.clone()).collect()
        });
        Ok(newest_first(groups, &request, |group| CreatedKey {
            created_at: group.created_at,
            id: group.id.as_uuid(),
        }))
    }

    async fn import_customers(
        &self,
        account: AccountId,
        id: CustomerGroupId,
        file: CustomerFile,
        audit: ImportAudit,
        key: Option<IdempotencyKey>,
    ) -> Result<Imported, ImportFailure> {
        if self.find_group(account, id).await?.is_none() {
            return Err(ImportFailure::GroupNotFound);
        }
        // The rows are pulled before the lock is taken, so that a slow file stops nobody.
        let CustomerFile { fields, mode, rows } = file;
        let rows = rows.collect::<Result<Vec<CustomerRow>, Invalid>>()?;
        let count = |items: usize| u64::try_from(items).map_err(|e| StoreError::Backend(e.into()));
        let read = count(rows.len())?;
        self.write_account(account, |account| {
            let group = account
                .groups
                .get_mut(&id)
                .ok_or(ImportFailure::GroupNotFound)?;
            let before = group.customers.clone();
            let refs: BTreeSet<String> = rows.iter().map(|row| row.customer_ref.clone()).collect();
            if mode == ImportMode::Replace {
                group.customers.clear();
            }
            for row in rows {
                group.take(&fields, row);
            }
            let gone = before
                .keys()
                .filter(|known| !group.customers.contains_key(*known));
            let mut done = Imported {
                rows: read,
                imported: 0,
                updated: 0,
                removed: count(gone.count())?,
                duplicates: read - count(refs.len())?,
                total: 0,
            };
            for (reference, customer) in &group.customers {
                done.total += 1;
                match before.get(reference) {
                    None => done.imported += 1,
                    Some(same) if same == customer => {}
                    Some(_) => done.updated += 1,
                }
            }
            let response = key.map(|key| key.answered(&done)).transpose()?;
            let now = audit.at();
            let fields = mode.fields_after(&group.about.fields, &fields);
            if done.changed() || fields != group.about.fields {
                group.version += 1;
                group.about.fields = fields;
                group.about.customer_count =
                    i64::try_from(done.total).map_err(|e| StoreError::Backend(e.into()))?;
                group.about.updated_at = now;
                account.record(audit.completed(done));
            }
            account.keep(response, now)?;
            Ok(done)
        })
    }

    async fn delete_group(&self, delete: DeleteGroup) -> Result<GroupDeletion, StoreError> {
        self.write_account(delete.author.actor.account_id, |account| {
            let id = delete.group_id;
            let in_use = account.campaigns.values().any(|ledger| {
                match ledger
                    .campaign
                    .current_run
                    .and_then(|n| ledger.runs.get(&n))
                {
                    Some(run) => run.group.id == id,
                    None => ledger.campaign.customer_group_id == id,
                }
            });
            if in_use {
                return Ok(GroupDeletion::InUse);
            }
            let Some(group) = account.groups.remove(&id) else {
                return Ok(GroupDeletion::NotFound);
            };
            let customers = counted(group.customers.len())?;
            let response = delete.key.as_ref().map(|key| key.answered(&customers));
            account.keep(response.transpose()?, delete.author.at)?;
            account.record(delete.audit(group.about.name, customers));
            Ok(GroupDeletion::Deleted(customers))
        })
    }

    async fn list_customers(
        &self,
        list: ListCustomers,
    ) -> Result<Page<Customer, CustomerKey>, StoreError> {
        Ok(self.read(list.account_id, |account| {
            let group = account.groups.get(&list.group_id);
            let customers = group.into_iter().flat_map(|group| &group.customers);
            let after = list.page.after.map(|CustomerKey(after)| after);
            let after = after.unwrap_or_default();
            let wanted = |name: &&String| {
                **name > after
                    && list
                        .customer_refs
                        .as_ref()
                        .is_none_or(|refs| refs.contains(name))
            };
            let customers = customers
                .filter(|(name, _)| wanted(name))
                .map(|(name, profile)| Customer {
                    customer_ref: name.clone(),
                    profile: profile.clone(),
                });
            Page::from_surplus(customers, list.page.limit, |customer| {
                CustomerKey(customer.customer_ref.clone())
            })
        }))
    }

    async fn delete_customers(
        &self,
        delete: DeleteCustomers,
    ) -> Result<Option<DeletedCustomers>, StoreError> {
        self.write_account(delete.author.actor.account_id, |account| {
            let Some(group) = account.groups.get_mut(&delete.group_id) else {
                return Ok(None);
            };
            let before = group.customers.len();
            let refs = &delete.customer_refs;
            group.customers.retain(|name, _| !refs.contains(name));
            let done = DeletedCustomers {
                deleted_customers: counted(before - group.customers.len())?,
                total: counted(group.customers.len())?,
            };
            let now = delete.author.at;
            let response = delete.key.as_ref().map(|key| key.answered(&done));
            if done.deleted_customers > 0 {
                group.changed(now)?;
                account.record(delete.audit(done));
            }
            account.keep(response.transpose()?, now)?;
            Ok(Some(done))
        })
    }

    async fn erase_customer(&self, erase: EraseCustomer) -> Result<u64, StoreError> {
        self.write_account(erase.author.actor.account_id, |account| {
            let now = erase.author.at;
            let mut groups = 0;
            for group in account.groups.values_mut() {
                if group.customers.remove(&erase.customer_ref).is_some() {
                    group.changed(now)?;
                    groups += 1;
                }
            }
            if groups > 0 {
                let response = erase.key.as_ref().map(|key| key.answered(&groups));
                account.keep(response.transpose()?, now)?;
                account.record(erase.audit(groups));
            }
            Ok(groups)
        })
    }
}

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
            ledger.campaign.name = to.name;
            ledger.campaign.template = to.template;
            ledger.campaign.brief = to.brief;
            ledger.campaign.approval_stages = to.approval_stages;
            ledger.campaign.distinct_reviewers = to.distinct_reviewers;
            ledger.campaign.version += 1;
            ledger.campaign.updated_at = now;
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
            let now = to.updated_at;
            for number in ledger.runs.keys() {
                let rules = ledger.rules.entry(*number);
                rules.or_insert_with(|| campaign.segment_by.clone());
            }
            ledger.campaign.segment_by = to.segment_by;
            ledger.campaign.version += 1;
            ledger.campaign.updated_at = now;
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
        mut run: Run,
        messages: ImportedMessages,
        audit: AuditDraft,
    ) -> Result<Run, ImportFailure> {
        let messages = messages.collect::<Result<Vec<ImportedMessage>, Invalid>>()?;
        if messages.is_empty() {
            return Err(Invalid::new("the campaign has no messages").into());
        }
        let total = u32::try_from(messages.len()).map_err(|e| StoreError::Backend(e.into()))?;
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

#[async_trait]
impl HistoryStore for MemoryStore {
    async fn history(
        &self,
        account: AccountId,
        campaign: CampaignId,
        request: PageRequest<RunNumber>,
    ) -> Result<Option<History>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign)?;
            let runs = ledger.runs.values().rev().cloned();
            Some(History {
                status: ledger.campaign.status,
                current_run: ledger.campaign.current_run,
                runs: page(runs, &request, |run| run.number, |one, other| one < other),
            })
        }))
    }

    async fn messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
        selection: MessageSelection,
        request: PageRequest<MessageKey>,
    ) -> Result<Option<MessageList>, StoreError> {
        let every = MessageFilter::default();
        self.filtered_messages(account, campaign, selection, every, request)
            .await
    }

    async fn filtered_messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
        selection: MessageSelection,
        filter: MessageFilter,
        request: PageRequest<MessageKey>,
    ) -> Result<Option<MessageList>, StoreError> {
        let order = |key: &MessageKey| (std::cmp::Reverse(key.run_number), key.segment_no);
        self.read(account, |account| {
            let Some(ledger) = account.campaigns.get(&campaign) else {
                return Ok(None);
            };
            let run_exists = match selection {
                MessageSelection::Run(number) => ledger.runs.contains_key(&number),
                MessageSelection::CurrentRun | MessageSelection::EveryRun => true,
            };
            let mut rows: Vec<&Row> = ledger
                .rows
                .values()
                .filter(|row| match selection {
                    MessageSelection::CurrentRun => {
                        ledger.campaign.current_run == Some(row.bare.run_number)
                    }
                    MessageSelection::Run(number) => row.bare.run_number == number,
                    MessageSelection::EveryRun => true,
                })
                .collect();
            rows.sort_by_key(|row| order(&row.key()));
            let messages = rows
                .into_iter()
                .map(|row| row.message(ledger.run_of(row)?))
                .collect::<Result<Vec<_>, StoreError>>()?;
            let mut taken = Vec::new();
            for message in messages {
                let fits = filter.takes(&message);
                if fits.map_err(|error| StoreError::Backend(error.into()))? {
                    taken.push(message);
                }
            }
            let messages = page(
                taken,
                &request,
                |message| MessageKey {
                    run_number: message.run_number,
                    segment_no: message.segment_no,
                },
                |one, other| order(one) > order(other),
            );
            let approval_stages = ledger.campaign.approval_stages.clone();
            Ok(Some(MessageList {
                current_run: ledger.campaign.current_run,
                approval_stages,
                run_exists,
                messages,
            }))
        })
    }

    async fn find_message(
        &self,
        account: AccountId,
        campaign: CampaignId,
        message: MessageId,
    ) -> Result<Option<Message>, StoreError> {
        self.read(account, |account| {
            let found = account
                .campaigns
                .get(&campaign)
                .and_then(|l| l.rows.get(&message).map(|r| (l, r)));
            found
                .map(|(ledger, row)| row.message(ledger.run_of(row)?))
                .transpose()
        })
    }

    async fn diff(
        &self,
        account: AccountId,
        campaign: CampaignId,
        from: RunNumber,
        to: RunNumber,
        request: PageRequest<i32>,
    ) -> Result<Option<Diff>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign)?;
            let of_run = |run: RunNumber| -> BTreeMap<i32, &Row> {
                let rows = ledger
                    .rows
                    .values()
                    .filter(move |row| row.bare.run_number == run);
                rows.map(|row| (row.bare.segment_no, row)).collect()
            };
            let (earlier, later) = (of_run(from), of_run(to));
            let mut numbers: Vec<i32> = earlier.keys().chain(later.keys()).copied().collect();
            numbers.sort_unstable();
            numbers.dedup();
            let mut counts = DiffCounts::default();
            let items: Vec<DiffItem> = numbers
                .into_iter()
                .filter_map(|number| {
                    let (old, new) = (earlier.get(&number), later.get(&number));
                    let same = old.zip(new).is_some_and(|(old, new)| same_text(old, new));
                    let item = DiffItem::new(
                        number,
                        new.or(old)?.bare.segment.clone(),
                        old.map(|row| row.bare.id),
                        new.map(|row| row.bare.id),
                        same,
                    );
                    counts = counts.with(item.change);
                    Some(item)
                })
                .collect();
            Some(Diff {
                runs_exist: ledger.runs.contains_key(&from) && ledger.runs.contains_key(&to),
                counts,
                items: page(
                    items,
                    &request,
                    |item| item.segment_no,
                    |one, other| one > other,
                ),
            })
        }))
    }
}

fn same_text(one: &Row, other: &Row) -> bool {
    match (&one.text, &other.text) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[async_trait]
impl RecipientStore for MemoryStore {
    async fn run_audience(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Option<RunAudience>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign)?;
            let run = ledger.runs.get(&run)?;
            let started_with = ledger.group_versions.get(&run.number);
            let group = account.groups.get(&run.group.id);
            Some(RunAudience {
                group_id: run.group.id,
                group_version: group.map(|group| group.version),
                changed: group.is_none_or(|group| Some(&group.version) != started_with),
                segment_by: ledger.rules.get(&run.number).cloned(),
            })
        }))
    }

    async fn run_messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Vec<RunMessage>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign);
            let rows = ledger.into_iter().flat_map(|ledger| ledger.rows.values());
            rows.filter(|row| row.bare.run_number == run)
                .map(|row| RunMessage {
                    key: row.bare.segment.key,
                    attributes: row.bare.segment.attributes.clone(),
                    id: row.bare.id,
                })
                .collect()
        }))
    }

    async fn customers(&self, query: CustomerQuery) -> Result<Customers, StoreError> {
        Ok(self.read(query.account_id, |account| {
            let Some(group) = account.groups.get(&query.group_id) else {
                return Customers {
                    group_version: None,
                    customers: Vec::new(),
                    next: None,
                };
            };
            let excluded = query.excluded.and_then(|id| account.groups.get(&id));
            let names = query.segment_by.sorted();
            let after = query.after.unwrap_or_default();
            let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
            let seen: Vec<_> = group
                .customers
                .iter()
                .filter(|(customer, _)| **customer > after)
                .take(limit)
                .collect();
            let next = seen.last().map(|(customer, _)| (*customer).clone());
            let next = next.filter(|_| seen.len() == limit);
            let left = seen.into_iter().filter(|(customer, _)| {
                excluded.is_none_or(|group| !group.customers.contains_key(*customer))
            });
            let value = |profile: &BTreeMap<String, String>, name: &&str| {
                let value = profile.get(*name)?;
                Some(FieldValues::counted(value).to_owned())
            };
            let customers = left.map(|(customer, profile)| CustomerValues {
                customer_ref: customer.clone(),
                values: names.iter().map(|name| value(profile, name)).collect(),
            });
            Customers {
                group_version: Some(group.version),
                customers: customers.collect(),
                next,
            }
        }))
    }

    async fn message_contents(
        &self,
        account: AccountId,
        campaign: CampaignId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<(MessageId, Option<Content>)>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign);
            let row = |id: MessageId| Some((id, ledger?.rows.get(&id)?));
            let rows = ids.into_iter().filter_map(row);
            rows.map(|(id, row)| (id, row.text.as_ref().map(|text| text.content.clone())))
                .collect()
        }))
    }
}

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
                for (key, candidate) in ledger.reusable(current, from) {
                    if let Some(row) = ledger.rows.get(&candidate.message_id) {
                        survey.add_reusable(key, &row.bare.segment.attributes)?;
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
                for candidate in ledger.reusable(current, from).values() {
                    let row = ledger.rows.get(&candidate.message_id);
                    let Some((row, text)) = row.and_then(|row| Some((row, row.text.as_ref()?)))
                    else {
                        continue;
                    };
                    nearest.add_reusable(Reusable {
                        message_id: row.bare.id,
                        run_number: row.bare.run_number,
                        customer_count: row.bare.segment.customer_count,
                        attributes: &row.bare.segment.attributes,
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
            let ledger = account.unmoved(&start.campaign)?;
            for (item, id) in start.plan.items.iter().zip(&start.message_ids) {
                let segment = segments.remove(&item.key).ok_or(StoreError::Conflict)?;
                let row = ledger.planned(*id, item, segment, &start)?;
                ledger.rows.insert(*id, row);
            }
            let previous = ledger.campaign.current_run;
            if let Some(previous) = previous.and_then(|number| ledger.runs.get_mut(&number)) {
                previous.archived_at = Some(start.now);
            }
            let number = start.run.number;
            ledger.become_current(start.standing, start.now);
            ledger.runs.insert(number, start.run);
            ledger.group_versions.insert(number, start.group_version);
            account.record(start.audit);
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
            let cancelled = Run {
                counts: current.counts,
                ..cancel.run
            };
            for row in ledger.rows.values_mut() {
                if row.bare.run_number == cancelled.number {
                    row.waiting = None;
                }
            }
            let previous = cancelled.previous_run;
            if let Some(previous) = previous.and_then(|number| ledger.runs.get_mut(&number)) {
                previous.archived_at = None;
            }
            ledger.runs.insert(cancelled.number, cancelled);
            ledger.become_current(cancel.standing, cancel.now);
            account.keep(cancel.response, cancel.now)?;
            account.record(cancel.audit);
            Ok(())
        })
    }
}

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
                ledger.settle_down(&applied, change.now);
                ledger.campaign.version += 1;
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
            for Ledger {
                campaign,
                runs: own_runs,
                rows,
                ..
            } in account.campaigns.values_mut()
            {
                let brief = Arc::new(GenerationBrief {
                    template: campaign.template.clone(),
                    brief: campaign.brief.clone(),
                    segment_by: campaign.segment_by.clone(),
                });
                for row in rows.values_mut() {
                    let Some(waiting) = row.waiting.as_ref().filter(|w| w.is_due(now)) else {
                        continue;
                    };
                    let task = GenerationTask {
                        account_id: campaign.account_id,
                        campaign_id: campaign.id,
                        run_number: row.bare.run_number,
                        message_id: row.bare.id,
                        failed_attempts: waiting.failed_attempts,
                        put_off: waiting.put_off,
                        attributes: row.bare.segment.attributes.clone(),
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
                    run.status = rerun_core::run::RunStatus::Processing;
                }
                tasks.push(task);
            }
            Ok(tasks)
        })
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
                ledger.campaign.version += 1;
            }
            let ended = applied.ended(&ledger.campaign);
            ledger.settle_down(&applied, settle.now);
            if let Some(audit) = applied.audit {
                account.record(audit);
            }
            Ok(SettledRun { settled, ended })
        })
    }
}

fn waiting_rows(state: &mut State) -> impl Iterator<Item = &mut Waiting> {
    state
        .values_mut()
        .flat_map(|account| account.campaigns.values_mut())
        .flat_map(Ledger::waiting)
}

#[async_trait]
impl AuditStore for MemoryStore {
    async fn list_audit(
        &self,
        account: AccountId,
        filter: AuditFilter,
        request: PageRequest<AuditKey>,
    ) -> Result<Option<Page<AuditEntry, AuditKey>>, StoreError> {
        Ok(self.read(account, |account| {
            if filter
                .campaign_id
                .is_some_and(|id| !account.campaigns.contains_key(&id))
            {
                return None;
            }
            let entries = account
                .entries
                .iter()
                .rev()
                .filter(|e| filter.campaign_id.is_none() || e.campaign_id == filter.campaign_id)
                .filter(|e| {
                    filter
                        .action
                        .is_none_or(|action| e.action == action.as_str())
                })
                .cloned();
            Some(page(
                entries,
                &request,
                |e| AuditKey(e.seq),
                |one, other| one.0 < other.0,
            ))
        }))
    }

    async fn audit_chain(
        &self,
        account: AccountId,
        after: i64,
        limit: u16,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(account, |account| {
            let later = account.entries.iter().filter(|entry| entry.seq > after);
            filling(
                later
                    .take(usize::from(limit))
                    .cloned()
                    .map(Ok::<_, StoreError>),
            )
        })
    }

    async fn audit_head(&self, account: AccountId) -> Result<ChainHead, StoreError> {
        Ok(self.read(account, |account| account.head))
    }

    async fn audit_accounts(&self) -> Result<Vec<AccountId>, StoreError> {
        let state = self.lock();
        let with_chain = state
            .iter()
            .filter(|(_, account)| account.head != ChainHead::EMPTY);
        Ok(with_chain.map(|(id, _)| *id).collect())
    }

    async fn first_unlogged(&self, _account: AccountId) -> Result<Option<Unlogged>, StoreError> {
        // Nobody can change state without its entry, or take an entry away.
        Ok(None)
    }
}

#[async_trait]
impl EventLog for MemoryStore {
    async fn events(
        &self,
        account: AccountId,
        filter: &EventFilter,
        after: i64,
        limit: Limit,
    ) -> Result<Option<EventPage<AuditEntry>>, StoreError> {
        Ok(self.read(account, |account| {
            if filter
                .campaign_id
                .is_some_and(|id| !account.campaigns.contains_key(&id))
            {
                return None;
            }
            let wanted = |entry: &&AuditEntry| {
                let of_type = |types: &Vec<AuditAction>| {
                    types.iter().any(|action| entry.action == action.as_str())
                };
                (filter.campaign_id.is_none() || entry.campaign_id == filter.campaign_id)
                    && filter.types.as_ref().is_none_or(of_type)
            };
            let request = PageRequest {
                limit,
                after: Some(after),
            };
            let entries = account.entries.iter().filter(wanted).cloned();
            let page = page(entries, &request, |e| e.seq, |one, other| one > other);
            Some(EventPage::new(page, after, account.head.seq))
        }))
    }

    async fn event_heads(
        &self,
        accounts: &[AccountId],
    ) -> Result<Vec<(AccountId, i64)>, StoreError> {
        let state = self.lock();
        let heads = accounts.iter().filter_map(|account| {
            let head = state.get(account)?.head;
            (head != ChainHead::EMPTY).then_some((*account, head.seq))
        });
        Ok(heads.collect())
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

#[async_trait]
impl HealthCheck for MemoryStore {
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
