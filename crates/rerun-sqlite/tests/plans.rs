//! How SQLite comes to the rows of each list: `EXPLAIN QUERY PLAN` of the statements that the
//! store sends.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the lint's exemption for tests misses their helpers"
)]

mod common;

use std::mem::take;
use std::sync::Mutex;
use std::time::Duration;

use diesel::connection::{
    Instrumentation, InstrumentationEvent, SimpleConnection, set_default_instrumentation,
};
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use rerun_contract::fixture::{ACCOUNT, Fixture, caller, page_of, run_number};
use rerun_core::audit::AuditAction;
use rerun_core::campaign::CampaignStatus;
use rerun_core::delivery::{Attempt, DeliveryState, Verdict};
use rerun_core::diff::{DiffCounts, DiffKey};
use rerun_core::ids::{AuditEntryId, CampaignId, CustomerGroupId, LeaseId, WebhookId};
use rerun_core::message::{ReviewStatus, Source};
use rerun_core::page::{AuditKey, CreatedKey, Limit, MessageKey};
use rerun_core::plan::ReuseFrom;
use rerun_core::ports::{
    AuditFilter, AuditStore, CampaignStore, CandidateQuery, CustomerGroupStore, DeliveryGauge,
    DeliveryKey, DeliveryQueue, EventCursors, EventFilter, EventLog, FanOut, HistoryStore,
    IdGenerator, LeaseCursor, LeaseDeliveries, MessageFilter, MessageSelection, MoveCursor, Replay,
    ReplayDeliveries, RerunStore, ScheduleQueue, ScheduleStore, SettleDelivery, WebhookStore,
};
use rerun_core::schedule::{FiringKey, Outcome};
use rerun_core::segment::SegmentBy;
use rerun_core::usecases::{NewSchedule, NewWebhook, WebhookChange};
use rerun_core::webhook::WebhookStatus;
use rerun_sqlite::{Options, SqliteStore};

/// What the store's connections have sent.
static SENT: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[expect(clippy::unnecessary_wraps, reason = "as diesel wants it")]
fn listening() -> Option<Box<dyn Instrumentation>> {
    let listen = |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            SENT.lock().unwrap().push(query.to_string());
        }
    };
    Some(Box::new(listen))
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

struct Lists {
    admin: SqliteConnection,
    state: &'static str,
    faults: Vec<String>,
}

impl Lists {
    /// Looks at the plans of what `read` sends. `allowed` are steps that would be faults.
    async fn check(&mut self, list: &str, allowed: &[&str], read: impl Future) {
        self.check_index(list, None, allowed, read).await;
    }

    /// As [`Lists::check`]. Some step must read the index.
    async fn check_index(
        &mut self,
        list: &str,
        index: Option<&str>,
        allowed: &[&str],
        read: impl Future,
    ) {
        let mut taken = index.is_none();
        SENT.lock().unwrap().clear();
        read.await;
        let sent = take(&mut *SENT.lock().unwrap());
        let mut statements = 0;
        for statement in sent {
            let (text, _) = statement
                .rsplit_once(" -- binds:")
                .unwrap_or((&statement, ""));
            let first = text.split_whitespace().next().unwrap_or_default();
            if matches!(first, "BEGIN" | "COMMIT") {
                continue;
            }
            statements += 1;
            let steps: Vec<String> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {text}"))
                .load::<Step>(&mut self.admin)
                .unwrap()
                .into_iter()
                .map(|step| step.detail)
                .collect();
            taken |= index.is_some_and(|index| {
                let index = format!(" INDEX {index} (");
                steps.iter().any(|step| step.contains(&index))
            });
            let fault = |step: &&String| {
                let whole = step.starts_with("SCAN ") && **step != "SCAN CONSTANT ROW";
                // `m` are messages: all that the account has.
                let every = step.starts_with("SEARCH m ") && step.contains("(account_id=?)");
                (whole || every || step.starts_with("USE TEMP B-TREE"))
                    && !allowed.contains(&step.as_str())
            };
            if let Some(fault) = steps.iter().find(fault) {
                let steps = steps.join("\n  ");
                let state = self.state;
                self.faults
                    .push(format!("{list}, {state}: {fault}\n{text}\n  {steps}"));
            }
        }
        assert!(statements > 0, "{list} sends nothing");
        if !taken {
            let state = self.state;
            self.faults
                .push(format!("{list}, {state}: not by {index:?}"));
        }
    }
}

