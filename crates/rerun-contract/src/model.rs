//! Random sequences of commands, and what must be true after each.
//!
//! The driver knows what it imported and requested. Before each command it computes, from the rows
//! that it read, whether the command is allowed and what the result must be. After each command it
//! reads everything again: a refused command has changed nothing, a successful one has written one
//! audit entry, archived messages are unchanged, and every invariant of [`crate::invariants`] holds.

mod commands;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::test_runner::{Config, TestRunner};
use rerun_core::Timestamp;
use rerun_core::campaign::CampaignStatus;
use rerun_core::diff::{DiffChange, DiffCounts};
use rerun_core::error::{Error, Invalid};
use rerun_core::generation::{GenerationError, GenerationPolicy, GenerationTask, Settled};
use rerun_core::group::{CustomerFile, CustomerGroup, ImportMode};
use rerun_core::ids::{CampaignId, CustomerGroupId, LeaseId, MessageId, RunNumber};
use rerun_core::message::{Content, Message, MessageState, ReusedFrom, ReviewStatus, Source};
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::Store;
use rerun_core::run::RunStatus;
use rerun_core::segment::{SegmentBy, SegmentKey};
use rerun_core::usecases::{
    Decision, Engine, LaunchRequest, LeasedTasks, NewCampaign, PageQuery, RerunRequest,
    ReviewedMessages, Settings,
};

use commands::{COUNTRIES, FIELDS, TIERS};
pub use commands::{Command, sequence};

use crate::fixture::{
    ACCOUNT, Fixture, OTHER_ACCOUNT, caller, customer_file, generated, messages_from_elsewhere,
    new_campaign, run_number, stranger,
};
use crate::invariants;
use crate::snapshot::{CampaignSnapshot, Snapshot};

/// Runs as many random sequences as the environment's `RERUN_TEST_SEQUENCES` says, or `default`,
/// each on a fresh fixture, and panics with the shortest sequence that it finds to fail.
pub fn run_sequences<S, F>(default: u32, fresh: impl Fn() -> F)
where
    S: Store + 'static,
    F: Future<Output = Fixture<S>>,
{
    let cases = match std::env::var("RERUN_TEST_SEQUENCES") {
        Ok(text) => text.parse().expect("RERUN_TEST_SEQUENCES is a number"),
        Err(_) => default,
    };
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime is built");
    let run_one = |commands: Vec<Command>| {
        runtime.block_on(async { run(&fresh().await, &commands).await });
        Ok(())
    };
    if let Err(failure) = TestRunner::new(config).run(&sequence(), run_one) {
        panic!("{failure}");
    }
}

/// Runs one sequence.
pub async fn run<S: Store + 'static>(f: &Fixture<S>, commands: &[Command]) {
    let policy = GenerationPolicy {
        max_attempts: MAX_ATTEMPTS,
        ..GenerationPolicy::default()
    };
    let engine = f.engine_with(Settings {
        generation: policy,
        ..Settings::default()
    });
    let before = f.snapshot(ACCOUNT).await;
    let mut model = Model {
        f,
        engine,
        groups: Vec::new(),
        campaigns: Vec::new(),
        kept: Vec::new(),
        queue: BTreeMap::new(),
        before,
    };
    let first = (0..6).map(|n| (n, n, n)).collect();
    let start = [
        Command::CreateGroup,
        Command::Import {
            group: 0,
            mode: ImportMode::Merge,
            rows: first,
            bad: false,
        },
        Command::CreateCampaign {
            group: 0,
            fields: 0,
            two_stages: false,
        },
    ];
    for command in start.iter().chain(commands) {
        f.clock.advance(Duration::from_millis(7));
        model.obey(command).await;
    }
    f.check().await;
    assert_eq!(
        f.entries(OTHER_ACCOUNT).await,
        [],
        "nothing has happened in another account"
    );
}

/// A customer's fields, as the driver imported them.
type Profile = BTreeMap<&'static str, &'static str>;
/// Segments: the values of each, with its customers.
type Segments = BTreeMap<BTreeMap<String, Option<String>>, i64>;

struct KnownGroup {
    id: CustomerGroupId,
    customers: BTreeMap<u8, Profile>,
}

struct KnownCampaign {
    id: CampaignId,
    group: usize,
    fields: &'static [&'static str],
    allow_missing_fields: bool,
}

struct Model<'a, S> {
    f: &'a Fixture<S>,
    engine: Engine,
    groups: Vec<KnownGroup>,
    campaigns: Vec<KnownCampaign>,
    kept: Vec<LeasedTasks>,
    queue: BTreeMap<MessageId, Place>,
    before: Snapshot,
}

/// A message's place in the queue, as the driver knows it.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    failed: u32,
    not_before: Option<Timestamp>,
    holder: Option<(LeaseId, Timestamp)>,
}

impl Place {
    fn is_due(&self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|due| due <= now)
            && self.holder.is_none_or(|(_, until)| until < now)
    }
}

/// How often a message is tried.
const MAX_ATTEMPTS: u32 = 2;

