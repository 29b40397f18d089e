//! How often each use case goes to PostgreSQL: as the server's log tells, not as the code reads.
#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests misses their helpers"
)]

mod logged;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use logged::LoggedServer;
use rerun_contract::fixture::{ACCOUNT, Fixture, caller, generated, new_campaign, run_number};
use rerun_core::ids::{CampaignId, CustomerGroupId};
use rerun_core::message::Content;
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{AuditFilter, AuditStore, HealthCheck, IdempotencyStore, MessageSelection};
use rerun_core::usecases::{Decision, PageQuery, RerunRequest, ReviewedMessages};
use rerun_pg::PgStore;

/// What went to the server: statements, among them the ends of transactions, and plannings of
/// statements that are not kept prepared, which take a round trip of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Trips {
    statements: u32,
    plannings: u32,
}

struct Counted<'a> {
    server: &'a LoggedServer,
    f: &'a Fixture<PgStore>,
    trips: Vec<(&'static str, Trips)>,
}

fn borrowed(countries: &[String]) -> Vec<&str> {
    countries.iter().map(String::as_str).collect()
}

impl Counted<'_> {
    /// Counts what `job` sends.
    async fn of<T>(&mut self, name: &'static str, job: impl Future<Output = T>) -> T {
        self.server.new_entries();
        let answer = job.await;
        let mut trips = Trips::default();
        for entry in self.server.new_entries() {
            // `duration: 0.1 ms  execute NAME: SELECT …`; binding shares the trip of executing.
            let step = entry.split_whitespace().nth(3).unwrap();
            match step.trim_end_matches(':') {
                "execute" | "statement" => trips.statements += 1,
                "parse" => trips.plannings += 1,
                "bind" => {}
                other => panic!("{name}: {other} in {entry}"),
            }
        }
        self.trips.push((name, trips));
        answer
    }

    /// All use cases on campaigns of `size` segments.
    async fn story(&mut self, size: usize) {
        let f = self.f;
        let countries =
            |name: &str| -> Vec<String> { (0..size).map(|n| format!("{name}{n}")).collect() };
        let (old, new) = (countries("a"), countries("b"));
        let group = self.of("group: create", f.empty_group("g")).await;
        let rows = borrowed(&old);
        self.of("group: import", f.import_countries(group, &rows))
            .await;
        let other = f.group(&borrowed(&new)).await;
        let campaign = f.draft(group);
        let campaign = self
            .of("campaign: create, segments not counted yet", campaign)
            .await;
        self.of("launch", f.launch(campaign)).await;
        self.generation(campaign).await;
        self.reviews(campaign).await;
        let second = f.create(new_campaign(group, &["country"]));
        let second = self.of("campaign: create", second).await;
        self.of("launch again", f.launch(second)).await;
        self.of("cancel", f.cancel(second)).await;
        self.reruns(campaign, group, other).await;
        self.lists(campaign).await;
        // The next story leases its own.
        f.generate().await;
    }

    async fn generation(&mut self, campaign: CampaignId) {
        let f = self.f;
        let leased = self.of("lease", f.lease(1_000)).await;
        let settled = f.settle(&leased, |task| Ok(generated(task)));
        self.of("settle", settled).await;
        self.of("lease, nothing due", f.lease(1_000)).await;
        assert_eq!(f.current_run(campaign).await.counts.generating, 0);
    }

    async fn reviews(&mut self, campaign: CampaignId) {
        let who = caller();
        let (f, reviews) = (self.f, &self.f.engine.reviews);
        let message = f.current(campaign).await.swap_remove(0);
        let content = Content {
            subject: "Edited".into(),
            body: "Edited".into(),
        };
        let edit = reviews.edit(&who, campaign, Some(message.id), content, None);
        self.of("edit", edit).await.unwrap();
        let one = ReviewedMessages::Named(vec![Some(message.id)]);
        let review = reviews.review(&who, campaign, &Decision::Approve, &one, None, None);
        self.of("review one", review).await.unwrap();
        self.of("review all", f.review_all(campaign, Decision::Approve))
            .await;
        self.of("publish", f.publish(campaign)).await;
    }

    async fn reruns(
        &mut self,
        campaign: CampaignId,
        group: CustomerGroupId,
        other: CustomerGroupId,
    ) {
        let who = caller();
        let (f, reruns) = (self.f, &self.f.engine.reruns);
        let request = |group| RerunRequest {
            campaign,
            new_group: Some(group),
            reuse_from: ReuseFrom::CurrentRun,
            allow_missing_fields: false,
        };
        let page = PageQuery::default();
        let preview = reruns.preview(&who, request(group), &page);
        self.of("preview", preview).await.unwrap();
        self.of("initiate, all matched", f.rerun(campaign, group))
            .await;
        self.of("cancel of a rerun", f.cancel(campaign)).await;
        let key = format!("key of {campaign}");
        let initiate = reruns.initiate(&who, request(group), Some(&key));
        self.of("initiate, all matched, with a key", initiate)
            .await
            .unwrap();
        let again = reruns.initiate(&who, request(group), Some(&key));
        let again = self.of("initiate, a key's second time", again).await;
        assert!(again.unwrap().replayed);
        f.publish(campaign).await;
        let archive = reruns.archive(&who, campaign, Some(run_number(1)), None);
        self.of("archive", archive).await.unwrap();
        let preview = reruns.preview(&who, request(other), &page);
        self.of("preview, segments not counted yet", preview)
            .await
            .unwrap();
        self.of("initiate, all new", f.rerun(campaign, other)).await;
    }

    async fn lists(&mut self, campaign: CampaignId) {
        let who = caller();
        let engine = &self.f.engine;
        let page = PageQuery {
            limit: Some(5),
            cursor: None,
        };
        let runs = engine.history.runs(&who, campaign, &page);
        self.of("history", runs).await.unwrap();
        for (name, selection) in [
            ("messages of the current run", MessageSelection::CurrentRun),
            ("messages of a run", MessageSelection::Run(run_number(1))),
            ("messages of every run", MessageSelection::EveryRun),
        ] {
            let messages = engine.history.messages(&who, campaign, selection, &page);
            assert_eq!(
                self.of(name, messages).await.unwrap().messages.items.len(),
                5
            );
        }
        let runs = (run_number(1), run_number(2));
        let diff = engine.history.diff(&who, campaign, runs.0, runs.1, &page);
        self.of("diff", diff).await.unwrap();
        let campaigns = engine.campaigns.list(&who, None, &page);
        self.of("campaigns", campaigns).await.unwrap();
        self.of("campaign", engine.campaigns.get(&who, campaign))
            .await
            .unwrap();
        let groups = engine.groups.list(&who, &page);
        self.of("groups", groups).await.unwrap();
        let everything = AuditFilter::default();
        let entries = engine.audit.list(&who, everything, &page);
        self.of("audit log", entries).await.unwrap();
        let of_campaign = AuditFilter {
            campaign_id: Some(campaign),
            action: None,
        };
        let entries = engine.audit.list(&who, of_campaign, &page);
        self.of("audit log of a campaign", entries).await.unwrap();
        let store = &self.f.store;
        self.of("audit head", store.audit_head(ACCOUNT))
            .await
            .unwrap();
        self.of("forget responses", store.forget_responses(self.f.now()))
            .await
            .unwrap();
        self.of("health", store.check()).await.unwrap();
    }
}

