//! A store in memory: every port, simply. It is what the suite itself is tested on, and what to
//! read before writing a store of one's own. It is not fast, and it forgets.

mod audit;
mod campaigns;
mod changed_groups;
mod cursors;
mod deliveries;
mod generation;
mod groups;
mod history;
mod ledger;
mod reruns;
mod reviews;
mod schedules;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rerun_core::Timestamp;
use rerun_core::audit::{AuditDraft, AuditEntry, ChainHead};
use rerun_core::campaign::Campaign;
use rerun_core::counting::{Counted, Counting};
use rerun_core::delivery::{Attempt, DeliveryState};
use rerun_core::error::StoreError;
use rerun_core::group::{CustomerGroup, CustomerRow};
use rerun_core::ids::{
    AccountId, CampaignId, ContentId, CustomerGroupId, LeaseId, MessageId, RunNumber, ScheduleId,
    UserId, WebhookId,
};
use rerun_core::message::{Approval, Content, MessageParts};
use rerun_core::outlook::Due;
use rerun_core::page::{Contents, CreatedKey, Page, PageRequest};
use rerun_core::ports::{
    HealthCheck, IDEMPOTENCY_WINDOW, IdempotentResponse, KeptResponse, LeaseCursor,
};
use rerun_core::rekeying::Displaced;
use rerun_core::rules::AttributeTypes;
use rerun_core::run::Run;
use rerun_core::schedule::{Firing, FiringKey, Schedule};
use rerun_core::segment::{FieldValues, Segment, SegmentBy, SegmentKey};
use rerun_core::webhook::Webhook;

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
    schedules: BTreeMap<ScheduleId, Planned>,
    responses: BTreeMap<String, (KeptResponse, Timestamp)>,
    entries: Vec<AuditEntry>,
    head: ChainHead,
    webhooks: BTreeMap<WebhookId, Hook>,
    changed: BTreeMap<CustomerGroupId, Changed>,
    /// How far the log is published in each stream.
    cursors: BTreeMap<String, Cursor>,
}

/// A group that imports changed, until its campaigns were previewed.
#[derive(Debug, Clone)]
struct Changed {
    imports: i64,
    due: Due,
    attempts: u32,
    lease: Option<(LeaseId, Timestamp)>,
}

/// How far an account's events are published in a stream, and the lease of the process that publishes
/// them.
#[derive(Debug, Clone, Default)]
struct Cursor {
    sequence: i64,
    lease: Option<LeaseCursor>,
}

/// A webhook, how far it is in the log, and its deliveries by the numbers of their events.
#[derive(Debug, Clone)]
struct Hook {
    webhook: Webhook,
    cursor: i64,
    queue: BTreeMap<i64, Queued>,
}

/// An event on its way to a webhook.
#[derive(Debug, Clone)]
struct Queued {
    state: DeliveryState,
    replayed: bool,
    /// Attempts since it was queued.
    attempts: u32,
    /// When it is due, or its lease ends; `None` while its webhook is disabled and at the end.
    due_at: Option<Timestamp>,
    /// When that was set; `None` for what was due at once.
    set_at: Option<Timestamp>,
    lease: Option<LeaseId>,
    ended_at: Option<Timestamp>,
    log: Vec<Attempt>,
}

#[derive(Debug, Clone)]
struct Group {
    about: CustomerGroup,
    version: i64,
    customers: BTreeMap<String, BTreeMap<String, String>>,
}

/// A schedule with its firings.
#[derive(Debug, Clone)]
struct Planned {
    schedule: Schedule,
    firings: BTreeMap<FiringKey, Firing>,
    lease_until: Option<Timestamp>,
}

impl Planned {
    fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            firings: BTreeMap::new(),
            lease_until: None,
        }
    }
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
    /// What the values of segments are that other rules made, by their number.
    types: BTreeMap<i32, AttributeTypes>,
    /// The rules that runs were planned by, if the campaign has others now.
    rules: BTreeMap<RunNumber, SegmentBy>,
    rows: BTreeMap<MessageId, Row>,
    /// What the last suggestion of a rerun was about.
    suggested: Option<[u8; 32]>,
}

#[derive(Debug, Clone)]
struct Row {
    /// The message without `content_id`, `content`, `provenance` and `archived_at`, which [`Row::message`]
    /// derives.
    bare: MessageParts,
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
    model: Option<String>,
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
            schedules: BTreeMap::new(),
            responses: BTreeMap::new(),
            entries: Vec::new(),
            head: ChainHead::EMPTY,
            webhooks: BTreeMap::new(),
            changed: BTreeMap::new(),
            cursors: BTreeMap::new(),
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
impl HealthCheck for MemoryStore {
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