async fn events(lists: &mut Lists, store: &SqliteStore, campaign: CampaignId) {
    for campaign_id in [None, Some(campaign)] {
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
            // Of several types, the rows of one page each, as the indexes give them out.
            let several = filter.types.as_ref().is_some_and(|types| types.len() > 1);
            let sorted: &[&str] = &["SCAN a", "USE TEMP B-TREE FOR ORDER BY"];
            let parts = if several { sorted } else { &[] };
            let entries = store.events(ACCOUNT, &filter, 1, Limit::default());
            lists
                .check(&format!("events, {filter:?}"), parts, entries)
                .await;
        }
    }
}

async fn schedules(lists: &mut Lists, f: &Fixture<SqliteStore>, campaign: CampaignId) {
    let new = NewSchedule {
        campaign,
        name: "n".into(),
        cron: Some("60".into()),
        at: None,
        time_zone: None,
        customer_group: None,
        reuse_from: ReuseFrom::CurrentRun,
        when: None,
        overlap: None,
        catch_up_seconds: None,
        jitter_seconds: None,
        ends_at: None,
    };
    let made = f.engine.schedules.create(&caller(), new, None).await;
    let schedule = made.unwrap().outcome.view.schedule;
    let store = &f.store;
    let created = CreatedKey {
        created_at: schedule.created_at,
        id: schedule.id.as_uuid(),
    };
    for after in [None, Some(created)] {
        let page = store.list_schedules(ACCOUNT, page_of(2, after));
        lists.check("schedules", &[], page).await;
    }
    let key = FiringKey {
        scheduled_for: f.now(),
        triggered: false,
    };
    for outcome in [None, Some(Outcome::Missed)] {
        for after in [None, Some(key)] {
            let firings = store.firings(ACCOUNT, schedule.id, outcome, page_of(2, after));
            lists
                .check(&format!("firings, {outcome:?}"), &[], firings)
                .await;
        }
    }
    let due = store.lease_schedules(f.now(), f.now(), 10);
    lists.check("due schedules", &[], due).await;
}

async fn webhooks(lists: &mut Lists, f: &Fixture<SqliteStore>) {
    let (store, now) = (&f.store, f.now());
    let new = NewWebhook {
        url: "https://receiver.example".into(),
        after_sequence: Some(0),
        ..NewWebhook::default()
    };
    let made = f.engine.webhooks.create(&caller(), new, None).await;
    let webhook = made.unwrap().outcome.webhook.webhook;
    let created = CreatedKey {
        created_at: webhook.created_at,
        id: webhook.id.as_uuid(),
    };
    // What waits for a webhook is counted up to a bound.
    let waiting = ["SCAN waiting"];
    for after in [None, Some(created)] {
        let page = store.list_webhooks(ACCOUNT, page_of(2, after));
        lists.check("webhooks", &waiting, page).await;
    }
    let behind = store.accounts_behind(Some(ACCOUNT), 5);
    lists.check("accounts behind", &[], behind).await;
    let fan_out = FanOut {
        account_id: ACCOUNT,
        entries: 10,
        now,
    };
    let fanned_out = store.fan_out(fan_out);
    lists.check("fan out", &waiting, fanned_out).await;
    // Accounts are found one after the other.
    let walk = ["SCAN a", "SCAN looked", "SCAN (subquery-1)"];
    let due = store.accounts_due(None, 5, now);
    lists.check("accounts due", &walk, due).await;
    let lease = LeaseDeliveries {
        account_id: ACCOUNT,
        lease: LeaseId::new(f.ids.next()),
        limit: 3,
        now,
        until: now + Duration::from_mins(1),
    };
    // An account has few webhooks.
    let sorted = ["USE TEMP B-TREE FOR ORDER BY"];
    let leased = store.lease_deliveries(lease);
    lists.check("lease of deliveries", &sorted, leased).await;
    let renewed = store.renew_deliveries(lease.lease, now, lease.until);
    lists.check("renewal of a lease", &[], renewed).await;
    let released = store.release_deliveries(lease.lease, now);
    lists.check("release of deliveries", &[], released).await;
    outcomes(lists, f, webhook.id, lease).await;
    for state in [None, Some(DeliveryState::Failed)] {
        for after in [None, Some(DeliveryKey(3))] {
            // A page is read by an index, and put together by number.
            let page = ["SCAN f", "USE TEMP B-TREE FOR ORDER BY"];
            let list = store.list_deliveries(ACCOUNT, webhook.id, state, page_of(2, after));
            let name = format!("deliveries, {state:?}");
            lists.check(&name, &page, list).await;
        }
    }
    // The one webhook that statistics know of is as quickly read without an index.
    let swept = [
        "SCAN w",
        "SCAN webhooks",
        "SCAN w USING INDEX webhooks_to_sweep",
        "SCAN webhooks USING INDEX webhooks_to_sweep",
    ];
    let sweep = store.sweep_deliveries(now, 10);
    lists.check("sweep of deliveries", &swept, sweep).await;
    // The next webhook is the only one.
    let caller = caller();
    let deleted = f.engine.webhooks.delete(&caller, webhook.id, None);
    lists
        .check("deletion of a webhook", &waiting, deleted)
        .await;
    cursors(lists, f).await;
}

