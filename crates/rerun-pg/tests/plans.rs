//! How PostgreSQL comes to the rows of each list, as `EXPLAIN (ANALYZE, BUFFERS)` tells: the
//! statements are those that the store sends, and the extension `auto_explain` writes down how each
//! went.
#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests misses their helpers"
)]

mod deliveries;
mod launches;
mod logged;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use logged::LoggedServer;
use rerun_contract::fixture::{ACCOUNT, page_of, run_number};
use rerun_core::Timestamp;
use rerun_core::audit::AuditAction;
use rerun_core::campaign::CampaignStatus;
use rerun_core::diff::{DiffCounts, DiffKey};
use rerun_core::generation::{GenerationTask, TaskOutcome, TaskResult};
use rerun_core::ids::{
    AccountId, AuditEntryId, CampaignId, ContentId, CustomerGroupId, LeaseId, ScheduleId,
};
use rerun_core::message::{Content, ReviewStatus, Source};
use rerun_core::page::{CreatedKey, Limit, MessageKey, Page};
use rerun_core::ports::{
    AuditFilter, AuditStore, CampaignStore, CandidateQuery, CustomerGroupStore, EventFilter,
    EventLog, GenerationQueue, HistoryStore, LeaseTasks, MessageFilter, MessageOfRun,
    MessageSelection, RecipientStore, RerunStore, ScheduleQueue, ScheduleStore, SettleRun,
};
use rerun_core::schedule::{FiringKey, Outcome};
use rerun_core::segment::SegmentBy;
use rerun_pg::PgStore;
use serde_json::Value;
use uuid::Uuid;

const LIMIT: u16 = 10;
/// What a list may read to fill a page and know whether there is a next.
const PAGE: u32 = 11;
/// How many messages a run of the campaign has.
const RUN: u32 = 300;
/// How many entries an account has in the audit log.
const ENTRIES: u32 = 40_000;
/// PostgreSQL may keep a plan from the sixth call on.
const CALLS: usize = 8;

const OTHER: AccountId = AccountId::new(Uuid::from_u128(0xbbbb_bbbb_0000_4000_8000_0000_0000_0002));
const CAMPAIGN: CampaignId = CampaignId::new(id(2, 1));
const GROUP: CustomerGroupId = CustomerGroupId::new(id(1, 1));

/// As the seed makes ids, for a kind and a number below ten.
const fn id(kind: u128, n: u128) -> Uuid {
    Uuid::from_u128((0xcccc_cccc_0000_4000_8000_0000_0000_0000 | (kind << 48)) + n)
}

/// Per table, the most rows that a statement may read of it.
type Bounds = &'static [(&'static str, u32)];

/// What a statement read of one table.
#[derive(Default)]
struct Read {
    rows: f64,
    looks: f64,
}

/// How a statement went.
#[derive(Default)]
struct Seen {
    read: BTreeMap<String, Read>,
    /// Pairs of rows that a join compared in vain.
    compared: f64,
    faults: Vec<String>,
    /// The plan in lines, for a message.
    outline: String,
}

impl Seen {
    fn walk(&mut self, node: &Value, depth: usize) {
        self.walk_beside(node, depth, 0.0);
    }

    /// Looks at a node whose blocks include so many that were counted at a node beside it.
    fn walk_beside(&mut self, node: &Value, depth: usize, counted: f64) {
        let kind = node["Node Type"].as_str().unwrap();
        let number = |name: &str| node[name].as_f64().unwrap_or_default();
        let (rows, loops) = (number("Actual Rows"), number("Actual Loops"));
        let touched = |node: &Value| {
            let blocks = |name: &str| node[name].as_f64().unwrap_or_default();
            blocks("Shared Hit Blocks") + blocks("Shared Read Blocks")
        };
        let children = || node["Plans"].as_array().into_iter().flatten();
        // What is planned to come first is done when it is needed: within a node beside it.
        let comes_first = |node: &&Value| node["Parent Relationship"] == "InitPlan";
        let first: f64 = children().filter(comes_first).map(touched).sum();
        let within: f64 = children()
            .filter(|child| !comes_first(child))
            .map(touched)
            .sum();
        // Those of a node include its children's.
        let blocks = touched(node) - counted - within.max(first);
        let table = node["Relation Name"].as_str();
        let index = node["Index Name"].as_str().unwrap_or_default();
        let of = table.unwrap_or_default();
        writeln!(
            self.outline,
            "{:indent$}{kind} {of} {index}: {rows} rows, {loops} loops, {blocks} blocks",
            "",
            indent = 2 * depth
        )
        .unwrap();
        self.compared += number("Rows Removed by Join Filter") * loops;
        if kind == "Seq Scan" {
            self.faults.push(format!("all of {of} is read"));
        }
        for (name, removed) in node.as_object().unwrap() {
            if name.starts_with("Rows Removed") && removed.as_f64() != Some(0.0) {
                self.faults.push(format!("{name} in {of}: {removed}"));
            }
        }
        // The plan shows a mean of all loops, which hides a few removed rows.
        if loops > 1.0 && (node.get("Filter").is_some() || node.get("Join Filter").is_some()) {
            self.faults.push(format!("rows of {of} are read in vain"));
        }
        if kind.ends_with("Scan")
            && let Some(table) = table
        {
            let read = self.read.entry(table.to_owned()).or_default();
            read.rows += (rows + number("Rows Removed by Filter")) * loops;
            read.looks = read.looks.max(loops);
            // Three levels of an index and the row, for each; who reads through the rest of an
            // index to find few rows reads more.
            if blocks > 4.0f64.mul_add(loops.max(rows * loops), 4.0) {
                self.faults.push(format!("{blocks} blocks of {table}"));
            }
        }
        let mut beside = first;
        for child in children() {
            let counted = if comes_first(&child) {
                0.0
            } else {
                std::mem::take(&mut beside)
            };
            self.walk_beside(child, depth + 1, counted);
        }
    }

