//! The fixture of a case: a new store with the engine over it, a clock that the test moves, ids in
//! a known order, and helpers that create the state that a case starts from.

mod values;

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rerun_core::Timestamp;
use rerun_core::actor::Actor;
use rerun_core::audit::AuditEntry;
use rerun_core::campaign::Campaign;
use rerun_core::error::Error;
use rerun_core::generation::{GenerationError, GenerationTask};
use rerun_core::group::{CustomerFile, ImportMode, Imported};
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId};
use rerun_core::message::{Content, Message};
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{
    CampaignContext, CandidateQuery, Clock, ImportedMessage, ImportedMessages, MessageSelection,
    SegmentCandidates, Store, WantedGroup,
};
use rerun_core::run::Run;
use rerun_core::segment::SegmentBy;
use rerun_core::usecases::{
    Decision, Engine, EngineBuilder, LeasedTasks, NewCampaign, Replayable, RerunRequest,
    ReviewedMessages, RunStarted, Settings,
};

pub use values::{
    ACCOUNT, CALLERS_NAME, HeldFile, OTHER_ACCOUNT, Row, all_at_once, assert_conflict, author,
    caller, colleague, contents_with_braces, customer_file, every_large_page, every_page,
    first_page, generated, hourly, messages_from_elsewhere, new_campaign, of_country, page_of,
    run_number, settled, stranger, until,
};

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
        settled(&self.engine.generation, leased, attempt).await
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