/// What a command has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// Nothing at all.
    Nothing,
    /// Something, and one audit entry.
    OneEntry,
    /// Something that has no audit entry of its own.
    NoEntry,
    /// Results, and one entry for each run that they end.
    Results,
}

/// What a command came to: allowed as foretold, or refused as foretold.
fn written<T: std::fmt::Debug>(what: &str, allowed: bool, answer: Result<T, Error>) -> Option<T> {
    match answer {
        Ok(done) => {
            assert!(
                allowed,
                "{what} should have been refused, but answered {done:?}"
            );
            Some(done)
        }
        Err(Error::Store(error)) => panic!("{what}: the store failed: {error:?}"),
        Err(refusal) => {
            assert!(!allowed, "{what} was refused: {refusal}");
            None
        }
    }
}

fn nth<T>(all: &[T], n: u8) -> Option<(usize, &T)> {
    let index = usize::from(n).checked_rem(all.len())?;
    Some((index, all.get(index)?))
}

fn picked(messages: &[Message], bits: u16) -> Vec<&Message> {
    let chosen = |(n, _): &(usize, &Message)| bits & (1 << (n % 16)) != 0;
    messages
        .iter()
        .enumerate()
        .filter(chosen)
        .map(|(_, message)| message)
        .collect()
}

fn ids_of(messages: &[&Message]) -> Vec<Option<MessageId>> {
    messages.iter().map(|message| Some(message.id)).collect()
}

/// The statuses from which a message is edited or generated again.
const REVIEWABLE: &[ReviewStatus] = &[
    ReviewStatus::GenerationFailed,
    ReviewStatus::PendingReview,
    ReviewStatus::Approved,
    ReviewStatus::Rejected,
];

fn can_move(seen: &CampaignSnapshot, message: &Message, from: &[ReviewStatus]) -> bool {
    Some(message.run_number) == seen.campaign.current_run && from.contains(&message.state.status())
}

/// What a change of messages wrote that answered this number, `None` when it was refused.
fn changed(what: &str, done: Option<u32>, expected: usize) -> Written {
    let Some(done) = done else {
        return Written::Nothing;
    };
    assert_eq!(usize::try_from(done), Ok(expected), "{what}: messages");
    if done == 0 {
        Written::Nothing
    } else {
        Written::OneEntry
    }
}

fn attempt(task: &GenerationTask, n: usize, failing: u8) -> Result<Content, GenerationError> {
    if failing & (1 << (n % 8)) == 0 {
        Ok(generated(task))
    } else {
        Err(GenerationError::new(format!(
            "attempt {} failed",
            task.failed_attempts + 1
        )))
    }
}

impl<S: Store + 'static> Model<'_, S> {
    fn segments(&self, group: usize, fields: &[&str]) -> Segments {
        let mut segments = Segments::new();
        for profile in self.groups[group].customers.values() {
            let value = |field: &&str| {
                (
                    (*field).to_owned(),
                    profile.get(field).map(|&value| value.to_owned()),
                )
            };
            *segments
                .entry(fields.iter().map(value).collect())
                .or_default() += 1;
        }
        segments
    }

    /// Whether the group has customers, and every field has a value unless it may be missing.
    fn has_fields(&self, group: usize, fields: &[&str], allow_missing_fields: bool) -> bool {
        let customers = &self.groups[group].customers;
        let has = |field: &&str| {
            customers
                .values()
                .any(|profile| profile.contains_key(field))
        };
        !customers.is_empty() && (allow_missing_fields || fields.iter().all(has))
    }

    fn campaign(&self, n: u8) -> Option<(&KnownCampaign, &CampaignSnapshot)> {
        let (_, known) = nth(&self.campaigns, n)?;
        Some((known, self.before.campaign(known.id)))
    }

    /// Does a command, and checks what it came to.
    async fn obey(&mut self, command: &Command) {
        let what = format!("{command:?}");
        let written = match command {
            Command::CreateGroup => self.create_group(&what).await,
            Command::Import {
                group,
                mode,
                rows,
                bad,
            } => self.import(&what, *group, *mode, rows, *bad).await,
            Command::CreateCampaign {
                group,
                fields,
                two_stages,
            } => {
                self.create_campaign(&what, *group, *fields, *two_stages)
                    .await
            }
            Command::ImportCampaign { group } => self.import_campaign(&what, *group).await,
            Command::Launch(n) => return self.launch(&what, *n).await,
            Command::Initiate {
                campaign,
                group,
                from,
            } => return self.initiate(&what, *campaign, *group, *from).await,
            Command::Preview { campaign, group } => self.preview(&what, *campaign, *group).await,
            Command::Generate { tasks, failing } => self.generate(*tasks, *failing).await,
            Command::Lease { tasks } => self.lease(*tasks).await,
            Command::SettleKept { lease, failing } => self.settle_kept(*lease, *failing).await,
            Command::ReleaseKept { lease } => self.release_kept(*lease).await,
            Command::Wait { seconds } => {
                self.f.seconds_later(u64::from(*seconds));
                Written::Nothing
            }
            Command::Review {
                campaign,
                messages,
                approve,
            } => self.review(&what, *campaign, *messages, *approve).await,
            Command::Edit { campaign, message } => self.edit(&what, *campaign, *message).await,
            Command::Regenerate { campaign, messages } => {
                self.regenerate(&what, *campaign, *messages).await
            }
            Command::Retry(n) => self.retry(&what, *n).await,
            Command::Publish(n) => self.publish(&what, *n).await,
            Command::Cancel(n) => self.cancel(&what, *n).await,
            Command::Archive { campaign, run } => self.archive(&what, *campaign, *run).await,
            Command::Diff { campaign, from, to } => self.diff(&what, *campaign, *from, *to).await,
            Command::Finish(n) => return self.finish(*n).await,
            Command::Trespass(n) => self.trespass(&what, *n).await,
        };
        self.compare(&what, written).await;
    }