    fn compare(&mut self, bounds: &[(&str, u32)]) {
        self.exceeds(bounds);
        for (table, _) in bounds {
            if !self.read.contains_key(*table) {
                self.faults.push(format!("nothing is read of {table}"));
            }
        }
    }

    fn exceeds(&mut self, bounds: &[(&str, u32)]) {
        for (table, read) in &self.read {
            let bound = bounds.iter().find(|(name, _)| name == table);
            let most = bound.map_or(0.0, |(_, most)| f64::from(*most));
            let Read { rows, looks } = read;
            if *rows > most || *looks > most {
                self.faults.push(format!(
                    "{rows} rows of {table} in {looks} looks, where {most} do"
                ));
            }
        }
    }
}

struct Lists<'a> {
    server: &'a LoggedServer,
    state: String,
    faults: &'a RefCell<Vec<String>>,
}

/// The plans of the store's statements since the last call.
fn new_plans(server: &LoggedServer) -> Vec<Value> {
    let plan = |entry: &String| {
        let (_, plan) = entry.split_once("plan:\n").unwrap();
        serde_json::from_str(plan).unwrap()
    };
    server.new_entries().iter().map(plan).collect()
}

impl Lists<'_> {
    /// Reads a list some times, and looks at how each statement went.
    async fn check(&self, list: &str, statements: &[Bounds], read: impl AsyncFn()) {
        for call in 1..=CALLS {
            self.server.new_entries();
            read().await;
            let plans = new_plans(self.server);
            let list = format!("{list}, {}, call {call}", self.state);
            assert_eq!(plans.len(), statements.len(), "{list}: {plans:#?}");
            for (plan, bounds) in plans.iter().zip(statements) {
                let mut seen = Seen::default();
                seen.walk(&plan["Plan"], 1);
                seen.compare(bounds);
                if !seen.faults.is_empty() {
                    let (faults, outline) = (seen.faults.join("; "), seen.outline);
                    let fault = format!("{list}: {faults}\n{outline}");
                    self.faults.borrow_mut().push(fault);
                }
            }
        }
    }
}

impl Lists<'_> {
    /// Does something some times, and looks at how each of its statements went: none reads more rows of a
    /// table than the bounds say, those that a filter drops included, and all together read each of the tables.
    /// Of `whole` tables every row may be read.
    async fn check_each(
        &self,
        what: &str,
        bounds: &[(&str, u32)],
        whole: &[&str],
        act: impl AsyncFn(),
    ) {
        for call in 1..=CALLS {
            self.server.new_entries();
            act().await;
            let what = format!("{what}, {}, call {call}", self.state);
            let mut tables = BTreeSet::new();
            let mut faults = self.faults.borrow_mut();
            for plan in new_plans(self.server) {
                let mut seen = Seen::default();
                seen.walk(&plan["Plan"], 1);
                let is_whole = |fault: &str| whole.iter().any(|table| fault.contains(table));
                seen.faults.retain(|fault| {
                    fault.starts_with("all of") && !is_whole(fault)
                        || fault.starts_with("Rows Removed by Join")
                });
                seen.exceeds(bounds);
                if !seen.faults.is_empty() {
                    let (found, outline) = (seen.faults.join("; "), seen.outline);
                    let text = &plan["Query Text"];
                    faults.push(format!("{what}: {found}\n  {text}\n{outline}"));
                }
                tables.extend(seen.read.into_keys());
            }
            for (table, _) in bounds {
                if !tables.contains(*table) {
                    faults.push(format!("{what}: nothing is read of {table}"));
                }
            }
        }
    }
}