/// Settles a delivery in each way, and sends what was given up again.
async fn outcomes(
    lists: &mut Lists,
    f: &Fixture<SqliteStore>,
    webhook: WebhookId,
    lease: LeaseDeliveries,
) {
    let (store, now) = (&f.store, f.now());
    let waiting = ["SCAN waiting"];
    let found = store.find_webhook(ACCOUNT, webhook);
    lists.check("a webhook", &waiting, found).await;
    // The one that is gone comes last: it disables the webhook.
    for verdict in [
        Verdict::Delivered,
        Verdict::RetryAt(now),
        Verdict::Failed,
        Verdict::Gone,
    ] {
        let leased = store.lease_deliveries(lease).await.unwrap();
        let settle = SettleDelivery {
            account_id: ACCOUNT,
            webhook_id: leased[0].webhook_id,
            sequence: leased[0].entry.seq,
            lease: lease.lease,
            attempt: Attempt {
                at: now,
                status: Some(503),
                duration: Duration::from_millis(5),
                error: None,
            },
            verdict,
            audit_id: AuditEntryId::new(f.ids.next()),
            now,
        };
        assert_eq!(settle.webhook_id, webhook);
        let name = format!("settlement, {verdict:?}");
        let settled = async { assert!(store.settle_delivery(settle).await.unwrap().counted) };
        lists.check(&name, &[], settled).await;
        if verdict == Verdict::Failed {
            replays(lists, f, webhook).await;
        }
        store.release_deliveries(lease.lease, now).await.unwrap();
    }
    for (status, after_sequence) in [
        (WebhookStatus::Enabled, Some(2)),
        (WebhookStatus::Disabled, None),
        (WebhookStatus::Enabled, None),
    ] {
        let change = WebhookChange {
            status: Some(status),
            after_sequence,
            ..WebhookChange::default()
        };
        let caller = caller();
        let webhooks = &f.engine.webhooks;
        let changed = async {
            webhooks
                .update(&caller, webhook, change, None)
                .await
                .unwrap()
        };
        let name = format!("a webhook becomes {status:?}");
        lists.check(&name, &waiting, changed).await;
    }
    // What waits is counted up to a bound, in the order of an index, and the webhooks are counted.
    let all = [
        "SCAN a",
        "SCAN waiting",
        "SCAN (subquery-1)",
        "SCAN webhook_deliveries USING COVERING INDEX webhook_deliveries_due",
        "SCAN webhook_deliveries USING COVERING INDEX webhook_deliveries_due_of_one",
        "SCAN webhooks",
        "SCAN webhooks USING INDEX webhooks_by_creation",
    ];
    let backlog = store.delivery_backlog(now);
    lists.check("backlog of deliveries", &all, backlog).await;
}

