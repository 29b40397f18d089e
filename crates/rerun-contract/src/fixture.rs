//! The fixture of a case: a new store with the engine over it, a clock that the test moves, ids in
//! a known order, and helpers that create the state that a case starts from.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rerun_core::Timestamp;
use rerun_core::actor::{Actor, Person, UserName};
use rerun_core::audit::{AuditEntry, Authorship};
use rerun_core::campaign::{Campaign, Template};
use rerun_core::error::{Error, StoreError};
use rerun_core::generation::{GenerationError, GenerationTask};
use rerun_core::group::{CustomerFile, ImportHeader, ImportMode, Imported};
use rerun_core::ids::{
    AccountId, AuditEntryId, CampaignId, CustomerGroupId, MessageId, RunNumber, UserId,
};
use rerun_core::message::{Content, Message};
use rerun_core::page::{Contents, Limit, MAX_PAGE_BYTES, Page, PageRequest};
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{
    CampaignContext, CandidateQuery, Clock, IdGenerator, ImportedMessage, ImportedMessages,
    MessageSelection, SegmentCandidates, Store, WantedGroup,
};
use rerun_core::run::Run;
use rerun_core::segment::{Segment, SegmentBy};
use rerun_core::usecases::{
    Decision, Engine, EngineBuilder, LeasedTasks, NewCampaign, Replayable, RerunRequest,
    ReviewedMessages, RunStarted, Settings,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::invariants;
use crate::ports::{
    CountingIds, Intervals, NoOutsiders, OfVaryingLength, SecondsByAttempt, TestClock,
    webhook_ports,
};
use crate::snapshot::{CampaignSnapshot, Snapshot};

/// A fresh store with the engine over it.
pub struct Fixture<S> {
    /// The use cases over the store, with the default settings.
    pub engine: Engine,
    /// The store.
    pub store: Arc<S>,
    /// The time that the engine sees.
    pub clock: Arc<TestClock>,
    /// Where the engine's ids come from.
    pub ids: Arc<CountingIds>,
    // The last field is dropped last: the database outlives every connection to it.
    database: Option<Box<dyn Any + Send + Sync>>,
}

/// One customer of a table that a case imports.
pub type Row<'a> = &'a [&'a str];

/// The account in which most of every case happens.
pub const ACCOUNT: AccountId =
    AccountId::new(Uuid::from_u128(0xaaaa_aaaa_0000_4000_8000_0000_0000_0001));
/// Another account.
pub const OTHER_ACCOUNT: AccountId =
    AccountId::new(Uuid::from_u128(0xbbbb_bbbb_0000_4000_8000_0000_0000_0002));

/// The name that [`caller`] has.
pub const CALLERS_NAME: &str = "Ada \"Å\" O'Neill";

fn person(account_id: AccountId, user: u128, name: Option<&str>, role: &str) -> Actor {
    let person = Person {
        user_id: UserId::new(Uuid::from_u128(
            0x1111_0000_0000_4000_8000_0000_0000_0000 + user,
        )),
        user_name: name.map(|name| UserName::new(name).unwrap()),
        role_code: role.to_owned(),
        ip: Some(IpAddr::from([192, 0, 2, 7])),
    };
    Actor::person(account_id, person).in_request(format!("request-{user}"))
}

/// Whoever `actor` is, as the author of a change that a case decides itself.
#[must_use]
pub fn author<S: Store + 'static>(f: &Fixture<S>, actor: Actor) -> Authorship {
    Authorship {
        entry_id: AuditEntryId::new(f.ids.next()),
        actor,
        at: f.now(),
    }
}

/// Somebody of [`ACCOUNT`].
#[must_use]
pub fn caller() -> Actor {
    person(ACCOUNT, 1, Some(CALLERS_NAME), "ADMIN")
}

/// Somebody else of [`ACCOUNT`].
#[must_use]
pub fn colleague() -> Actor {
    person(ACCOUNT, 2, None, "REVIEWER")
}

/// Somebody of [`OTHER_ACCOUNT`].
#[must_use]
pub fn stranger() -> Actor {
    person(OTHER_ACCOUNT, 3, None, "ADMIN")
}

/// What a generator of the cases makes of a task: a text of its run and segment.
#[must_use]
pub fn generated(task: &GenerationTask) -> Content {
    Content {
        subject: format!("Run {}", task.run_number),
        body: format!("For {}", task.attributes.as_json()),
    }
}

/// The largest page, from the start of the list.
#[must_use]
pub fn first_page<K>() -> PageRequest<K> {
    PageRequest {
        limit: Limit::new(Limit::MAX.into()).unwrap(),
        after: None,
    }
}

/// A page of `limit` rows.
#[must_use]
pub fn page_of<K>(limit: i64, after: Option<K>) -> PageRequest<K> {
    PageRequest {
        limit: Limit::new(limit).unwrap(),
        after,
    }
}

/// Reads a list to its end whose rows are so large that their bytes bound its pages. Panics when a
/// page is larger than it may be, or ends before it is full.
pub async fn every_large_page<T: Contents, K: Clone>(
    mut read: impl AsyncFnMut(PageRequest<K>) -> Page<T, K>,
) -> Vec<T> {
    let mut rows = Vec::new();
    let mut request = first_page();
    for number in 1.. {
        let page = read(request).await;
        let (last, before) = page.items.split_last().expect("a page has a row");
        let before: usize = before.iter().map(Contents::bytes).sum();
        assert!(
            before < MAX_PAGE_BYTES,
            "{before} bytes before the last row"
        );
        let bytes = before + last.bytes();
        rows.extend(page.items);
        let Some(next) = page.next else {
            assert!(number > 1, "the rows are too small for this");
            break;
        };
        assert!(
            bytes >= MAX_PAGE_BYTES,
            "a page of {bytes} bytes before the last"
        );
        request = first_page();
        request.after = Some(next);
    }
    rows
}

/// Reads a list page by page to its end. Panics when the list has no end, or a page that has a
/// next one is not full.
pub async fn every_page<T, K: Clone>(
    limit: i64,
    mut read: impl AsyncFnMut(PageRequest<K>) -> Page<T, K>,
) -> Vec<T> {
    let mut rows = Vec::new();
    let mut request = page_of(limit, None);
    loop {
        let full = usize::from(request.limit.get());
        let page = read(request).await;
        assert!(
            page.items.len() <= full,
            "a page of {} rows, limit {full}",
            page.items.len()
        );
        if page.next.is_some() {
            assert_eq!(page.items.len(), full, "a page before the last is not full");
        }
        rows.extend(page.items);
        assert!(rows.len() < 1_000_000, "the list has no end");
        match page.next {
            Some(next) => request = page_of(limit, Some(next)),
            None => return rows,
        }
    }
}

/// Runs `n` tasks that begin together.
pub async fn all_at_once<T: Send + 'static, F>(n: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(tokio::sync::Barrier::new(n));
    let start = |index| {
        let (barrier, task) = (Arc::clone(&barrier), task(index));
        tokio::spawn(async move {
            barrier.wait().await;
            task.await
        })
    };
    let running: Vec<_> = (0..n).map(start).collect();
    let ended = futures_util::future::join_all(running).await;
    ended
        .into_iter()
        .map(|ended| ended.expect("a task of the case panicked"))
        .collect()
}