    async fn create_group(&mut self, what: &str) -> Written {
        let made = self.engine.groups.create(&caller(), "Group", None).await;
        let id = written(what, true, made).unwrap().outcome.id;
        self.groups.push(KnownGroup {
            id,
            customers: BTreeMap::new(),
        });
        Written::OneEntry
    }

    async fn create_campaign(
        &mut self,
        what: &str,
        group: u8,
        fields: u8,
        two_stages: bool,
    ) -> Written {
        let Some((group, known)) = nth(&self.groups, group) else {
            return Written::Nothing;
        };
        let fields = FIELDS[usize::from(fields) % FIELDS.len()];
        let stages = two_stages.then(|| vec!["First".into(), "Second".into()]);
        // That missing fields are meant is said of every other campaign.
        let allow_missing_fields = two_stages;
        let new = NewCampaign {
            approval_stages: stages,
            allow_missing_fields,
            ..new_campaign(known.id, fields)
        };
        let empty = known.customers.is_empty();
        let allowed = empty || self.has_fields(group, fields, allow_missing_fields);
        let made = self.engine.campaigns.create(&caller(), new, None).await;
        let Some(made) = written(what, allowed, made) else {
            return Written::Nothing;
        };
        self.campaigns.push(KnownCampaign {
            id: made.outcome.id,
            group,
            fields,
            allow_missing_fields,
        });
        Written::OneEntry
    }

    async fn import_campaign(&mut self, what: &str, group: u8) -> Written {
        let Some((group, known)) = nth(&self.groups, group) else {
            return Written::Nothing;
        };
        let messages = messages_from_elsewhere(self.f, &[Some("DE"), None, Some("PT")]);
        let made = self.f.import_campaign(known.id, messages).await;
        let (campaign, _) = written(what, true, made).unwrap();
        self.campaigns.push(KnownCampaign {
            id: campaign.id,
            group,
            fields: FIELDS[0],
            allow_missing_fields: false,
        });
        Written::OneEntry
    }

    async fn import(
        &mut self,
        what: &str,
        group: u8,
        mode: ImportMode,
        rows: &[(u8, u8, u8)],
        bad: bool,
    ) -> Written {
        let Some((group, known)) = nth(&self.groups, group) else {
            return Written::Nothing;
        };
        let id = known.id;
        let before = &self.groups[group].customers;
        let mut after = match mode {
            ImportMode::Merge => before.clone(),
            ImportMode::Replace => BTreeMap::new(),
        };
        let mut table: Vec<[String; 3]> = Vec::new();
        for (customer, country, tier) in rows {
            let country = COUNTRIES[usize::from(*country) % COUNTRIES.len()];
            let tier = TIERS[usize::from(*tier) % TIERS.len()];
            let pairs = [("country", country), ("tier", tier)];
            let profile = pairs
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .collect();
            after.insert(*customer, profile);
            table.push([format!("C-{customer}"), country.to_owned(), tier.to_owned()]);
        }
        // The group keeps the names of the fields, also of a file without rows.
        let unnamed = |group: &CustomerGroup| group.id == id && group.fields.is_empty();
        let changed = *before != after || self.before.groups.iter().any(unnamed);
        let new = after
            .keys()
            .filter(|customer| !before.contains_key(customer))
            .count();
        let updated = after
            .iter()
            .filter(|(id, now)| before.get(id).is_some_and(|was| was != *now))
            .count();
        let table: Vec<[&str; 3]> = table
            .iter()
            .map(|[a, b, c]| [a.as_str(), b.as_str(), c.as_str()])
            .collect();
        let table: Vec<&[&str]> = table.iter().map(<[&str; 3]>::as_slice).collect();
        let file = customer_file(&["customer_ref", "country", "tier"], &table);
        let refusal = bad.then(|| Err(Invalid::new("it is bad")));
        let file = CustomerFile {
            rows: Box::new(file.rows.chain(refusal)),
            mode,
            ..file
        };
        let done = self.engine.groups.import(&caller(), id, file, None).await;
        let emptying = mode == ImportMode::Replace && table.is_empty();
        let Some(done) = written(what, !bad && !emptying, done) else {
            return Written::Nothing;
        };
        let done = done.outcome;
        let removed = before.keys().filter(|known| !after.contains_key(known));
        let refs: BTreeSet<&str> = table.iter().map(|row| row[0]).collect();
        let expected = [
            table.len(),
            new,
            updated,
            removed.count(),
            table.len() - refs.len(),
            after.len(),
        ];
        let told = [
            done.rows,
            done.imported,
            done.updated,
            done.removed,
            done.duplicates,
            done.total,
        ];
        assert_eq!(
            told.map(usize::try_from),
            expected.map(Ok),
            "{what}: rows, new, updated, removed, duplicates, total"
        );
        self.groups[group].customers = after;
        if changed {
            Written::OneEntry
        } else {
            Written::Nothing
        }
    }