fn full<T, K>(page: &Page<T, K>) {
    assert_eq!(page.items.len(), usize::from(LIMIT));
    assert!(page.next.is_some());
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A place in the middle of a list of what was made one after another.
fn middle(kind: u128) -> CreatedKey {
    CreatedKey {
        created_at: time("2026-01-01T00:03:20Z"),
        id: id(kind, 0x200),
    }
}

async fn history(lists: &Lists<'_>, store: &PgStore) {
    let bounds: Bounds = &[("campaigns", 1), ("runs", PAGE)];
    for (name, after) in [("first page", None), ("deep page", Some(run_number(60)))] {
        lists
            .check(&format!("history, {name}"), &[bounds], async || {
                let page = page_of(LIMIT.into(), after);
                let history = store.history(ACCOUNT, CAMPAIGN, page).await.unwrap();
                full(&history.unwrap().runs);
            })
            .await;
    }
}

async fn messages(lists: &Lists<'_>, store: &PgStore) {
    use MessageSelection::{CurrentRun, EveryRun, Run};
    let bounds: Bounds = &[
        ("campaigns", 1),
        ("runs", 1),
        ("messages", PAGE),
        ("segments", PAGE),
        ("contents", PAGE),
    ];
    let of_every_run: Bounds = &[
        ("campaigns", 1),
        ("runs", PAGE),
        ("messages", PAGE),
        ("segments", PAGE),
        ("contents", PAGE),
    ];
    let after = |run, segment_no| {
        Some(MessageKey {
            run_number: run_number(run),
            segment_no,
        })
    };
    for (name, selection, after, bounds) in [
        ("current run, first page", CurrentRun, None, bounds),
        (
            "current run, deep page",
            CurrentRun,
            after(200, 150),
            bounds,
        ),
        ("one run, first page", Run(run_number(195)), None, bounds),
        (
            "one run, deep page",
            Run(run_number(195)),
            after(195, 150),
            bounds,
        ),
        ("every run, first page", EveryRun, None, of_every_run),
        (
            "every run, deep page",
            EveryRun,
            after(195, 150),
            of_every_run,
        ),
        (
            "every run, from one run to the next",
            EveryRun,
            after(195, 295),
            of_every_run,
        ),
    ] {
        lists
            .check(&format!("messages, {name}"), &[bounds], async || {
                let page = page_of(LIMIT.into(), after);
                let list = store.messages(ACCOUNT, CAMPAIGN, selection, page).await;
                full(&list.unwrap().unwrap().messages);
            })
            .await;
    }
}

async fn message_of_a_segment(lists: &Lists<'_>, store: &PgStore) {
    let page = page_of(1, None);
    let list = store.messages(ACCOUNT, CAMPAIGN, MessageSelection::CurrentRun, page);
    let message = list.await.unwrap().unwrap().messages.items.remove(0);
    let found: Bounds = &[("segments", 1), ("messages", 1)];
    let read: Bounds = &[
        ("messages", 1),
        ("runs", 1),
        ("segments", 1),
        ("contents", 1),
    ];
    lists
        .check("message of a segment", &[found, read], async || {
            let which = MessageOfRun::Segment(message.segment.key);
            let run = message.run_number;
            let read = store.message_of_run(ACCOUNT, CAMPAIGN, run, which).await;
            assert_eq!(read.unwrap().as_ref(), Some(&message));
        })
        .await;
}

/// Of the messages of the current run, 12 wait and were written by hand: a page of them costs what
/// 12 rows cost.
async fn filtered_messages(lists: &Lists<'_>, store: &PgStore) {
    let bounds: Bounds = &[
        ("campaigns", 1),
        ("runs", 1),
        ("messages", PAGE),
        ("segments", PAGE),
        ("contents", PAGE),
    ];
    let of_every_run: Bounds = &[
        ("campaigns", 1),
        ("runs", PAGE),
        ("messages", PAGE),
        ("segments", PAGE),
        ("contents", PAGE),
    ];
    let by = |status, stage, source| MessageFilter {
        status,
        stage,
        source,
        segment: None,
    };
    let pending = Some(ReviewStatus::PendingReview);
    let key = Some(MessageKey {
        run_number: run_number(200),
        segment_no: 25,
    });
    for (name, filter) in [
        ("by status", by(pending, None, None)),
        ("by stage", by(None, Some(0), None)),
        ("by source", by(None, None, Some(Source::Edited))),
        ("by all", by(pending, Some(0), Some(Source::Edited))),
    ] {
        for (selection, after, bounds) in [
            (MessageSelection::CurrentRun, None, bounds),
            (MessageSelection::Run(run_number(200)), key, bounds),
            (MessageSelection::EveryRun, None, of_every_run),
        ] {
            let name = format!("messages {name}, {selection:?} after {after:?}");
            lists
                .check(&name, &[bounds], async || {
                    let page = page_of(LIMIT.into(), after);
                    let list = store
                        .filtered_messages(ACCOUNT, CAMPAIGN, selection, filter.clone(), page)
                        .await;
                    full(&list.unwrap().unwrap().messages);
                })
                .await;
        }
    }
}

async fn campaigns_and_groups(lists: &Lists<'_>, store: &PgStore) {
    for (name, kind_after) in [("first page", None), ("deep page", Some(()))] {
        for status in [
            None,
            Some(CampaignStatus::Published),
            Some(CampaignStatus::Draft),
        ] {
            let bounds: Bounds = &[("campaigns", PAGE)];
            let list = format!("campaigns, {status:?}, {name}");
            lists
                .check(&list, &[bounds], async || {
                    let page = page_of(LIMIT.into(), kind_after.map(|()| middle(2)));
                    let campaigns = store.list_campaigns(ACCOUNT, status, page).await;
                    full(&campaigns.unwrap());
                })
                .await;
        }
        let bounds: Bounds = &[("customer_groups", PAGE)];
        lists
            .check(&format!("groups, {name}"), &[bounds], async || {
                let page = page_of(LIMIT.into(), kind_after.map(|()| middle(1)));
                full(&store.list_groups(ACCOUNT, page).await.unwrap());
            })
            .await;
    }
}

async fn audit(lists: &Lists<'_>, store: &PgStore) {
    let entries: Bounds = &[("audit_entries", PAGE)];
    let campaign: Bounds = &[("campaigns", 1)];
    for campaign_id in [None, Some(CAMPAIGN)] {
        for action in [None, Some(AuditAction::CampaignLaunched)] {
            for after in [None, Some(2_000)] {
                let filter = AuditFilter {
                    campaign_id,
                    action,
                };
                let statements = match campaign_id {
                    Some(_) => &[campaign, entries][..],
                    None => &[entries],
                };
                let list = format!("audit, {filter:?} after {after:?}");
                lists
                    .check(&list, statements, async || {
                        let page = page_of(LIMIT.into(), after.map(rerun_core::page::AuditKey));
                        let found = store.list_audit(ACCOUNT, filter, page).await.unwrap();
                        full(&found.unwrap());
                    })
                    .await;
            }
        }
    }
    for campaign_id in [None, Some(CAMPAIGN)] {
        for types in [
            vec![],
            vec![AuditAction::CampaignLaunched],
            vec![
                AuditAction::CampaignLaunched,
                AuditAction::CampaignPublished,
            ],
        ] {
            let filter = EventFilter {
                campaign_id,
                types: (!types.is_empty()).then_some(types),
            };
            // Each type has rows of its own.
            let of_two: Bounds = &[("audit_entries", 2 * PAGE)];
            let several = filter.types.as_ref().is_some_and(|types| types.len() > 1);
            let entries = if several { of_two } else { entries };
            let head: Bounds = &[("audit_heads", 1)];
            let statements = match campaign_id {
                Some(_) => &[campaign, head, entries][..],
                None => &[head, entries],
            };
            lists
                .check(&format!("events, {filter:?}"), statements, async || {
                    let limit = Limit::new(LIMIT.into()).unwrap();
                    let found = store.events(ACCOUNT, &filter, 100, limit).await;
                    let found = found.unwrap().unwrap();
                    assert_eq!(found.events.len(), usize::from(LIMIT));
                })
                .await;
        }
    }
    let heads: Bounds = &[("audit_heads", 2)];
    lists
        .check("heads", &[heads], async || {
            let found = store.event_heads(&[ACCOUNT, OTHER]).await.unwrap();
            assert_eq!(found.len(), 2);
        })
        .await;
    lists
        .check("audit chain", &[&[("audit_entries", 10)]], async || {
            let entries = store.audit_chain(ACCOUNT, 2_000, LIMIT).await.unwrap();
            assert_eq!(entries.len(), usize::from(LIMIT));
        })
        .await;
    // What the account has is held against its entries once for each kind, not once for each row.
    for _ in 0..CALLS {
        lists.server.new_entries();
        assert!(store.first_unlogged(ACCOUNT).await.unwrap().is_some());
        for plan in new_plans(lists.server) {
            let mut seen = Seen::default();
            seen.walk(&plan["Plan"], 1);
            let rows = seen.read["audit_entries"].rows;
            if rows > f64::from(10 * ENTRIES) {
                let (state, outline) = (&lists.state, seen.outline);
                let fault = format!("unlogged, {state}: {rows} rows of audit_entries\n{outline}");
                lists.faults.borrow_mut().push(fault);
            }
        }
    }
}

/// A comparison counts both runs whole; its items are a list.
async fn schedules(lists: &Lists<'_>, store: &PgStore) {
    let of_a_page: [Bounds; 2] = [
        &[("schedules", PAGE)],
        // The last firing of each.
        &[("schedule_firings", PAGE)],
    ];
    for (name, after) in [("first page", None), ("deep page", Some(middle(9)))] {
        lists
            .check(&format!("schedules, {name}"), &of_a_page, async || {
                let page = page_of(LIMIT.into(), after);
                full(&store.list_schedules(ACCOUNT, page).await.unwrap());
            })
            .await;
    }
    let deep = FiringKey {
        scheduled_for: time("2026-01-01T00:16:40Z"),
        triggered: false,
    };
    for outcome in [None, Some(Outcome::Started), Some(Outcome::Missed)] {
        for (name, after) in [("first page", None), ("deep page", Some(deep))] {
            let bounds: Bounds = &[("schedule_firings", PAGE)];
            let list = format!("firings, {outcome:?}, {name}");
            lists
                .check(&list, &[bounds], async || {
                    let (schedule, page) =
                        (ScheduleId::new(id(9, 1)), page_of(LIMIT.into(), after));
                    let firings = store.firings(ACCOUNT, schedule, outcome, page).await;
                    full(&firings.unwrap());
                })
                .await;
        }
    }
    // A lease that ends at once leaves them due. Their accounts are found first.
    let now = time("2026-03-01T00:00:00Z");
    let bounds: [Bounds; 2] = [&[("schedules", 10)], &[("schedules", 2 * 10)]];
    lists
        .check("due schedules", &bounds, async || {
            let due = store.lease_schedules(now, now, 10).await.unwrap();
            assert_eq!(due.len(), 10);
        })
        .await;
}

async fn diff(lists: &Lists<'_>, store: &PgStore) {
    let counts = DiffCounts {
        kept_changed: i64::from(RUN),
        ..DiffCounts::default()
    };
    let deep = DiffKey {
        segment_no: 150,
        counts,
    };
    let runs: Bounds = &[("campaigns", 1), ("runs", 2)];
    let counted: Bounds = &[("messages", 2 * RUN)];
    let items: Bounds = &[("messages", 2 * PAGE), ("segments", PAGE)];
    for (name, after, statements) in [
        ("first page", None, vec![runs, counted, items]),
        ("deep page", Some(deep), vec![runs, items]),
    ] {
        lists
            .check(&format!("diff, {name}"), &statements, async || {
                let page = page_of(LIMIT.into(), after);
                let (from, to) = (run_number(199), run_number(200));
                let diff = store.diff(ACCOUNT, CAMPAIGN, from, to, page).await.unwrap();
                let diff = diff.unwrap();
                assert_eq!(diff.counts, counts);
                full(&diff.items);
            })
            .await;
    }
}

async fn kept_counts(lists: &Lists<'_>, store: &PgStore) {
    let kept: Bounds = &[
        ("customer_groups", 1),
        ("segmentations", 1),
        ("group_segments", PAGE),
    ];
    let segment_by = SegmentBy::new(&["country"]).unwrap();
    let query = CandidateQuery {
        account_id: ACCOUNT,
        group_id: GROUP,
        segment_by: segment_by.clone(),
        reuse: None,
        limit: LIMIT.into(),
    };
    lists
        .check("kept counts", &[kept], async || {
            let counts = store.segment_candidates(query.clone()).await.unwrap();
            assert_eq!(counts.segments.len(), usize::from(LIMIT) + 1);
        })
        .await;
    let counts = store.segment_candidates(query.clone()).await.unwrap();
    let keys: Vec<_> = counts.segments.iter().map(|segment| segment.key).collect();
    lists
        .check("kept attributes of a page", &[kept], async || {
            let keys = keys.clone();
            let segments = store.segments(ACCOUNT, GROUP, &segment_by, keys).await;
            assert_eq!(segments.unwrap().len(), usize::from(LIMIT) + 1);
        })
        .await;
}

fn request(account_id: AccountId, lease: LeaseId) -> LeaseTasks {
    LeaseTasks {
        account_id,
        lease,
        limit: LIMIT.into(),
        bytes: 1 << 20,
        now: time("2026-03-01T00:00:00Z"),
        until: time("2026-03-01T00:05:00Z"),
    }
}

/// A lease reads each task once to find it, and once to take it.
async fn lease(lists: &Lists<'_>, store: &PgStore) {
    let statements: [Bounds; 3] = [
        &[
            ("generation_tasks", 2 * 10),
            ("messages", 10),
            ("segments", 10),
            ("campaigns", 1),
        ],
        &[("runs", 1)],
        &[("campaigns", 1)],
    ];
    let now = time("2026-03-01T00:00:00Z");
    // The first reader marks the rows that were deleted before; its plan would show that work.
    store.due_accounts(None, 10, now).await.unwrap();
    // The runs that have not ended, and then for each of their accounts whether a task is due.
    let bounds: Bounds = &[("runs", 201), ("generation_tasks", 8)];
    lists
        .check_each("due accounts", bounds, &[], async || {
            let accounts = store.due_accounts(None, 10, now).await.unwrap();
            assert_eq!(accounts.len(), 2);
        })
        .await;
    lists
        .check("lease", &statements, async || {
            let lease = LeaseId::new(Uuid::from_u128(1));
            let tasks = store.lease(request(ACCOUNT, lease)).await.unwrap();
            assert_eq!(tasks.len(), usize::from(LIMIT));
        })
        .await;
}

/// Results of generation are stored by looking each task and each message up once, and writing it
/// once.
async fn settle(lists: &Lists<'_>, store: &PgStore) {
    let now = time("2026-03-01T00:00:00Z");
    let lease = LeaseId::new(Uuid::from_u128(2));
    let content = || Content {
        subject: "s".into(),
        body: "b".into(),
    };
    let outcome = |nth: usize| match nth % 5 {
        0 | 1 => TaskOutcome::Generated(content()),
        2 => TaskOutcome::Failed { error: "e".into() },
        3 => TaskOutcome::RetryAt {
            at: now,
            error: "e".into(),
        },
        _ => TaskOutcome::PutOff {
            at: now,
            wait: Duration::from_secs(1),
            error: "e".into(),
        },
    };
    let result = |(nth, task): (usize, &GenerationTask)| TaskResult {
        account_id: task.account_id,
        campaign_id: task.campaign_id,
        run_number: task.run_number,
        message_id: task.message_id,
        content_id: ContentId::new(task.message_id.as_uuid()),
        outcome: outcome(nth),
        usage: None,
    };
    // A lease reads each task once to find it, and once to take it.
    let limit = u32::from(LIMIT);
    let bounds: &[(&str, u32)] = &[
        ("generation_tasks", 2 * limit),
        ("messages", limit),
        ("segments", limit),
        ("campaigns", 1),
        ("runs", 1),
    ];
    lists
        .check_each("lease and settle", bounds, &[], async || {
            // Each account has tasks enough for one of the two checks.
            let tasks = store.lease(request(OTHER, lease)).await.unwrap();
            let run = &tasks[0];
            let settle = SettleRun {
                account_id: run.account_id,
                campaign_id: run.campaign_id,
                run_number: run.run_number,
                lease,
                results: tasks.iter().enumerate().map(result).collect(),
                audit_id: AuditEntryId::new(Uuid::from_u128(3)),
                now,
            };
            let settled = store.settle(settle).await.unwrap().settled;
            assert_eq!((settled.generated, settled.failed), (4, 2));
            assert_eq!((settled.retried, settled.put_off), (2, 2));
        })
        .await;
}

/// A server that logs plans, and a connection to it that does not.
fn server() -> (LoggedServer, PgConnection) {
    let server = LoggedServer::start(&[
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_buffers", "on"),
        ("auto_explain.log_format", "json"),
    ]);
    let admin = quiet(&server);
    (server, admin)
}

fn quiet(server: &LoggedServer) -> PgConnection {
    let mut connection = PgConnection::establish(&server.url()).unwrap();
    connection
        .batch_execute("SET auto_explain.log_min_duration = -1")
        .unwrap();
    connection
}

const WITH_STATISTICS: &str = "with statistics";
const WITHOUT_STATISTICS: &str = "without statistics";
const WITH_OLDER_STATISTICS: &str = "with older statistics";
const NEARLY_EMPTY: &str = "analysed while nearly empty";

/// Reads every list, with plans as they come and with kept ones; answers what is wrong with them.
fn faults_of_all(server: &LoggedServer, statistics: &str) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let faults = RefCell::default();
    for (plans, settings) in [
        ("plans as they come", ""),
        (
            "kept plans",
            "&options=-c%20plan_cache_mode%3Dforce_generic_plan",
        ),
    ] {
        if statistics == WITH_STATISTICS {
            // What reading the lists before this left behind is no part of a plan.
            quiet(server)
                .batch_execute(
                    "VACUUM ANALYZE generation_tasks, webhook_deliveries, webhook_attempts",
                )
                .unwrap();
        }
        let store = server.store(settings);
        let lists = Lists {
            server,
            state: format!("{statistics}, {plans}"),
            faults: &faults,
        };
        runtime.block_on(async {
            history(&lists, &store).await;
            messages(&lists, &store).await;
            message_of_a_segment(&lists, &store).await;
            filtered_messages(&lists, &store).await;
            campaigns_and_groups(&lists, &store).await;
            audit(&lists, &store).await;
            schedules(&lists, &store).await;
            kept_counts(&lists, &store).await;
            lease(&lists, &store).await;
            settle(&lists, &store).await;
            // Deliveries are looked at with statistics alone: a database has them soon after its first
            // deliveries.
            match statistics {
                NEARLY_EMPTY => deliveries::of_each_account(&lists, &store).await,
                WITH_STATISTICS | WITH_OLDER_STATISTICS if settings.is_empty() => {
                    deliveries::all(&lists, &store).await;
                }
                _ => {}
            }
            // Its statements are planned for each call, whatever plans are kept.
            if settings.is_empty() {
                diff(&lists, &store).await;
            }
        });
    }
    faults.into_inner()
}

