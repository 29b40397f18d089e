//! Imports beside everything else: who waits for what, and what a broken import leaves.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection;
use diesel::sql_types::BigInt;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use rerun_contract::fixture::{ACCOUNT, Fixture, HeldFile, caller, customer_file, stranger, until};
use rerun_core::error::{Error, StoreError};
use rerun_core::group::{CustomerFile, CustomerRow, ImportMode, Imported};
use rerun_core::ids::CustomerGroupId;
use rerun_core::ports::{CustomerGroupStore, HealthCheck, PoolGauge, PoolUsage};
use rerun_sqlite::{Options, SqliteStore};

/// More rows than a slice has.
const SLICE_ROWS: u32 = 5_000;

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

fn number(conn: &mut SqliteConnection, query: &str) -> i64 {
    diesel::sql_query(format!("SELECT ({query}) AS value"))
        .get_result::<Number>(conn)
        .unwrap()
        .value
}

/// A store with four connections, and a connection that looks on.
fn opened() -> (Fixture<SqliteStore>, SqliteConnection) {
    let (url, folder) = common::database();
    let options = Options {
        pool_size: 4,
        ..Options::default()
    };
    let store = SqliteStore::connect(&url, &options).unwrap();
    let watching = SqliteConnection::establish(&url).unwrap();
    (Fixture::new(store).keeping(folder), watching)
}

/// A file of customers who all have the same country.
fn file(mode: ImportMode, customers: u32, country: &'static str) -> CustomerFile {
    let row = move |n| {
        Ok(CustomerRow {
            customer_ref: format!("c-{n:06}"),
            values: vec![Some(country.to_owned())],
        })
    };
    CustomerFile {
        fields: vec!["country".to_owned()],
        mode,
        rows: Box::new((0..customers).map(row)),
    }
}

async fn import(
    f: &Fixture<SqliteStore>,
    group: CustomerGroupId,
    file: CustomerFile,
) -> Result<Imported, Error> {
    f.engine
        .groups
        .import(&caller(), group, file, None)
        .await
        .map(|done| done.outcome)
}

async fn countries(f: &Fixture<SqliteStore>, group: CustomerGroupId) -> BTreeMap<String, i64> {
    let segments = f.segments(group, &["country"]).await;
    let country = |values: BTreeMap<String, Option<String>>| {
        values.into_values().next().flatten().unwrap_or_default()
    };
    segments
        .into_iter()
        .map(|(values, customers)| (country(values), customers))
        .collect()
}

fn imports(f: &Fixture<SqliteStore>) -> PoolUsage {
    let pools = f.store.pools();
    pools
        .into_iter()
        .find(|(name, _)| *name == "import")
        .unwrap()
        .1
}