    /// Every message that waits to be generated.
    fn waiting(&self) -> BTreeSet<MessageId> {
        let of = |seen: &CampaignSnapshot| -> Vec<MessageId> {
            let current = seen.campaign.current_run.into_iter();
            let messages = current.flat_map(|run| seen.of_run(run));
            let generating = messages.filter(|m| m.state == MessageState::Generating);
            generating.map(|message| message.id).collect()
        };
        self.before.campaigns.iter().flat_map(of).collect()
    }

    async fn take(&mut self, tasks: u8) -> LeasedTasks {
        let now = self.f.now();
        let mut due = self.waiting();
        due.retain(|id| self.queue.get(id).is_none_or(|place| place.is_due(now)));
        let leased = self
            .engine
            .generation
            .lease(u32::from(tasks))
            .await
            .unwrap();
        let expected = due.len().min(usize::from(tasks));
        assert_eq!(leased.tasks.len(), expected, "tasks of {tasks} asked for");
        for task in &leased.tasks {
            let id = task.message_id;
            assert!(due.remove(&id), "message {id} is not due");
            let place = self.queue.entry(id).or_default();
            assert_eq!(
                task.failed_attempts, place.failed,
                "failed attempts of message {id}"
            );
            place.holder = Some((leased.lease, now + self.engine.generation.policy().lease));
        }
        leased
    }

    async fn generate(&mut self, tasks: u8, failing: u8) -> Written {
        let leased = self.take(tasks).await;
        self.compare("a lease", Written::NoEntry).await;
        self.settle(&leased, failing).await;
        Written::Results
    }

    async fn lease(&mut self, tasks: u8) -> Written {
        let leased = self.take(tasks).await;
        self.kept.push(leased);
        Written::NoEntry
    }

    async fn settle_kept(&mut self, lease: u8, failing: u8) -> Written {
        let Some((_, leased)) = nth(&self.kept, lease) else {
            return Written::Nothing;
        };
        let leased = leased.clone();
        self.settle(&leased, failing).await;
        Written::Results
    }

    async fn release_kept(&mut self, lease: u8) -> Written {
        let Some((_, leased)) = nth(&self.kept, lease) else {
            return Written::Nothing;
        };
        let lease = leased.lease;
        self.engine.generation.release(lease).await.unwrap();
        for place in self.queue.values_mut() {
            if place.holder.is_some_and(|(holder, _)| holder == lease) {
                place.holder = None;
            }
        }
        Written::Nothing
    }

    /// Settles tasks, of which those count that the lease still holds.
    async fn settle(&mut self, leased: &LeasedTasks, failing: u8) {
        let (now, waiting) = (self.f.now(), self.waiting());
        let mut expected = Settled::default();
        let mut results = Vec::new();
        for (n, task) in leased.tasks.iter().enumerate() {
            let attempt = attempt(task, n, failing);
            let holder = self
                .queue
                .get(&task.message_id)
                .and_then(|place| place.holder);
            let alive = |(holder, until)| holder == leased.lease && until >= now;
            if waiting.contains(&task.message_id) && holder.is_some_and(alive) {
                let failed = task.failed_attempts + 1;
                self.queue.remove(&task.message_id);
                if attempt.is_ok() {
                    expected.generated += 1;
                } else if failed >= MAX_ATTEMPTS {
                    expected.failed += 1;
                } else {
                    expected.retried += 1;
                    // The fixture's backoff waits as many seconds as attempts have failed.
                    let not_before = Some(now + Duration::from_secs(u64::from(failed)));
                    let place = Place {
                        failed,
                        not_before,
                        holder: None,
                    };
                    self.queue.insert(task.message_id, place);
                }
            }
            results.push(self.engine.generation.result_of(task, attempt));
        }
        let settled = self
            .engine
            .generation
            .settle(leased.lease, results)
            .await
            .unwrap()
            .settled;
        assert_eq!(settled, expected, "what was stored of {:?}", leased.tasks);
    }

    async fn launch(&mut self, what: &str, n: u8) {
        let Some((known, seen)) = self.campaign(n) else {
            return;
        };
        let (id, fields) = (known.id, known.fields);
        let segments = self.segments(known.group, fields);
        let request = LaunchRequest {
            campaign: id,
            allow_missing_fields: known.allow_missing_fields,
        };
        let allowed = seen.campaign.status == CampaignStatus::Draft
            && self.has_fields(known.group, fields, known.allow_missing_fields);
        let number = RunNumber::after(seen.campaign.last_run).unwrap();
        let answer = self.engine.reruns.launch(&caller(), request, None).await;
        if written(what, allowed, answer).is_none() {
            return self.compare(what, Written::Nothing).await;
        }
        self.compare(what, Written::OneEntry).await;
        self.check_started(what, id, number, &segments, &BTreeMap::new());
    }