async fn replays(lists: &mut Lists, f: &Fixture<SqliteStore>, webhook: WebhookId) {
    for what in [Replay::Failed, Replay::Range { from: 1, to: 3 }] {
        let replay = ReplayDeliveries {
            account_id: ACCOUNT,
            webhook_id: webhook,
            what,
            most: 100,
            now: f.now(),
            key: None,
        };
        let counted = ["SCAN failed", "SCAN wanted", "SCAN waiting"];
        let queued = async {
            let queued = f.store.replay_deliveries(replay).await.unwrap();
            assert!(queued.is_some_and(|queued| queued > 0));
        };
        let name = format!("replay, {what:?}");
        lists.check(&name, &counted, queued).await;
    }
}

async fn cursors(lists: &mut Lists, f: &Fixture<SqliteStore>) {
    let (store, now) = (&f.store, f.now());
    let unpublished = store.accounts_unpublished("all", Some(ACCOUNT), 5, now);
    lists.check("accounts unpublished", &[], unpublished).await;
    let lease = LeaseCursor {
        account_id: ACCOUNT,
        stream: "all".into(),
        lease: LeaseId::new(f.ids.next()),
        now,
        until: now + Duration::from_mins(1),
    };
    let leased = async { assert!(store.lease_cursor(lease.clone()).await.unwrap().is_some()) };
    lists.check("lease of a place", &[], leased).await;
    let place = MoveCursor {
        lease: lease.clone(),
        sequence: 1,
    };
    let moved = async { assert!(store.move_cursor(place).await.unwrap()) };
    lists.check("a place", &[], moved).await;
    let released = store.release_cursor(ACCOUNT, "all", lease.lease);
    lists.check("release of a place", &[], released).await;
    // One row of each account.
    let heads = ["SCAN h"];
    let since = store.unpublished_since("all");
    lists.check("unpublished since", &heads, since).await;
}