fn none(faults: &[String]) {
    let count = faults.len();
    assert!(faults.is_empty(), "{count} faults:\n{}", faults.join("\n"));
}

const SEED: &str = include_str!("seed.sql");

/// The same for two other accounts.
fn older_seed() -> String {
    SEED.replace("'aaaaaaaa-", "'aaaaaaa0-")
        .replace("'bbbbbbbb-", "'bbbbbbb0-")
}

#[test]
fn lists_read_their_page_and_one_row_more() {
    let (server, mut admin) = server();
    admin.batch_execute(SEED).unwrap();
    let mut faults = faults_of_all(&server, WITHOUT_STATISTICS);
    admin.batch_execute("ANALYZE").unwrap();
    faults.extend(faults_of_all(&server, WITH_STATISTICS));
    none(&faults);
}

/// Statistics are of a moment: they know nothing of an account that came after it, and tell the
/// planner that it has no rows.
#[test]
fn lists_of_a_new_account_read_their_page_and_one_row_more() {
    let (server, mut admin) = server();
    for step in [
        older_seed().as_str(),
        "ANALYZE",
        // The older accounts' messages have been generated since, and their schedules deleted.
        "DELETE FROM generation_tasks",
        "VACUUM generation_tasks",
        "DELETE FROM schedules",
        "DELETE FROM webhook_attempts",
        "DELETE FROM webhook_deliveries",
        "VACUUM webhook_deliveries",
        "DELETE FROM webhooks",
        "DELETE FROM event_cursors",
    ] {
        admin.batch_execute(step).unwrap();
    }
    quiet(&server).batch_execute(SEED).unwrap();
    none(&faults_of_all(&server, WITH_OLDER_STATISTICS));
}