    async fn initiate(&mut self, what: &str, n: u8, group: u8, from: ReuseFrom) {
        let Some((known, seen)) = self.campaign(n) else {
            return;
        };
        let Some((group, new_group)) = nth(&self.groups, group) else {
            return;
        };
        let (id, fields) = (known.id, known.fields);
        let segments = self.segments(group, fields);
        let allow_missing_fields = known.allow_missing_fields;
        let allowed = seen.campaign.status == CampaignStatus::Published
            && self.has_fields(group, fields, allow_missing_fields);
        let number = RunNumber::after(seen.campaign.last_run).unwrap();
        let current = seen.campaign.current_run;
        let mut reusable: BTreeMap<SegmentKey, Message> = BTreeMap::new();
        let in_scope = |message: &&Message| match from {
            ReuseFrom::CurrentRun => Some(message.run_number) == current,
            ReuseFrom::AnyRun => message.state == MessageState::Published,
            ReuseFrom::AnyApproved => matches!(
                message.state,
                MessageState::Published | MessageState::Approved
            ),
        };
        for message in seen.messages.iter().filter(in_scope) {
            let newest = reusable
                .entry(message.segment.key)
                .or_insert_with(|| message.clone());
            if newest.run_number < message.run_number {
                *newest = message.clone();
            }
        }
        let request = RerunRequest {
            campaign: id,
            new_group: Some(new_group.id),
            reuse_from: from,
            allow_missing_fields,
        };
        let answer = self.engine.reruns.initiate(&caller(), request, None).await;
        if written(what, allowed, answer).is_none() {
            return self.compare(what, Written::Nothing).await;
        }
        self.compare(what, Written::OneEntry).await;
        self.check_started(what, id, number, &segments, &reusable);
    }

    /// A run that was just started has one message for each segment of its group, and what can
    /// be reused is.
    fn check_started(
        &self,
        what: &str,
        campaign: CampaignId,
        number: RunNumber,
        segments: &Segments,
        reusable: &BTreeMap<SegmentKey, Message>,
    ) {
        let now = self.before.campaign(campaign);
        assert_eq!(
            now.campaign.current_run,
            Some(number),
            "{what}: the current run"
        );
        let run = now.run(number);
        let mut found = Segments::new();
        let mut matched = 0;
        for message in now.of_run(number) {
            let attributes = message.segment.attributes.to_map().unwrap();
            found.insert(attributes, message.segment.customer_count);
            let origin = reusable.get(&message.segment.key);
            let reused_from = origin.map(|origin| ReusedFrom {
                message_id: origin.id,
                run_number: origin.run_number,
            });
            assert_eq!(
                message.reused_from, reused_from,
                "{what}: message {}",
                message.id
            );
            if let Some(origin) = origin {
                matched += 1;
                assert_eq!(
                    message.content, origin.content,
                    "{what}: message {}",
                    message.id
                );
                assert_eq!(
                    message.provenance, origin.provenance,
                    "{what}: {}",
                    message.id
                );
                assert_eq!(
                    (message.state, message.source),
                    (MessageState::Approved, Source::Reused)
                );
            } else {
                assert_eq!(
                    message.state,
                    MessageState::Generating,
                    "{what}: {}",
                    message.id
                );
                assert_eq!(message.source, Source::Generated, "{what}: {}", message.id);
            }
        }
        assert_eq!(
            found, *segments,
            "{what}: one message for each segment of the group"
        );
        assert_eq!(run.segments.matched, matched, "{what}: matched segments");
        assert_eq!(
            run.customer_count,
            segments.values().sum::<i64>(),
            "{what}: customers"
        );
    }

    async fn review(
        &self,
        what: &str,
        campaign: u8,
        messages: Option<u16>,
        approve: bool,
    ) -> Written {
        let Some((known, seen)) = self.campaign(campaign) else {
            return Written::Nothing;
        };
        let (decision, from): (_, &[ReviewStatus]) = if approve {
            (Decision::Approve, &[ReviewStatus::PendingReview])
        } else {
            let reject = Decision::Reject {
                reason: "no".into(),
            };
            (
                reject,
                &[ReviewStatus::PendingReview, ReviewStatus::Approved],
            )
        };
        let chosen: Vec<&Message> = match messages {
            None => {
                let pending = &[ReviewStatus::PendingReview];
                seen.messages
                    .iter()
                    .filter(|message| can_move(seen, message, pending))
                    .collect()
            }
            Some(bits) => picked(&seen.messages, bits),
        };
        let which = match messages {
            None => ReviewedMessages::AllPending,
            Some(_) => ReviewedMessages::Named(ids_of(&chosen)),
        };
        // Nothing waits in a published campaign; a decision about named messages is refused by each.
        let open = match messages {
            None => !matches!(
                seen.campaign.status,
                CampaignStatus::Draft | CampaignStatus::Published
            ),
            Some(_) => seen.campaign.status != CampaignStatus::Draft,
        };
        let allowed = open && chosen.iter().all(|message| can_move(seen, message, from));
        let answer = self
            .engine
            .reviews
            .review(&caller(), known.id, &decision, &which, None, None)
            .await;
        let done = written(what, allowed, answer).map(|done| done.outcome.messages);
        changed(what, done, chosen.len())
    }

