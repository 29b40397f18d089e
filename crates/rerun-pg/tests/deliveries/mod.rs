//! How PostgreSQL comes to webhooks, deliveries, and the places of streams.

use std::time::Duration;

use rerun_contract::fixture::{ACCOUNT, page_of};
use rerun_core::delivery::{Attempt, DeliveryState, Verdict};
use rerun_core::ids::{AccountId, AuditEntryId, LeaseId, WebhookId};
use rerun_core::page::CreatedKey;
use rerun_core::ports::{
    DeliveryGauge, DeliveryKey, DeliveryQueue, EventCursors, FanOut, LeaseCursor, LeaseDeliveries,
    LeasedDelivery, MoveCursor, Replay, ReplayDeliveries, SettleDelivery, WebhookStore,
};
use rerun_pg::PgStore;
use uuid::Uuid;

use crate::{Bounds, LIMIT, Lists, PAGE, full, id, time};

/// As the seed has it: 2,000 deliveries wait for the first webhook, and as many of the second ended, of which
/// 20 failed.
const WAITING: WebhookId = WebhookId::new(id(8, 1));
const FAILING: WebhookId = WebhookId::new(id(8, 2));
const LEASE: LeaseId = LeaseId::new(Uuid::from_u128(4));
const NOW: &str = "2026-03-01T00:00:00Z";

pub(crate) async fn all(lists: &Lists<'_>, store: &PgStore) {
    webhooks(lists, store).await;
    pages(lists, store).await;
    behind(lists, store).await;
    fan_out(lists, store).await;
    waiting(lists, store).await;
    leases(lists, store).await;
    settlements(lists, store).await;
    replays(lists, store).await;
    sweep(lists, store).await;
    cursors(lists, store).await;
}

/// What looks at each account and reads no more of it than one row.
pub(crate) async fn of_each_account(lists: &Lists<'_>, store: &PgStore) {
    behind(lists, store).await;
    waiting(lists, store).await;
    cursors(lists, store).await;
}

/// What waits is counted for each webhook of a page.
async fn webhooks(lists: &Lists<'_>, store: &PgStore) {
    let after = CreatedKey {
        created_at: time("2026-01-01T00:00:08Z"),
        id: id(8, 8),
    };
    // A webhook has 20 that wait, the first one 2,000.
    let first: Bounds = &[("webhooks", PAGE), ("webhook_deliveries", 400)];
    let deep: Bounds = &[("webhooks", PAGE), ("webhook_deliveries", 3_000)];
    for (name, after, bounds) in [
        ("first page", None, first),
        ("deep page", Some(after), deep),
    ] {
        let list = format!("webhooks, {name}");
        lists
            .check_each(&list, bounds, &[], async || {
                let page = page_of(LIMIT.into(), after);
                let webhooks = store.list_webhooks(ACCOUNT, page).await.unwrap();
                assert!(!webhooks.items.is_empty());
            })
            .await;
    }
    let bounds: Bounds = &[("webhooks", 1), ("webhook_deliveries", 1)];
    lists
        .check_each("a webhook", bounds, &[], async || {
            let found = store.find_webhook(ACCOUNT, FAILING).await.unwrap();
            assert!(found.is_some());
        })
        .await;
}

async fn pages(lists: &Lists<'_>, store: &PgStore) {
    use DeliveryState::{Delivered, Failed, Pending};
    // A page is found by an index, and each of its rows is looked up once.
    let bounds: Bounds = &[
        ("webhook_deliveries", 2 * PAGE),
        ("audit_entries", PAGE),
        ("webhook_attempts", PAGE),
    ];
    for (webhook, state, after) in [
        (FAILING, None, None),
        (FAILING, None, Some(1_000)),
        (FAILING, Some(Delivered), None),
        (FAILING, Some(Failed), None),
        (FAILING, Some(Failed), Some(1_150)),
        (WAITING, None, Some(1_000)),
        (WAITING, Some(Pending), None),
        (WAITING, Some(Pending), Some(39_000)),
    ] {
        let list = format!("deliveries of {webhook}, {state:?} after {after:?}");
        lists
            .check_each(&list, bounds, &[], async || {
                let page = page_of(LIMIT.into(), after.map(DeliveryKey));
                let found = store.list_deliveries(ACCOUNT, webhook, state, page).await;
                full(&found.unwrap());
            })
            .await;
    }
}