/// What a campaign of a case is made with, besides its group.
#[must_use]
pub fn new_campaign(group: CustomerGroupId, segment_by: &[&str]) -> NewCampaign {
    NewCampaign {
        name: "Spring offers".into(),
        customer_group_id: Some(group),
        segment_by: segment_by.iter().map(|&name| name.into()).collect(),
        template: Template {
            subject: "Hello".into(),
            body: "To {{ country }}".into(),
        },
        brief: None,
        approval_stages: None,
        distinct_reviewers: false,
        suggest_reruns: None,
        allow_missing_fields: false,
    }
}

/// The segment of customers with this value of `country`.
///
/// # Panics
/// Never: the field's name is valid.
#[must_use]
pub fn of_country(country: Option<&str>, customer_count: i64) -> Segment {
    let by = SegmentBy::new(&["country"]).unwrap();
    by.segment(|_| country, customer_count)
}

/// Messages that are brought in from elsewhere: one for each value of `country`.
#[must_use]
pub fn messages_from_elsewhere<S>(
    f: &Fixture<S>,
    countries: &[Option<&str>],
) -> Vec<ImportedMessage> {
    let message = |country: Option<&str>| ImportedMessage {
        id: MessageId::new(f.ids.next()),
        segment: of_country(country, 5),
        content: Content {
            subject: "From elsewhere".into(),
            body: format!("To {country:?}"),
        },
    };
    countries.iter().copied().map(message).collect()
}