    async fn edit(&self, what: &str, campaign: u8, message: u8) -> Written {
        let Some((known, seen)) = self.campaign(campaign) else {
            return Written::Nothing;
        };
        let Some((_, message)) = nth(&seen.messages, message) else {
            return Written::Nothing;
        };
        let allowed =
            seen.campaign.status != CampaignStatus::Draft && can_move(seen, message, REVIEWABLE);
        let content = Content {
            subject: "By hand".into(),
            body: format!("at {}", self.f.now()),
        };
        let reviews = &self.engine.reviews;
        let answer = reviews
            .edit(&caller(), known.id, Some(message.id), content.clone(), None)
            .await;
        let Some(answer) = written(what, allowed, answer) else {
            return Written::Nothing;
        };
        let (_, edited) = answer.outcome;
        assert_eq!(edited.content, Some(content), "{what}: the content");
        assert_eq!(
            (edited.source, edited.reused_from),
            (Source::Edited, None),
            "{what}"
        );
        Written::OneEntry
    }

    async fn regenerate(&self, what: &str, campaign: u8, messages: u16) -> Written {
        let Some((known, seen)) = self.campaign(campaign) else {
            return Written::Nothing;
        };
        let chosen = picked(&seen.messages, messages);
        let allowed = seen.campaign.status != CampaignStatus::Draft
            && chosen
                .iter()
                .all(|message| can_move(seen, message, REVIEWABLE));
        let ids = ids_of(&chosen);
        let answer = self
            .engine
            .reviews
            .regenerate(&caller(), known.id, &ids, None)
            .await;
        let done = written(what, allowed, answer).map(|done| done.outcome.messages);
        changed(what, done, chosen.len())
    }

    async fn retry(&self, what: &str, n: u8) -> Written {
        let Some((known, seen)) = self.campaign(n) else {
            return Written::Nothing;
        };
        let failed = seen.campaign.status == CampaignStatus::GenerationFailed;
        let messages = seen.messages.iter();
        let count = messages
            .filter(|message| can_move(seen, message, &[ReviewStatus::GenerationFailed]))
            .count();
        let answer = self.engine.reviews.retry(&caller(), known.id, None).await;
        let done = written(what, failed, answer).map(|done| done.outcome.messages);
        changed(what, done, count)
    }

    async fn publish(&self, what: &str, n: u8) -> Written {
        let Some((known, seen)) = self.campaign(n) else {
            return Written::Nothing;
        };
        let ready = seen.campaign.status == CampaignStatus::ReadyToPublish;
        let count = seen
            .campaign
            .current_run
            .map_or(0, |run| seen.of_run(run).count());
        let answer = self.engine.reviews.publish(&caller(), known.id, None).await;
        let done = written(what, ready, answer).map(|done| done.outcome.messages);
        changed(what, done, count)
    }

    async fn cancel(&self, what: &str, n: u8) -> Written {
        let Some((known, seen)) = self.campaign(n) else {
            return Written::Nothing;
        };
        let current = seen.campaign.current_run;
        let previous = current.and_then(|number| seen.run(number).previous_run);
        let allowed = match seen.campaign.status {
            CampaignStatus::Draft | CampaignStatus::Published => false,
            CampaignStatus::Processing
            | CampaignStatus::GenerationFailed
            | CampaignStatus::ReadyForReview
            | CampaignStatus::ReadyToPublish => true,
        };
        let answer = self
            .engine
            .reruns
            .cancel(&caller(), known.id, Some("why not"), None)
            .await;
        let Some(cancelled) = written(what, allowed, answer) else {
            return Written::Nothing;
        };
        assert_eq!(
            Some(cancelled.outcome.run_number),
            current,
            "{what}: the cancelled run"
        );
        assert_eq!(
            cancelled.outcome.current_run_number, previous,
            "{what}: the run before"
        );
        Written::OneEntry
    }

    async fn preview(&self, what: &str, campaign: u8, group: u8) -> Written {
        let Some((known, seen)) = self.campaign(campaign) else {
            return Written::Nothing;
        };
        let Some((group, new_group)) = nth(&self.groups, group) else {
            return Written::Nothing;
        };
        let segments = self.segments(group, known.fields);
        let published = seen.campaign.status == CampaignStatus::Published;
        let request = RerunRequest {
            campaign: known.id,
            new_group: Some(new_group.id),
            reuse_from: ReuseFrom::CurrentRun,
            allow_missing_fields: known.allow_missing_fields,
        };
        let page = PageQuery::default();
        let answer = self.engine.reruns.preview(&caller(), request, &page).await;
        let has_fields = self.has_fields(group, known.fields, known.allow_missing_fields);
        if let Some(told) = written(what, published && has_fields, answer) {
            let without = |field: &str| {
                let customers = self.groups[group].customers.values();
                let without = customers.filter(|profile| !profile.contains_key(field));
                i64::try_from(without.count()).unwrap()
            };
            for (field, name) in told.fields.iter().zip(known.fields) {
                let expected = (*name, without(name));
                let told = (
                    field.coverage.name.as_str(),
                    field.coverage.customers_without_value,
                );
                assert_eq!(told, expected, "{what}: customers without a value");
            }
            assert_eq!(told.fields.len(), known.fields.len(), "{what}: the fields");
            let items = told.items.items.iter();
            let found: Segments = items
                .map(|item| {
                    let attributes = item.segment.attributes.to_map().unwrap();
                    (attributes, item.segment.customer_count)
                })
                .collect();
            assert_eq!(found, segments, "{what}: the group's segments");
        }
        Written::Nothing
    }