/// Every table has one row, by its statistics, on as many pages as it really has.
const LEAVE_ONE_ROW: &str = "
    SET session_replication_role = replica;
    DO $$ DECLARE filled record; BEGIN
        FOR filled IN SELECT relname FROM pg_class
            WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
                AND relname <> '__diesel_schema_migrations'
        LOOP
            EXECUTE format('DELETE FROM %I WHERE ctid < (SELECT max(ctid) FROM %I)',
                filled.relname, filled.relname);
        END LOOP;
    END $$;
    RESET session_replication_role";

/// Tables are analysed while they are nearly empty, and then filled at once: the planner expects one
/// row wherever there are thousands.
#[test]
fn rows_are_looked_up_by_key_after_tables_were_analysed_while_nearly_empty() {
    let (server, mut admin) = server();
    for step in [
        older_seed().as_str(),
        LEAVE_ONE_ROW,
        "VACUUM (ANALYZE, TRUNCATE false)",
        "DELETE FROM generation_tasks",
        "DELETE FROM webhook_attempts",
        "DELETE FROM webhook_deliveries",
        "DELETE FROM webhooks",
        "DELETE FROM event_cursors",
    ] {
        admin.batch_execute(step).unwrap();
    }
    quiet(&server).batch_execute(SEED).unwrap();
    none(&faults_of_all(&server, NEARLY_EMPTY));
}