#[tokio::test(flavor = "multi_thread")]
async fn others_write_between_the_slices_of_an_import() {
    let (f, mut watching) = opened();
    let group = f.empty_group("Customers").await;
    import(&f, group, file(ImportMode::Merge, 2 * SLICE_ROWS, "old"))
        .await
        .unwrap();
    let (engine, slices) = (f.engine.clone(), 12);
    let importing = tokio::spawn(async move {
        let file = file(ImportMode::Replace, slices * SLICE_ROWS, "new");
        engine
            .groups
            .import(&caller(), group, file, None)
            .await
            .map(|done| done.outcome)
    });
    let mut between = 0;
    while !importing.is_finished() {
        let made = f.engine.groups.create(&stranger(), "meanwhile", None).await;
        made.expect("a write of another account");
        // One statement, which sees one moment.
        let seen = number(
            &mut watching,
            "SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM customer_editions WHERE building = 1) \
               THEN -1 ELSE (SELECT count(*) FROM current_customers \
                 WHERE profile ->> 'country' = 'new') END",
        );
        assert!(seen <= 0, "readers see {seen} customers too early");
        between += i64::from(seen == 0);
    }
    let done = importing.await.unwrap().unwrap();
    assert_eq!((done.imported, done.updated), (50_000, 10_000));
    assert!(
        between >= 6,
        "{between} writes while {slices} slices were written"
    );
    assert_eq!(
        countries(&f, group).await,
        [("new".to_owned(), 60_000)].into()
    );
    // Nothing is left of what was replaced.
    assert_eq!(
        number(&mut watching, "SELECT count(*) FROM customers"),
        60_000
    );
    assert_eq!(
        number(&mut watching, "SELECT count(*) FROM customer_editions"),
        0
    );
    f.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_of_one_group_wait_without_a_connection() {
    let (f, _) = opened();
    let (group, other) = (f.empty_group("One").await, f.empty_group("Other").await);
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
    let mut running = vec![run(first)];
    held.has_begun().await;
    for n in 0..7 {
        let own = format!("own-{n}");
        running.push(run(customer_file(&["customer_ref"], &[&["a"], &[&own]])));
    }
    until("seven imports wait", || imports(&f).waiting == 7).await;
    assert_eq!(imports(&f).in_use, 1);
    // Another group's import, reads and writes, of anybody, and the check go on.
    f.import_countries(other, &["DE"]).await;
    f.engine
        .groups
        .create(&stranger(), "x", None)
        .await
        .unwrap();
    f.engine.groups.get(&caller(), group).await.unwrap();
    f.store.check().await.unwrap();
    held.go_on();
    let mut imported = 0;
    for import in running {
        imported += import.await.unwrap().unwrap().imported;
    }
    assert_eq!(imported, 2 + 7);
    assert_eq!(imports(&f).waiting, 0);
    f.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_connections_import_at_once() {
    let (f, _) = opened();
    let mut files = Vec::new();
    let mut running = Vec::new();
    for n in 0..3 {
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
    until("two import", || imports(&f).in_use == 2).await;
    until("one waits", || imports(&f).waiting == 1).await;
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

/// The check has a connection that nothing else uses.
#[tokio::test(flavor = "multi_thread")]
async fn the_check_waits_for_nobody() {
    let (url, _folder) = common::database();
    let options = Options {
        pool_size: 1,
        ..Options::default()
    };
    let store = SqliteStore::connect(&url, &options).unwrap();
    let f = Fixture::new(store);
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
    f.store.check().await.unwrap();
    held.go_on();
    importing.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_import_left_is_deleted_but_not_what_is_being_built() {
    let (f, mut watching) = opened();
    let group = f.group(&["DE"]).await;
    let before = f.snapshot(ACCOUNT).await;
    watching
        .batch_execute(
            "INSERT INTO customer_editions (account_id, group_id, edition, building, touched_at)
               SELECT account_id, id, 7, 1, unixepoch() - 3600 FROM customer_groups
               UNION ALL SELECT account_id, id, 8, 1, unixepoch() FROM customer_groups
               UNION ALL SELECT account_id, id, 9, 0, unixepoch() FROM customer_groups;
             WITH RECURSIVE n(value) AS (
               SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 6000)
             INSERT INTO customers (account_id, group_id, edition, customer_ref, profile)
               SELECT account_id, group_id, edition, 'left-' || value, '{\"country\":\"XX\"}'
               FROM customer_editions, n",
        )
        .unwrap();
    before.assert_same(&f.snapshot(ACCOUNT).await, "a killed import");
    assert_eq!(countries(&f, group).await, [("DE".to_owned(), 1)].into());
    let other = f.group(&["FR", "IT"]).await;
    let left = "SELECT count(*) FROM customers WHERE customer_ref LIKE 'left-%'";
    assert_eq!(number(&mut watching, left), 6_000);
    let editions = "SELECT group_concat(edition) + 0 FROM customer_editions";
    assert_eq!(number(&mut watching, editions), 8);
    assert_eq!(countries(&f, group).await, [("DE".to_owned(), 1)].into());
    assert_eq!(countries(&f, other).await.len(), 2);
    f.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_starts_over_when_another_process_changes_the_group() {
    let (f, mut watching) = opened();
    let group = f.group(&["DE"]).await;
    // What another process does: at the first edition it imports, at the second it takes the
    // edition for an abandoned one.
    watching
        .batch_execute(
            "CREATE TRIGGER other_process AFTER INSERT ON customer_editions
               WHEN NEW.edition = 1 AND NEW.building = 1 BEGIN
                 UPDATE customer_groups SET version = version + 1, customer_count = 2;
                 INSERT INTO customers (account_id, group_id, customer_ref, profile)
                   VALUES (NEW.account_id, NEW.group_id, 'other', '{\"country\":\"FR\"}');
               END;
             CREATE TRIGGER sweeper AFTER INSERT ON customers
               WHEN NEW.edition = 2 AND NEW.customer_ref = 'c-000000' BEGIN
                 UPDATE customer_editions SET building = 0 WHERE edition = 2;
               END;",
        )
        .unwrap();
    let many = file(ImportMode::Merge, 2 * SLICE_ROWS, "new");
    let done = import(&f, group, many).await.unwrap();
    assert_eq!((done.imported, done.total), (10_000, 10_002));
    assert_eq!(
        countries(&f, group).await,
        [("DE", 1), ("FR", 1), ("new", 10_000)]
            .map(|(country, customers)| (country.to_owned(), customers))
            .into()
    );
    let edition = "SELECT edition FROM customer_groups";
    assert_eq!(number(&mut watching, edition), 3, "the third try");
    assert_eq!(
        number(&mut watching, "SELECT count(*) FROM customer_editions"),
        0
    );
    assert_eq!(
        number(&mut watching, "SELECT count(*) FROM customers"),
        10_002
    );
    f.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_gives_up_when_others_never_stop_changing_the_group() {
    let (f, mut watching) = opened();
    let group = f.group(&["DE"]).await;
    let entries = f.entries(ACCOUNT).await.len();
    watching
        .batch_execute(
            "CREATE TRIGGER other_process AFTER INSERT ON customer_editions
               WHEN NEW.building = 1 BEGIN
                 UPDATE customer_groups SET version = version + 1;
               END",
        )
        .unwrap();
    for mode in [ImportMode::Merge, ImportMode::Replace] {
        let refused = import(&f, group, file(mode, SLICE_ROWS + 1, "new")).await;
        assert!(
            matches!(refused, Err(Error::Store(StoreError::Unavailable(_)))),
            "{refused:?}"
        );
    }
    assert_eq!(f.entries(ACCOUNT).await.len(), entries);
    let found = f.store.find_group(ACCOUNT, group).await.unwrap().unwrap();
    assert_eq!(found.customer_count, 1);
    assert_eq!(countries(&f, group).await, [("DE".to_owned(), 1)].into());
}