    async fn archive(&self, what: &str, campaign: u8, run: u8) -> Written {
        let Some((known, seen)) = self.campaign(campaign) else {
            return Written::Nothing;
        };
        let number = run_number(i64::from(run) + 1);
        let exists = seen.runs.iter().any(|run| run.number == number);
        let allowed = exists && seen.campaign.current_run != Some(number);
        let answer = self
            .engine
            .reruns
            .archive(&caller(), known.id, Some(number), None)
            .await;
        if let Some(archived) = written(what, allowed, answer) {
            assert_eq!(
                archived.outcome, 0,
                "{what}: nothing of a past run is active"
            );
        }
        Written::Nothing
    }

    async fn diff(&self, what: &str, campaign: u8, from: u8, to: u8) -> Written {
        let Some((known, seen)) = self.campaign(campaign) else {
            return Written::Nothing;
        };
        let (from, to) = (
            run_number(i64::from(from) + 1),
            run_number(i64::from(to) + 1),
        );
        let of_run = |number: RunNumber| -> BTreeMap<SegmentKey, &Message> {
            seen.of_run(number)
                .map(|message| (message.segment.key, message))
                .collect()
        };
        let (earlier, later) = (of_run(from), of_run(to));
        let exist = !earlier.is_empty() && !later.is_empty();
        let page = PageQuery::default();
        let answer = self
            .engine
            .history
            .diff(&caller(), known.id, from, to, &page)
            .await;
        let Some((counts, items)) = written(what, exist, answer) else {
            return Written::Nothing;
        };
        let keys: BTreeSet<&SegmentKey> = earlier.keys().chain(later.keys()).collect();
        assert_eq!(items.items.len(), keys.len(), "{what}: every segment once");
        let mut told = DiffCounts::default();
        for item in &items.items {
            let (old, new) = (earlier.get(&item.segment.key), later.get(&item.segment.key));
            assert_eq!(item.from, old.map(|message| message.id), "{what}");
            assert_eq!(item.to, new.map(|message| message.id), "{what}");
            match item.change {
                DiffChange::Added => told.added += 1,
                DiffChange::Removed => told.removed += 1,
                DiffChange::KeptSame => {
                    told.kept_same += 1;
                    let contents = (old.map(|m| &m.content), new.map(|m| &m.content));
                    assert_eq!(contents.0, contents.1, "{what}: the same content");
                }
                DiffChange::KeptChanged => told.kept_changed += 1,
            }
            let kept = matches!(item.change, DiffChange::KeptSame | DiffChange::KeptChanged);
            assert_eq!(
                kept,
                old.is_some() && new.is_some(),
                "{what}: {}",
                item.change
            );
        }
        assert_eq!(counts, told, "{what}: the counts");
        Written::Nothing
    }

    async fn trespass(&self, what: &str, n: u8) -> Written {
        let Some((known, seen)) = self.campaign(n) else {
            return Written::Nothing;
        };
        let (who, id) = (&stranger(), known.id);
        let message = seen.messages.first().map(|message| message.id);
        let group = self.groups[known.group].id;
        let (reruns, reviews) = (&self.engine.reruns, &self.engine.reviews);
        let request = RerunRequest {
            campaign: id,
            new_group: Some(group),
            reuse_from: ReuseFrom::AnyRun,
            allow_missing_fields: false,
        };
        let all = ReviewedMessages::AllPending;
        let content = Content {
            subject: "x".into(),
            body: "y".into(),
        };
        let file = customer_file(&["customer_ref", "country"], &[&["C-1", "XX"]]);
        let refusals = [
            reruns.initiate(who, request, None).await.map(|_| ()),
            reruns.launch(who, id, None).await.map(|_| ()),
            reruns.cancel(who, id, None, None).await.map(|_| ()),
            reviews
                .review(who, id, &Decision::Approve, &all, None, None)
                .await
                .map(|_| ()),
            reviews
                .edit(who, id, message, content, None)
                .await
                .map(|_| ()),
            reviews
                .regenerate(who, id, &[message], None)
                .await
                .map(|_| ()),
            reviews.retry(who, id, None).await.map(|_| ()),
            reviews.publish(who, id, None).await.map(|_| ()),
            self.engine
                .groups
                .import(who, group, file, None)
                .await
                .map(|_| ()),
            self.engine
                .history
                .runs(who, id, &PageQuery::default())
                .await
                .map(|_| ()),
        ];
        for (n, refusal) in refusals.into_iter().enumerate() {
            assert!(
                matches!(
                    refusal,
                    Err(Error::CampaignNotFound | Error::CustomerGroupNotFound)
                ),
                "{what}: command {n} answered {refusal:?}"
            );
        }
        Written::Nothing
    }