#[expect(clippy::too_many_lines, reason = "a table")]
async fn all(
    lists: &mut Lists,
    f: &Fixture<SqliteStore>,
    campaign: CampaignId,
    group: CustomerGroupId,
) {
    schedules(lists, f, campaign).await;
    webhooks(lists, f).await;
    let store = &f.store;
    for after in [None, Some(run_number(3))] {
        let history = store.history(ACCOUNT, campaign, page_of(2, after));
        lists.check("history", &[], history).await;
    }
    let key = MessageKey {
        run_number: run_number(2),
        segment_no: 2,
    };
    for after in [None, Some(key)] {
        for selection in [
            MessageSelection::CurrentRun,
            MessageSelection::Run(run_number(2)),
            MessageSelection::EveryRun,
        ] {
            let messages = store.messages(ACCOUNT, campaign, selection, page_of(2, after));
            lists
                .check(&format!("messages, {selection:?}"), &[], messages)
                .await;
        }
    }
    for after in [None, Some(key)] {
        for selection in [
            MessageSelection::CurrentRun,
            MessageSelection::Run(run_number(2)),
            MessageSelection::EveryRun,
        ] {
            for (filter, index) in [
                (
                    MessageFilter {
                        status: Some(ReviewStatus::PendingReview),
                        ..MessageFilter::default()
                    },
                    "messages_by_status",
                ),
                (
                    MessageFilter {
                        source: Some(Source::Edited),
                        ..MessageFilter::default()
                    },
                    "messages_by_source",
                ),
                (
                    MessageFilter {
                        stage: Some(0),
                        ..MessageFilter::default()
                    },
                    "messages_by_stage",
                ),
            ] {
                let name = format!("messages, {selection:?}, {filter:?}");
                let messages = store.filtered_messages(
                    ACCOUNT,
                    campaign,
                    selection,
                    filter,
                    page_of(2, after),
                );
                lists.check_index(&name, Some(index), &[], messages).await;
                let filter = MessageFilter {
                    status: Some(ReviewStatus::Approved),
                    source: Some(Source::Edited),
                    ..MessageFilter::default()
                };
                let page = page_of(2, after);
                let both = store.filtered_messages(ACCOUNT, campaign, selection, filter, page);
                lists.check("messages, two filters", &[], both).await;
            }
        }
    }
    let key = CreatedKey {
        created_at: f.now(),
        id: campaign.as_uuid(),
    };
    for after in [None, Some(key)] {
        for status in [None, Some(CampaignStatus::Published)] {
            let campaigns = store.list_campaigns(ACCOUNT, status, page_of(2, after));
            lists
                .check(&format!("campaigns, {status:?}"), &[], campaigns)
                .await;
        }
        let groups = store.list_groups(ACCOUNT, page_of(2, after));
        lists.check("groups", &[], groups).await;
    }
    for campaign_id in [None, Some(campaign)] {
        for action in [None, Some(AuditAction::CampaignLaunched)] {
            for after in [None, Some(AuditKey(5))] {
                let filter = AuditFilter {
                    campaign_id,
                    action,
                };
                let entries = store.list_audit(ACCOUNT, filter, page_of(2, after));
                lists
                    .check(&format!("audit, {filter:?}"), &[], entries)
                    .await;
            }
        }
    }
    events(lists, store, campaign).await;
    lists
        .check("audit chain", &[], store.audit_chain(ACCOUNT, 1, 2))
        .await;
    let deep = DiffKey {
        segment_no: 2,
        counts: DiffCounts::default(),
    };
    for after in [None, Some(deep)] {
        let page = page_of(2, after);
        let diff = store.diff(ACCOUNT, campaign, run_number(1), run_number(2), page);
        // The numbers of one page, as the merged indexes give them out.
        lists.check("diff", &["SCAN page"], diff).await;
    }
    let segment_by = SegmentBy::new(&["country"]).unwrap();
    let query = CandidateQuery {
        account_id: ACCOUNT,
        group_id: group,
        segment_by: segment_by.clone(),
        reuse: None,
        limit: 10,
    };
    let counts = store.segment_candidates(query.clone()).await.unwrap();
    let keys = counts.segments.iter().map(|segment| segment.key).collect();
    lists
        .check("kept counts", &[], store.segment_candidates(query.clone()))
        .await;
    for reuse_from in [
        ReuseFrom::CurrentRun,
        ReuseFrom::AnyRun,
        ReuseFrom::AnyApproved,
    ] {
        let query = CandidateQuery {
            reuse: Some((campaign, run_number(4), reuse_from)),
            ..query.clone()
        };
        let name = format!("candidates, {reuse_from:?}");
        lists
            .check(&name, &[], store.segment_candidates(query))
            .await;
    }
    let named = store.segments(ACCOUNT, group, &segment_by, keys);
    // The keys that are asked for.
    let keys = "SCAN json_each VIRTUAL TABLE INDEX 1:";
    lists.check("kept attributes", &[keys], named).await;
    // Names that no run before has, so that there is something to generate.
    let countries = ["x", "y", "z"].map(|name| format!("{name} {}", lists.state));
    let countries = countries.each_ref().map(String::as_str);
    f.rerun(campaign, f.group(&countries).await).await;
    let leasing = async {
        let leased = f.lease(2).await;
        assert_eq!(leased.tasks.len(), 2);
        f.engine.generation.release(leased.lease).await.unwrap();
    };
    // The accounts that have tasks, one after another.
    let accounts = ["SCAN a", "SCAN (subquery-1)"];
    lists.check("lease", &accounts, leasing).await;
    f.finish(campaign).await;
}

#[test]
fn lists_read_their_page_in_the_order_of_an_index() {
    let (url, _folder) = common::database();
    let file = url.strip_prefix("sqlite://").unwrap();
    let admin = SqliteConnection::establish(file).unwrap();
    set_default_instrumentation(listening).unwrap();
    let f = Fixture::new(SqliteStore::connect(&url, &Options::default()).unwrap());
    let mut lists = Lists {
        admin,
        state: "without statistics",
        faults: Vec::new(),
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let countries = ["a", "b", "c", "d", "e", "f"];
        let campaign = f.published(&countries).await;
        let group = f.group(&countries).await;
        for _ in 0..3 {
            f.rerun(campaign, group).await;
            f.publish(campaign).await;
        }
        all(&mut lists, &f, campaign, group).await;
        lists.admin.batch_execute("ANALYZE").unwrap();
        lists.state = "with statistics";
        all(&mut lists, &f, campaign, group).await;
    });
    let faults = lists.faults;
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}