async fn behind(lists: &Lists<'_>, store: &PgStore) {
    // Each webhook and the head of its account.
    let bounds: Bounds = &[("webhooks", 4_100), ("audit_heads", 4_100)];
    lists
        .check_each("accounts behind", bounds, &[], async || {
            let behind = store.accounts_behind(None, 10).await.unwrap();
            assert_eq!(behind.len(), 2);
        })
        .await;
}

async fn fan_out(lists: &Lists<'_>, store: &PgStore) {
    // One of the account's webhooks is behind. What waits for it is counted.
    let bounds: Bounds = &[
        ("audit_heads", 1),
        ("webhooks", 22),
        ("audit_entries", 10),
        ("webhook_deliveries", 500),
    ];
    lists
        .check_each("fan-out", bounds, &[], async || {
            let request = FanOut {
                account_id: ACCOUNT,
                entries: LIMIT.into(),
                now: time(NOW),
            };
            let done = store.fan_out(request).await.unwrap();
            assert_eq!((done.queued, done.more), (u64::from(LIMIT), true));
        })
        .await;
}

async fn waiting(lists: &Lists<'_>, store: &PgStore) {
    lists
        .check_each(
            "accounts due",
            &[("webhooks", 4_100), ("webhook_deliveries", 4_100)],
            &[],
            async || {
                let due = store.accounts_due(None, 10, time(NOW)).await.unwrap();
                assert_eq!(due.len(), 2);
            },
        )
        .await;
    // What waits is counted up to a bound, and every webhook is looked at twice.
    let bounds: Bounds = &[("webhook_deliveries", 5_500), ("webhooks", 2 * 4_100)];
    lists
        .check_each("backlog", bounds, &[], async || {
            let backlog = store.delivery_backlog(time(NOW)).await.unwrap();
            assert!(backlog.pending > 4_000 && backlog.disabled == 2);
        })
        .await;
}

async fn leased(store: &PgStore, limit: u32, minutes: u64) -> Vec<LeasedDelivery> {
    let now = time(NOW) + Duration::from_mins(minutes);
    let request = LeaseDeliveries {
        account_id: ACCOUNT,
        lease: LEASE,
        limit,
        now,
        until: now + Duration::from_secs(30),
    };
    let leased = store.lease_deliveries(request).await.unwrap();
    assert!(!leased.is_empty());
    leased
}

/// A lease looks at each webhook of the account, and then at what it takes.
async fn leases(lists: &Lists<'_>, store: &PgStore) {
    let bounds: Bounds = &[
        ("webhooks", 22),
        // The oldest of each webhook twice, and leases that ended. Of a webhook with 220 deliveries the planner
        // may read all; one with thousands is among them.
        ("webhook_deliveries", 250),
        ("audit_entries", 4),
    ];
    lists
        .check_each("lease of deliveries", bounds, &[], async || {
            assert_eq!(
                leased(store, LIMIT.into(), 0).await.len(),
                usize::from(LIMIT)
            );
            let (now, until) = (time(NOW), time("2026-03-01T00:05:00Z"));
            let renewed = store.renew_deliveries(LEASE, now, until).await.unwrap();
            let released = store.release_deliveries(LEASE, now).await.unwrap();
            assert_eq!((renewed, released), (LIMIT.into(), LIMIT.into()));
        })
        .await;
    lists
        .check_each("leases that ended", bounds, &[], async || {
            leased(store, LIMIT.into(), 0).await;
            // Of each webhook the attempts that nobody settled are noted.
            leased(store, 80, 1).await;
            store.release_deliveries(LEASE, time(NOW)).await.unwrap();
        })
        .await;
}