/// Contents with braces of all kinds, each different, for the tests of migrations that look for
/// placeholders.
#[must_use]
pub fn contents_with_braces() -> Vec<Content> {
    let long = format!("é{{{{ {} }}}}", "é".repeat(10_000));
    let texts = [
        "plain",
        "{ {a} }",
        "}} {{",
        "{{",
        "{{}}",
        "Dear {{ first_name }}!",
        "{{{ x }}}",
        "a }} b {{x}} {{y}}",
        "{{ a {{ b }} }}",
        "100 % _ {{ \n\\ }}",
        "é{{ü\u{1f600}}}",
        &long,
    ];
    let content = |subject: &str, body: &str| Content {
        subject: subject.to_owned(),
        body: body.to_owned(),
    };
    texts
        .iter()
        .flat_map(|subject| texts.iter().map(move |body| content(subject, body)))
        .collect()
}

/// A file to merge into a group, normalised as every import is.
#[must_use]
pub fn customer_file(columns: &[&str], rows: &[Row<'_>]) -> CustomerFile {
    let header = ImportHeader::new(columns.iter().copied()).unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| header.row(2, row.iter().copied()))
        .collect();
    CustomerFile {
        fields: header.fields().to_vec(),
        mode: ImportMode::Merge,
        rows: Box::new(rows.into_iter()),
    }
}

/// A file that has been read up to its last row, which is held back.
#[derive(Debug)]
pub struct HeldFile {
    begun: oneshot::Receiver<()>,
    go_on: mpsc::Sender<()>,
}

impl HeldFile {
    /// A file to merge into a group: as many rows as `refs`, each with the given country.
    #[must_use]
    pub fn new(refs: &[&str], country: &str) -> (CustomerFile, Self) {
        let rows: Vec<[&str; 2]> = refs.iter().map(|name| [*name, country]).collect();
        let rows: Vec<Row<'_>> = rows.iter().map(<[&str; 2]>::as_slice).collect();
        let file = customer_file(&["customer_ref", "country"], &rows);
        let (tell, begun) = oneshot::channel();
        let (go_on, wait) = mpsc::channel();
        let (last, mut tell) = (refs.len() - 1, Some(tell));
        let rows = file.rows.enumerate().map(move |(place, row)| {
            if place == last {
                if let Some(tell) = tell.take() {
                    let _nobody_listens = tell.send(());
                }
                let _gone = wait.recv();
            }
            row
        });
        let file = CustomerFile {
            rows: Box::new(rows),
            ..file
        };
        (file, Self { begun, go_on })
    }

    /// Waits until the store has come to the last row.
    pub async fn has_begun(&mut self) {
        (&mut self.begun)
            .await
            .expect("an import that reads its file");
    }

    /// Lets the last row go.
    pub fn go_on(self) {
        self.go_on.send(()).expect("an import that waits");
    }
}

/// Waits until something is so, for a minute at most.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_mins(1), "not yet: {what}");
        tokio::task::yield_now().await;
    }
}

