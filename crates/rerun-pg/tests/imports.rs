//! Imports beside everything else: who waits for what, and with how many connections.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

use rerun_contract::fixture::{Fixture, HeldFile, caller, customer_file, stranger, until};
use rerun_core::ports::{HealthCheck, PoolGauge, PoolUsage};
use rerun_pg::{Options, PgStore};

fn opened(pool_size: u32) -> Fixture<PgStore> {
    let database = common::database();
    let store = store(database.url(), pool_size);
    Fixture::new(store).keeping(database)
}

fn store(url: &str, pool_size: u32) -> PgStore {
    let options = Options {
        pool_size,
        ..Options::default()
    };
    PgStore::connect(url, &options).unwrap()
}

fn usage(f: &Fixture<PgStore>, pool: &str) -> PoolUsage {
    let pools = f.store.pools();
    pools.into_iter().find(|(name, _)| *name == pool).unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_of_one_group_wait_without_a_connection() {
    let f = opened(4);
    let (group, other) = (f.empty_group("One").await, f.group(&["FR"]).await);
    let campaign = f.draft(group).await;
    let (first, mut held) = HeldFile::new(&["a", "b"], "DE");
    let run = |file| {
        let engine = f.engine.clone();
        tokio::spawn(async move {
            engine
                .groups
                .import(&caller(), group, file, None)
                .await
                .map(|done| done.outcome)
        })
    };
    f.import_countries(group, &["DE", "IT"]).await;
    let mut running = vec![run(first)];
    held.has_begun().await;
    for n in 0..7 {
        let own = format!("own-{n}");
        running.push(run(customer_file(&["customer_ref"], &[&["a"], &[&own]])));
    }
    until("seven imports wait", || usage(&f, "import").waiting == 7).await;
    assert_eq!(
        (usage(&f, "import").in_use, usage(&f, "all").in_use),
        (1, 1)
    );
    // Another group's import, reads and writes, of anybody, and the check go on. So does a run that
    // is started on the group: it takes the group as it is.
    f.import_countries(other, &["DE"]).await;
    f.engine
        .groups
        .create(&stranger(), "x", None)
        .await
        .unwrap();
    f.store.check().await.unwrap();
    assert_eq!(f.launch(campaign).await.customer_count, 2);
    held.go_on();
    let mut imported = 0;
    for import in running {
        imported += import.await.unwrap().unwrap().imported;
    }
    assert_eq!(imported, 2 + 7);
    f.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_connections_import_at_once() {
    let f = opened(4);
    let mut files = Vec::new();
    let mut running = Vec::new();
    for n in 0..6 {
        let group = f.empty_group(&format!("Group {n}")).await;
        let (file, hold) = HeldFile::new(&["a"], "DE");
        let engine = f.engine.clone();
        running.push(tokio::spawn(async move {
            engine
                .groups
                .import(&caller(), group, file, None)
                .await
                .map(|done| done.outcome)
        }));
        files.push(hold);
    }
    until("two import", || usage(&f, "all").in_use == 2).await;
    until("four wait", || usage(&f, "import").waiting == 4).await;
    f.engine
        .groups
        .create(&stranger(), "x", None)
        .await
        .unwrap();
    f.store.check().await.unwrap();
    for hold in files {
        hold.go_on();
    }
    for import in running {
        import.await.unwrap().unwrap();
    }
    f.check().await;
}

/// The only connection is taken, and the check has another.
#[tokio::test(flavor = "multi_thread")]
async fn the_check_waits_for_nobody() {
    let f = opened(1);
    let group = f.empty_group("Customers").await;
    let (file, mut held) = HeldFile::new(&["a"], "DE");
    let engine = f.engine.clone();
    let importing = tokio::spawn(async move {
        engine
            .groups
            .import(&caller(), group, file, None)
            .await
            .map(|done| done.outcome)
    });
    held.has_begun().await;
    let all = usage(&f, "all");
    assert_eq!((all.in_use, all.size), (1, 1));
    f.store.check().await.unwrap();
    held.go_on();
    importing.await.unwrap().unwrap();
}

/// Two processes, of which the second has one connection.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_waits_for_another_process_without_a_connection() {
    let database = common::database();
    let other = Fixture::new(store(database.url(), 1));
    let f = Fixture::new(store(database.url(), 4)).keeping(database);
    let group = f.empty_group("Customers").await;
    let (file, mut held) = HeldFile::new(&["a", "b"], "DE");
    let engine = f.engine.clone();
    let first = tokio::spawn(async move {
        engine
            .groups
            .import(&caller(), group, file, None)
            .await
            .map(|done| done.outcome)
    });
    held.has_begun().await;
    let engine = other.engine.clone();
    let second = tokio::spawn(async move {
        let file = customer_file(&["customer_ref", "country"], &[&["b", "FR"], &["c", "FR"]]);
        engine
            .groups
            .import(&caller(), group, file, None)
            .await
            .map(|done| done.outcome)
    });
    until("the second import pauses", || {
        let (import, all) = (usage(&other, "import"), usage(&other, "all"));
        import.waits.jobs.iter().sum::<u64>() >= 3 && import.waiting == 1 && all.in_use == 0
    })
    .await;
    other.engine.groups.get(&caller(), group).await.unwrap();
    held.go_on();
    let first = first.await.unwrap().unwrap();
    let second = second.await.unwrap().unwrap();
    assert_eq!((first.imported, first.total), (2, 2));
    assert_eq!((second.imported, second.updated, second.total), (1, 1, 3));
}