/// Use case; statements; plannings for a run of 10 segments and for one of 500. The statements are
/// the same for both.
const EXPECTED: &[(&str, u32, u32, u32)] = &[
    ("group: create", 5, 0, 0),
    ("group: import", 15, 2, 2),
    ("campaign: create, segments not counted yet", 16, 2, 2),
    ("launch", 12, 0, 3),
    ("lease", 4, 0, 0),
    ("settle", 10, 1, 3),
    ("lease, nothing due", 2, 0, 0),
    ("edit", 12, 1, 1),
    ("review one", 11, 2, 2),
    ("review all", 10, 2, 2),
    ("publish", 10, 2, 2),
    ("campaign: create", 8, 0, 0),
    ("launch again", 12, 0, 3),
    ("cancel", 10, 0, 0),
    ("preview", 5, 2, 3),
    ("initiate, all matched", 11, 0, 2),
    ("cancel of a rerun", 11, 0, 0),
    ("initiate, all matched, with a key", 13, 0, 2),
    ("initiate, a key's second time", 1, 0, 0),
    ("archive", 1, 0, 0),
    ("preview, segments not counted yet", 15, 6, 7),
    ("initiate, all new", 16, 2, 7),
    ("history", 1, 0, 0),
    ("messages of the current run", 1, 0, 0),
    ("messages of a run", 1, 0, 0),
    ("messages of every run", 1, 0, 0),
    ("diff", 3, 2, 2),
    ("campaigns", 1, 0, 0),
    ("campaign", 1, 0, 0),
    ("groups", 1, 0, 0),
    ("audit log", 1, 0, 0),
    ("audit log of a campaign", 2, 0, 0),
    ("audit head", 1, 0, 0),
    ("forget responses", 1, 0, 0),
    ("health", 3, 2, 2),
];