impl<S: Store + 'static> Fixture<S> {
    /// Over a store that has no rows yet.
    #[must_use]
    pub fn new(store: S) -> Self {
        let (store, clock) = (Arc::new(store), Arc::new(TestClock::new()));
        let ids = Arc::new(CountingIds::default());
        let engine = wire(&store, &clock, &ids, Settings::default());
        Self {
            engine,
            store,
            clock,
            ids,
            database: None,
        }
    }

    /// Keeps what must live as long as the store, such as a database that is removed on drop.
    #[must_use]
    pub fn keeping(mut self, what: impl Any + Send + Sync) -> Self {
        self.database = Some(Box::new(what));
        self
    }

    /// The use cases over the same store, with other settings.
    #[must_use]
    pub fn engine_with(&self, settings: Settings) -> Engine {
        wire(&self.store, &self.clock, &self.ids, settings)
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Moves the clock on by whole seconds.
    pub fn seconds_later(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// An empty group.
    pub async fn empty_group(&self, name: &str) -> CustomerGroupId {
        self.engine
            .groups
            .create(&caller(), name, None)
            .await
            .expect("a group is created")
            .outcome
            .id
    }

    /// A group with one customer for each given country, an empty one standing for none.
    pub async fn group(&self, countries: &[&str]) -> CustomerGroupId {
        let group = self.empty_group("Customers").await;
        self.import_countries(group, countries).await;
        group
    }

    /// Imports one customer for each given country; their references are `C-0`, `C-1`, ….
    pub async fn import_countries(&self, group: CustomerGroupId, countries: &[&str]) -> Imported {
        let refs: Vec<String> = (0..countries.len()).map(|n| format!("C-{n}")).collect();
        let rows: Vec<[&str; 2]> = refs
            .iter()
            .zip(countries)
            .map(|(name, country)| [name.as_str(), *country])
            .collect();
        let rows: Vec<Row<'_>> = rows.iter().map(<[&str; 2]>::as_slice).collect();
        self.import(group, &["customer_ref", "country"], &rows)
            .await
    }

    /// Imports a table; `columns` name one `customer_ref`.
    pub async fn import(
        &self,
        group: CustomerGroupId,
        columns: &[&str],
        rows: &[Row<'_>],
    ) -> Imported {
        self.try_import(&caller(), group, columns, rows)
            .await
            .expect("an import goes through")
    }

    /// Imports a table, perhaps in vain.
    ///
    /// # Errors
    /// What the use case answers.
    pub async fn try_import(
        &self,
        who: &Actor,
        group: CustomerGroupId,
        columns: &[&str],
        rows: &[Row<'_>],
    ) -> Result<Imported, Error> {
        let file = customer_file(columns, rows);
        let done = self.engine.groups.import(who, group, file, None).await;
        done.map(|done| done.outcome)
    }

    /// Imports a table in place of what the group has.
    ///
    /// # Errors
    /// What the use case answers.
    pub async fn try_replace(
        &self,
        group: CustomerGroupId,
        columns: &[&str],
        rows: &[Row<'_>],
    ) -> Result<Imported, Error> {
        let file = CustomerFile {
            mode: ImportMode::Replace,
            ..customer_file(columns, rows)
        };
        let done = self
            .engine
            .groups
            .import(&caller(), group, file, None)
            .await;
        done.map(|done| done.outcome)
    }

    /// A draft that is segmented by `country`.
    pub async fn draft(&self, group: CustomerGroupId) -> CampaignId {
        self.create(new_campaign(group, &["country"])).await
    }

    /// A draft with two approval stages, `Draft` and `Legal`.
    pub async fn draft_of_two_stages(&self, group: CustomerGroupId) -> CampaignId {
        let stages = Some(vec!["Draft".into(), "Legal".into()]);
        self.create(NewCampaign {
            approval_stages: stages,
            ..new_campaign(group, &["country"])
        })
        .await
    }

    /// A draft.
    pub async fn create(&self, new: NewCampaign) -> CampaignId {
        self.engine
            .campaigns
            .create(&caller(), new, None)
            .await
            .expect("a campaign is created")
            .outcome
            .id
    }

    /// Launches a draft.
    pub async fn launch(&self, campaign: CampaignId) -> RunStarted {
        let launched = self.engine.reruns.launch(&caller(), campaign, None).await;
        launched.expect("a draft is launched").outcome
    }

    /// Leases up to `limit` tasks.
    pub async fn lease(&self, limit: u32) -> LeasedTasks {
        self.engine
            .generation
            .lease(limit)
            .await
            .expect("tasks are leased")
    }

    /// Settles leased tasks, each with what `attempt` makes of it.
    pub async fn settle(
        &self,
        leased: &LeasedTasks,
        attempt: impl Fn(&GenerationTask) -> Result<Content, GenerationError>,
    ) -> rerun_core::generation::Settled {
        let judged = |task| self.engine.generation.result_of(task, attempt(task));
        let results = leased.tasks.iter().map(judged).collect();
        self.engine
            .generation
            .settle(leased.lease, results)
            .await
            .expect("results are settled")
            .settled
    }

    /// Generates everything that is due.
    pub async fn generate(&self) {
        loop {
            let leased = self.lease(1_000).await;
            if leased.tasks.is_empty() {
                return;
            }
            self.settle(&leased, |task| Ok(generated(task))).await;
        }
    }

    /// Has every task that is due fail, attempt after attempt, until none is tried any more.
    pub async fn fail_generation(&self, reason: &str) {
        for _ in 0..self.engine.generation.policy().max_attempts {
            let leased = self.lease(1_000).await;
            self.settle(&leased, |_| Err(GenerationError::new(reason)))
                .await;
            self.seconds_later(60);
        }
    }

    /// Approves every pending message through all stages.
    pub async fn approve(&self, campaign: CampaignId) {
        loop {
            let approved = self.review_all(campaign, Decision::Approve).await;
            if approved == 0 {
                return;
            }
        }
    }

    /// Gives one word on every pending message; answers how many changed.
    pub async fn review_all(&self, campaign: CampaignId, decision: Decision) -> u32 {
        let all = ReviewedMessages::AllPending;
        let reviewed = self
            .engine
            .reviews
            .review(&caller(), campaign, &decision, &all, None, None)
            .await;
        reviewed
            .expect("pending messages are reviewed")
            .outcome
            .messages
    }

    /// Publishes the current run.
    pub async fn publish(&self, campaign: CampaignId) {
        let published = self.engine.reviews.publish(&caller(), campaign, None).await;
        published.expect("a campaign is published");
    }

    /// Generates, approves and publishes whatever the current run still needs.
    pub async fn finish(&self, campaign: CampaignId) {
        self.generate().await;
        self.approve(campaign).await;
        self.publish(campaign).await;
    }

    /// A published campaign over a new group with these countries.
    pub async fn published(&self, countries: &[&str]) -> CampaignId {
        let group = self.group(countries).await;
        let campaign = self.draft(group).await;
        self.launch(campaign).await;
        self.finish(campaign).await;
        campaign
    }

    /// Initiates a rerun, perhaps in vain.
    ///
    /// # Errors
    /// What the use case answers.
    pub async fn try_rerun(
        &self,
        campaign: CampaignId,
        group: CustomerGroupId,
        reuse_from: ReuseFrom,
    ) -> Result<Replayable<RunStarted>, Error> {
        let request = RerunRequest {
            campaign,
            new_group: Some(group),
            reuse_from,
            allow_missing_fields: false,
        };
        self.engine.reruns.initiate(&caller(), request, None).await
    }

    /// Initiates a rerun that reuses from the current run.
    pub async fn rerun(&self, campaign: CampaignId, group: CustomerGroupId) -> RunStarted {
        let started = self.try_rerun(campaign, group, ReuseFrom::CurrentRun).await;
        started.expect("a published campaign is rerun").outcome
    }

    /// Takes the current run back.
    pub async fn cancel(&self, campaign: CampaignId) {
        let cancelled = self
            .engine
            .reruns
            .cancel(&caller(), campaign, Some("a mistake"), None)
            .await;
        cancelled.expect("a run is cancelled");
    }

    /// The campaign with its current run.
    pub async fn context(&self, campaign: CampaignId) -> CampaignContext {
        let found = self
            .store
            .campaign_context(ACCOUNT, campaign, WantedGroup::None)
            .await;
        found
            .expect("a campaign is read")
            .expect("the campaign is there")
    }

    /// The campaign.
    pub async fn campaign(&self, campaign: CampaignId) -> Campaign {
        let found = self.store.find_campaign(ACCOUNT, campaign).await;
        found
            .expect("a campaign is read")
            .expect("the campaign is there")
    }

    /// The current run.
    pub async fn current_run(&self, campaign: CampaignId) -> Run {
        self.context(campaign)
            .await
            .current_run
            .expect("the campaign has a current run")
    }

    /// A run of the history.
    pub async fn run(&self, campaign: CampaignId, number: i64) -> Run {
        let number = run_number(number);
        let runs = self.runs(ACCOUNT, campaign).await;
        let found = runs.into_iter().find(|run| run.number == number);
        found.unwrap_or_else(|| panic!("run {number} is not in the history"))
    }

    async fn runs(&self, account: AccountId, campaign: CampaignId) -> Vec<Run> {
        every_page(1_000, async |page| {
            let history = self.store.history(account, campaign, page).await;
            history
                .expect("a history is read")
                .expect("the campaign is there")
                .runs
        })
        .await
    }

    /// The messages of a selection.
    pub async fn messages(&self, campaign: CampaignId, which: MessageSelection) -> Vec<Message> {
        self.messages_of(ACCOUNT, campaign, which).await
    }

    /// The messages of the current run.
    pub async fn current(&self, campaign: CampaignId) -> Vec<Message> {
        self.messages(campaign, MessageSelection::CurrentRun).await
    }

    /// The messages of a run.
    pub async fn of_run(&self, campaign: CampaignId, number: i64) -> Vec<Message> {
        self.messages(campaign, MessageSelection::Run(run_number(number)))
            .await
    }

    /// The message of the current run for a country.
    pub async fn message(&self, campaign: CampaignId, country: &str) -> Message {
        let country = (!country.is_empty()).then_some(country);
        let wanted = of_country(country, 0).key;
        let found = self
            .current(campaign)
            .await
            .into_iter()
            .find(|m| m.segment.key == wanted);
        found.unwrap_or_else(|| panic!("the current run has no message for {country:?}"))
    }

    async fn messages_of(
        &self,
        account: AccountId,
        campaign: CampaignId,
        which: MessageSelection,
    ) -> Vec<Message> {
        every_page(10_000, async |page| {
            let list = self.store.messages(account, campaign, which, page).await;
            list.expect("messages are read")
                .expect("the campaign is there")
                .messages
        })
        .await
    }

    /// The account's audit log, oldest first.
    pub async fn entries(&self, account: AccountId) -> Vec<AuditEntry> {
        let mut entries: Vec<AuditEntry> = Vec::new();
        loop {
            let after = entries.last().map_or(0, |entry| entry.seq);
            let more = self.store.audit_chain(account, after, 1_000).await;
            let more = more.expect("the audit log is read");
            if more.is_empty() {
                return entries;
            }
            entries.extend(more);
        }
    }

    /// Everything that can be read of an account.
    pub async fn snapshot(&self, account: AccountId) -> Snapshot {
        let groups = every_page(1_000, async |page| {
            self.store
                .list_groups(account, page)
                .await
                .expect("groups are read")
        })
        .await;
        let listed = every_page(1_000, async |page| {
            self.store
                .list_campaigns(account, None, page)
                .await
                .expect("campaigns are read")
        })
        .await;
        let mut campaigns = Vec::with_capacity(listed.len());
        for campaign in listed {
            let runs = self.runs(account, campaign.id).await;
            let every = MessageSelection::EveryRun;
            let messages = self.messages_of(account, campaign.id, every).await;
            campaigns.push(CampaignSnapshot {
                campaign,
                runs,
                messages,
            });
        }
        let entries = self.entries(account).await;
        Snapshot {
            groups,
            campaigns,
            entries,
        }
    }

    /// Panics when an invariant does not hold in either account.
    pub async fn check(&self) {
        for account in [ACCOUNT, OTHER_ACCOUNT] {
            self.check_account(account).await;
        }
    }

    /// Panics when an invariant does not hold in the account.
    pub async fn check_account(&self, account: AccountId) {
        let head = self.store.audit_head(account).await;
        let head = head.expect("a chain's head is read");
        let snapshot = self.snapshot(account).await;
        invariants::check(&snapshot);
        let last = snapshot.entries.last().map_or(0, |entry| entry.seq);
        assert_eq!(last, head.seq, "the kept head of the audit log");
    }

    /// The group's segments by these fields, as the store counts them: values and customers.
    pub async fn segments(
        &self,
        group: CustomerGroupId,
        fields: &[&str],
    ) -> BTreeMap<BTreeMap<String, Option<String>>, i64> {
        let segment_by = SegmentBy::new(fields).unwrap();
        let keys: Vec<_> = self
            .candidates(group, fields)
            .await
            .segments
            .iter()
            .map(|s| s.key)
            .collect();
        let segments = self
            .store
            .segments(ACCOUNT, group, &segment_by, keys.clone())
            .await;
        let segments = segments.expect("segments are read");
        let read: Vec<_> = segments.iter().map(|segment| segment.key).collect();
        assert_eq!(read, keys, "the segments of all candidates, by key");
        segments
            .into_iter()
            .map(|segment| {
                let attributes = segment
                    .attributes
                    .to_map()
                    .expect("attributes are a JSON object");
                (attributes, segment.customer_count)
            })
            .collect()
    }

    /// The group's segments by these fields, without anything to reuse.
    pub async fn candidates(&self, group: CustomerGroupId, fields: &[&str]) -> SegmentCandidates {
        let query = CandidateQuery {
            account_id: ACCOUNT,
            group_id: group,
            segment_by: SegmentBy::new(fields).unwrap(),
            reuse: None,
            limit: 100_000,
        };
        self.store
            .segment_candidates(query)
            .await
            .expect("segments are counted")
    }

    /// Brings in a campaign that was published elsewhere.
    ///
    /// # Errors
    /// What the use case answers.
    pub async fn import_campaign(
        &self,
        group: CustomerGroupId,
        messages: Vec<ImportedMessage>,
    ) -> Result<(Campaign, Run), Error> {
        let rows =
            move |_: &SegmentBy| -> ImportedMessages { Box::new(messages.into_iter().map(Ok)) };
        self.engine
            .campaigns
            .import(&caller(), new_campaign(group, &["country"]), rows)
            .await
    }
}

fn wire<S: Store + 'static>(
    store: &Arc<S>,
    clock: &Arc<TestClock>,
    ids: &Arc<CountingIds>,
    settings: Settings,
) -> Engine {
    let (clock, ids) = (clock.clone(), ids.clone());
    EngineBuilder::new(store.clone(), clock, ids, SecondsByAttempt)
        .calendar(Intervals)
        .permissions(NoOutsiders)
        .pause(OfVaryingLength::default())
        .webhooks(webhook_ports())
        .settings(settings)
        .build()
}

/// A run's number.
#[must_use]
pub fn run_number(number: i64) -> RunNumber {
    RunNumber::new(number).unwrap()
}

/// Panics unless the store said that the state had changed.
pub fn assert_conflict<T: Debug>(answer: Result<T, StoreError>, what: &str) {
    match answer {
        Err(StoreError::Conflict) => {}
        other => panic!("{what}: not a conflict: {other:?}"),
    }
}