/// How many blocks of the queue a statement that begins so touched, each time that it was sent.
fn blocks_of_queue(plans: &[Value], begins: &str) -> Vec<f64> {
    fn of(node: &Value) -> f64 {
        let number = |name: &str| node[name].as_f64().unwrap_or_default();
        let own = match node["Index Name"].as_str() {
            Some("generation_tasks_by_account") => {
                number("Shared Hit Blocks") + number("Shared Read Blocks")
            }
            _ => 0.0,
        };
        let plans = node["Plans"].as_array().into_iter().flatten();
        own + plans.map(of).sum::<f64>()
    }
    let text = |plan: &&Value| plan["Query Text"].as_str().unwrap().starts_with(begins);
    plans
        .iter()
        .filter(text)
        .map(|plan| of(&plan["Plan"]))
        .collect()
}

/// Until a vacuum, an index has entries of work that was done, in front of what is due.
#[test]
fn a_lease_begins_behind_what_was_leased_before() {
    const DONE: &str = "
        SET session_replication_role = replica;
        INSERT INTO generation_tasks (account_id, message_id, campaign_id, run_number, due_at)
            SELECT t.account_id, gen_random_uuid(), t.campaign_id, 1, '2026-01-01'
            FROM generate_series(1, 20000), (SELECT * FROM generation_tasks
                WHERE account_id::text LIKE 'aaaa%' LIMIT 1) t;
        DELETE FROM generation_tasks WHERE due_at = '2026-01-01'";
    let (server, mut admin) = server();
    admin.batch_execute(SEED).unwrap();
    admin.batch_execute(DONE).unwrap();
    let store = server.store("");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    server.new_entries();
    for n in 0..10 {
        let now = time("2026-03-01T00:00:00Z");
        let lease = LeaseId::new(Uuid::from_u128(n));
        let tasks = runtime.block_on(store.lease(request(ACCOUNT, lease)));
        assert_eq!(tasks.unwrap().len(), usize::from(LIMIT));
        runtime.block_on(store.due_accounts(None, 10, now)).unwrap();
    }
    let plans = new_plans(&server);
    let leases = blocks_of_queue(&plans, "WITH due");
    let looks = blocks_of_queue(&plans, "SELECT a.account_id");
    assert_eq!((leases.len(), looks.len()), (10, 10));
    // Now and then all is read.
    let least = |blocks: &[f64]| blocks.iter().copied().reduce(f64::min).unwrap();
    assert!(leases[0] > 100.0, "{leases:?}");
    assert!(least(&leases) < 50.0, "{leases:?}");
    assert!(least(&looks) < 10.0, "{looks:?}");
}