#[test]
fn use_cases_go_to_the_server_as_often_as_is_known() {
    let server = LoggedServer::start(&[("log_min_duration_statement", "0")]);
    let mut admin = PgConnection::establish(&server.url()).unwrap();
    admin
        .batch_execute("SET log_min_duration_statement = -1")
        .unwrap();
    let fixture = Fixture::new(server.store(""));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let count = |size| {
        let mut counted = Counted {
            server: &server,
            f: &fixture,
            trips: Vec::new(),
        };
        runtime.block_on(counted.story(size));
        counted.trips
    };
    // A connection prepares what it keeps prepared when it first needs it.
    count(10);
    count(500);
    let (few, many) = (count(10), count(500));
    let mut table = String::new();
    for ((name, few), (_, many)) in few.iter().zip(&many) {
        assert_eq!(few.statements, many.statements, "{name}: statements");
        let (statements, few, many) = (few.statements, few.plannings, many.plannings);
        writeln!(table, "    ({name:?}, {statements}, {few}, {many}),").unwrap();
    }
    let mut expected = String::new();
    for row in EXPECTED {
        writeln!(expected, "    {row:?},").unwrap();
    }
    assert!(
        table == expected,
        "went to the server:\n{table}expected:\n{expected}"
    );
}

/// Statements that the store has sent since the last call, by the table that they write to.
fn written(server: &LoggedServer) -> BTreeMap<String, u32> {
    const WRITES: [&str; 2] = ["INSERT INTO ", "UPDATE "];
    let mut written = BTreeMap::new();
    for entry in server.new_entries() {
        let executed = entry.split_whitespace().nth(3) == Some("execute");
        for write in WRITES.iter().filter(|_| executed) {
            for rest in entry.split(write).skip(1) {
                let table = rest.split_whitespace().next();
                *written.entry(table.unwrap().to_owned()).or_default() += 1;
            }
        }
    }
    written
}

/// Each statement has the limit of time to itself, and takes the values of 10,000 segments at most.
#[test]
fn a_large_run_is_written_in_slices() {
    const SEGMENTS: usize = 25_000;
    let server = LoggedServer::start(&[("log_min_duration_statement", "0")]);
    let f = Fixture::new(server.store(""));
    let countries: Vec<String> = (0..SEGMENTS + 5_000).map(|n| format!("c{n}")).collect();
    let countries = borrowed(&countries);
    let expect = |what: &str, statements: u32, tables: &[&str]| {
        let written = written(&server);
        for table in tables {
            let sent = written.get(*table);
            assert_eq!(sent, Some(&statements), "{what}: {table} of {written:?}");
        }
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let group = f.group(&countries[..SEGMENTS]).await;
        let campaign = f.draft(group).await;
        expect("a count", 3, &["group_segments"]);
        f.launch(campaign).await;
        let tables = ["segments", "messages", "generation_tasks"];
        expect("a launch", 3, &tables);
        f.generate().await;
        server.new_entries();
        f.review_all(campaign, Decision::Approve).await;
        expect("a review", 3, &["messages"]);
        f.publish(campaign).await;
        expect("a publication", 3, &["messages"]);
        let other = f.group(&countries[5_000..]).await;
        server.new_entries();
        f.rerun(campaign, other).await;
        // Each slice has new segments and some that reuse a message.
        expect("a rerun", 6, &["messages"]);
        let segments = f.current_run(campaign).await.segments;
        assert_eq!((segments.matched, segments.new), (20_000, 5_000));
        f.check().await;
    });
}