/// Each delivery is looked up by its key.
async fn settlements(lists: &Lists<'_>, store: &PgStore) {
    let bounds: Bounds = &[("webhooks", 22), ("webhook_deliveries", 250)];
    for verdict in [Verdict::RetryAt(time(NOW)), Verdict::Delivered] {
        let list = format!("settlement, {verdict:?}");
        let bounds_of_lease: Bounds = &[("audit_entries", 1)];
        let bounds = [bounds, bounds_of_lease].concat();
        lists
            .check_each(&list, &bounds, &[], async || {
                let taken = leased(store, 1, 0).await.remove(0);
                let settle = SettleDelivery {
                    account_id: ACCOUNT,
                    webhook_id: taken.webhook_id,
                    sequence: taken.entry.seq,
                    lease: LEASE,
                    attempt: Attempt {
                        at: time(NOW),
                        status: Some(503),
                        duration: Duration::from_millis(5),
                        error: None,
                    },
                    verdict,
                    audit_id: AuditEntryId::new(Uuid::from_u128(5)),
                    now: time(NOW),
                };
                assert!(store.settle_delivery(settle).await.unwrap().counted);
            })
            .await;
    }
}

async fn replays(lists: &Lists<'_>, store: &PgStore) {
    let bounds: Bounds = &[
        ("webhooks", 1),
        ("webhook_deliveries", 100),
        ("audit_entries", 20),
    ];
    let range = Replay::Range { from: 1, to: 20 };
    lists
        .check_each("replay of a range", bounds, &[], async || {
            assert_eq!(replayed(store, range).await, 20);
        })
        .await;
}

async fn replayed(store: &PgStore, what: Replay) -> u32 {
    let request = ReplayDeliveries {
        account_id: ACCOUNT,
        webhook_id: WebhookId::new(id(8, 9)),
        what,
        most: 1_000,
        now: time(NOW),
        key: None,
    };
    store.replay_deliveries(request).await.unwrap().unwrap()
}

/// A sweep reads what it deletes, and the deleted webhooks.
async fn sweep(lists: &Lists<'_>, store: &PgStore) {
    let bounds: Bounds = &[
        ("webhook_deliveries", 2 * 10),
        ("webhook_attempts", 2 * 10),
        ("webhooks", 8),
    ];
    lists
        .check_each("sweep of deliveries", bounds, &[], async || {
            let before = time("2026-01-01T00:00:00Z");
            let swept = store.sweep_deliveries(before, LIMIT.into()).await.unwrap();
            assert_eq!(swept, 3 * u64::from(LIMIT));
        })
        .await;
}

async fn cursors(lists: &Lists<'_>, store: &PgStore) {
    // The heads are read in their order until enough are behind. Of those of the seed, one in ten is not.
    let bounds: Bounds = &[("audit_heads", 40), ("event_cursors", 40)];
    let middle = AccountId::new(Uuid::from_u128(0x8000_0000_0000_4000_8000_0000_0000_0000));
    for after in [None, Some(middle)] {
        let list = format!("accounts unpublished after {after:?}");
        lists
            .check_each(&list, bounds, &[], async || {
                let found = store.accounts_unpublished("all", after, LIMIT.into(), time(NOW));
                assert_eq!(found.await.unwrap().len(), usize::from(LIMIT));
            })
            .await;
    }
    let lease = LeaseCursor {
        account_id: ACCOUNT,
        stream: "all".into(),
        lease: LEASE,
        now: time(NOW),
        until: time(NOW) + Duration::from_secs(30),
    };
    let place = MoveCursor {
        lease: lease.clone(),
        sequence: 40_000,
    };
    let bounds: Bounds = &[("audit_heads", 1), ("event_cursors", 1)];
    lists
        .check_each("place in a stream", bounds, &[], async || {
            let leased = store.lease_cursor(lease.clone()).await.unwrap();
            assert_eq!(leased, Some(40_000));
            assert!(store.move_cursor(place.clone()).await.unwrap());
            store.release_cursor(ACCOUNT, "all", LEASE).await.unwrap();
        })
        .await;
}