    /// Brings a campaign's current run to its publication, step by step.
    async fn finish(&mut self, n: u8) {
        let status = |model: &Self| model.campaign(n).map(|(_, seen)| seen.campaign.status);
        for _ in 0..40 {
            match status(self) {
                None | Some(CampaignStatus::Draft | CampaignStatus::Published) => return,
                Some(CampaignStatus::Processing) => {
                    // Whatever lease a message is under, or whenever it is tried again.
                    self.f.seconds_later(60);
                    Box::pin(self.obey(&Command::Generate {
                        tasks: 100,
                        failing: 0,
                    }))
                    .await;
                }
                Some(CampaignStatus::GenerationFailed) => {
                    Box::pin(self.obey(&Command::Retry(n))).await;
                }
                Some(CampaignStatus::ReadyForReview) => {
                    let all = Command::Review {
                        campaign: n,
                        messages: None,
                        approve: true,
                    };
                    Box::pin(self.obey(&all)).await;
                    let Some((known, seen)) = self.campaign(n) else {
                        return;
                    };
                    let rejected = |m: &&Message| m.state == MessageState::Rejected;
                    let current = seen.campaign.current_run.unwrap();
                    let ids: Vec<_> = seen
                        .of_run(current)
                        .filter(rejected)
                        .map(|m| Some(m.id))
                        .collect();
                    if !ids.is_empty() {
                        let id = known.id;
                        let queued = self
                            .engine
                            .reviews
                            .regenerate(&caller(), id, &ids, None)
                            .await;
                        written("regenerating what was rejected", true, queued);
                        self.compare("regenerating what was rejected", Written::OneEntry)
                            .await;
                    }
                }
                Some(CampaignStatus::ReadyToPublish) => {
                    Box::pin(self.obey(&Command::Publish(n))).await;
                }
            }
        }
        panic!(
            "a campaign could not be brought to its publication: {:?}",
            status(self)
        );
    }

    /// Reads everything again and compares it with what was there before.
    async fn compare(&mut self, what: &str, written: Written) {
        let now = self.f.snapshot(ACCOUNT).await;
        let before = std::mem::replace(&mut self.before, now);
        let now = &self.before;
        invariants::check(now);
        let ended = || {
            let ends = |before: &CampaignSnapshot| {
                let after = now.campaign(before.campaign.id);
                let open = before.runs.iter().filter(|run| !run.status.is_ended());
                open.filter(|run| {
                    matches!(
                        after.run(run.number).status,
                        RunStatus::Completed | RunStatus::Failed
                    )
                })
                .count()
            };
            before.campaigns.iter().map(ends).sum::<usize>()
        };
        let expected = match written {
            Written::Nothing => {
                before.assert_same(now, what);
                return;
            }
            Written::OneEntry => 1,
            Written::NoEntry => 0,
            Written::Results => ended(),
        };
        let entries = now.entries.len().checked_sub(before.entries.len());
        assert_eq!(entries, Some(expected), "{what}: new audit entries");
        assert_eq!(
            now.entries[..before.entries.len()],
            before.entries,
            "{what}: old entries"
        );
        for was in &before.campaigns {
            check_kept(what, was, now.campaign(was.campaign.id));
        }
    }
}

/// No message is ever lost, and an archived one stays as it is until its run is current again.
fn check_kept(what: &str, was: &CampaignSnapshot, is: &CampaignSnapshot) {
    let now: BTreeMap<MessageId, &Message> = is.messages.iter().map(|m| (m.id, m)).collect();
    for message in &was.messages {
        let id = message.id;
        let after = now
            .get(&id)
            .unwrap_or_else(|| panic!("{what}: message {id} is lost"));
        assert_eq!(
            after.segment, message.segment,
            "{what}: message {id}: its segment"
        );
        assert_eq!(
            after.created_at, message.created_at,
            "{what}: message {id}: its making"
        );
        if message.archived_at.is_some() {
            // Archiving, or its taking back, is a fact of the run and no change of the message.
            let expected = Message::clone(message);
            let expected = expected.with(|message| message.archived_at = after.archived_at);
            let expected = expected.unwrap();
            assert_eq!(**after, expected, "{what}: the archived message {id}");
        }
    }
    for run in &was.runs {
        assert!(
            is.runs.iter().any(|other| other.number == run.number),
            "{what}: a run is lost"
        );
    }
    assert!(
        is.campaign.version >= was.campaign.version,
        "{what}: the version went back"
    );
    if is.campaign.status != was.campaign.status {
        assert!(
            is.campaign.version > was.campaign.version,
            "{what}: the version stood still"
        );
    }
    assert_eq!(
        SegmentBy::new(is.campaign.segment_by.fields()).as_ref(),
        Ok(&was.campaign.segment_by),
        "{what}: the segmentation",
    );
}