/// Sorting a million customers to group them takes longer than all else that a rerun does. Here
/// there are fewer of them, and less memory in proportion.
#[test]
fn a_first_count_hashes_the_customers_and_sorts_none() {
    let (server, mut admin) = server();
    admin.batch_execute(SEED).unwrap();
    admin
        .batch_execute(&format!(
            "INSERT INTO customers (account_id, group_id, customer_ref, profile) \
             SELECT '{ACCOUNT}', '{}', 'many-' || i, \
               jsonb_build_object('country', 'c' || i % 10, 'email', i % 20000 || '@example.com') \
             FROM generate_series(1, 200000) i; ANALYZE",
            GROUP.as_uuid()
        ))
        .unwrap();
    let store =
        server.store("&options=-c%20work_mem%3D256kB%20-c%20min_parallel_table_scan_size%3D0");
    server.new_entries();
    let counts = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(store.segment_candidates(CandidateQuery {
            account_id: ACCOUNT,
            group_id: GROUP,
            segment_by: SegmentBy::new(&["country", "email"]).unwrap(),
            reuse: None,
            limit: 100_000,
        }))
        .unwrap();
    assert!(counts.segments.len() >= 20_000);
    let plans = server.new_entries();
    let counted: Vec<_> = plans
        .iter()
        .filter(|plan| plan.contains("FROM customers"))
        .collect();
    let [plan] = counted.as_slice() else {
        panic!("{plans:#?}");
    };
    assert!(plan.contains(r#""Strategy": "Hashed""#), "{plan}");
    assert!(!plan.contains(r#""Node Type": "Sort""#), "{plan}");
}
