//! How the store opens its file, and what it says about one that it cannot use.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::sql_types::{Integer, Text};
use diesel::{Connection, RunQueryDsl, SqliteConnection};
use rerun_contract::fixture::{ACCOUNT, Fixture, author, caller};
use rerun_core::error::{Error, StoreError};
use rerun_core::event::Event;
use rerun_core::group::{CustomerFile, CustomerGroup, ImportHeader, ImportMode};
use rerun_core::ids::{AccountId, CustomerGroupId};
use rerun_core::ports::{CustomerGroupStore, GenerationQueue, HealthCheck, PoolGauge};
use rerun_sqlite::{Options, SqliteStore};
use uuid::Uuid;

fn hasty() -> Options {
    Options {
        acquire_timeout: Duration::from_millis(50),
        ..Options::default()
    }
}

#[test]
fn a_url_must_name_a_file_that_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let missing = format!("sqlite://{}/no/such/folder.db", folder.path().display());
    let taken = format!("sqlite://{}", folder.path().display());
    for url in [
        "",
        "rerun.db",
        "sqlite://",
        "sqlite://:memory:",
        "postgres://localhost/rerun",
        missing.as_str(),
        taken.as_str(),
    ] {
        assert!(SqliteStore::connect(url, &hasty()).is_err(), "{url}");
        assert!(rerun_sqlite::migrate(url).is_err(), "{url}");
    }
}

#[tokio::test]
async fn a_path_is_taken_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mode=ro %41 é.db");
    let url = format!("sqlite://{}", file.display());
    rerun_sqlite::migrate(&url).unwrap();
    let store = SqliteStore::connect(&url, &Options::default()).unwrap();
    store.check().await.unwrap();
    assert!(file.exists());
}

#[tokio::test]
async fn a_schema_that_is_not_there_is_unhealthy() {
    let (url, _folder) = common::database();
    let store = SqliteStore::connect(&url, &Options::default()).unwrap();
    store.check().await.unwrap();
    rerun_sqlite::revert(&url).unwrap();
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_do_not_wait_for_a_writer_and_writers_not_for_ever() {
    let (url, folder) = common::database();
    let store = SqliteStore::connect(&url, &hasty()).unwrap();
    let f = Fixture::new(store).keeping(folder);
    let group = f
        .engine
        .groups
        .create(&caller(), "before", None)
        .await
        .unwrap()
        .outcome;
    let mut other = SqliteConnection::establish(&url).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let read = f.engine.groups.get(&caller(), group.id).await.unwrap();
    assert_eq!(read, group);
    let refused = f.engine.groups.create(&caller(), "meanwhile", None).await;
    assert!(
        matches!(refused, Err(Error::Store(StoreError::Unavailable(_)))),
        "{refused:?}"
    );
    other.batch_execute("ROLLBACK").unwrap();
    f.engine
        .groups
        .create(&caller(), "after", None)
        .await
        .unwrap();
    f.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_has_begun_is_waited_for_whatever_the_limit_of_statements() {
    let (url, folder) = common::database();
    let options = Options {
        acquire_timeout: Duration::from_mins(1),
        statement_timeout: Some(Duration::ZERO),
        ..Options::default()
    };
    let f = Fixture::new(SqliteStore::connect(&url, &options).unwrap()).keeping(folder);
    let mut other = SqliteConnection::establish(&url).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let who = caller();
    let mut write = std::pin::pin!(f.engine.groups.create(&who, "waits", None));
    // On PostgreSQL it would be given up after 5 s.
    let waited = tokio::time::timeout(Duration::from_secs(6), write.as_mut()).await;
    assert!(waited.is_err(), "{waited:?}");
    other.batch_execute("ROLLBACK").unwrap();
    write.await.unwrap();
    f.check().await;
}

/// A worker would lease from another account instead, and the new one would wait for its next turn.
#[tokio::test]
async fn work_that_is_being_queued_is_found() {
    let (url, folder) = common::database();
    let options = Options {
        pool_size: 1,
        acquire_timeout: Duration::from_mins(1),
        ..Options::default()
    };
    let f = Fixture::new(SqliteStore::connect(&url, &options).unwrap()).keeping(folder);
    let mut other = SqliteConnection::establish(&url).unwrap();
    let account = Uuid::from_u128(7);
    other
        .batch_execute(&format!(
            "PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE; \
             INSERT INTO generation_tasks \
               (account_id, message_id, campaign_id, run_number, due_at) \
             VALUES (x'{0}', x'{0}', x'{0}', 1, 0)",
            account.simple()
        ))
        .unwrap();
    // It has the turn of this store's writers, and waits for the other connection.
    let (store, who) = (Arc::clone(&f.store), caller());
    let mut writes = pin!(f.engine.groups.create(&who, "writes", None));
    while store
        .pools()
        .iter()
        .any(|(name, pool)| *name == "write" && pool.in_use == 0)
    {
        assert!(poll_once(writes.as_mut()).await.is_none());
        tokio::task::yield_now().await;
    }
    let mut looks = pin!(store.due_accounts(None, 10, f.now()));
    assert!(poll_once(looks.as_mut()).await.is_none());
    // The only connection for reading serves one after the other.
    let nothing = CustomerGroupId::new(Uuid::nil());
    f.engine.groups.get(&who, nothing).await.unwrap_err();
    other.batch_execute("COMMIT").unwrap();
    writes.await.unwrap();
    assert_eq!(looks.await.unwrap(), [AccountId::new(account)]);
}

async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_share_a_file() {
    let (url, folder) = common::database();
    let connect = || SqliteStore::connect(&url, &Options::default()).unwrap();
    let (one, other) = (
        Fixture::new(connect()).keeping(folder),
        Fixture::new(connect()),
    );
    let ids = [(1, &one), (2, &other)];
    let writers = ids.into_iter().flat_map(|(store, f)| {
        (0..20_u128).map(move |n| {
            let group = CustomerGroup {
                account_id: ACCOUNT,
                id: CustomerGroupId::new(Uuid::from_u128(store << 64 | n)),
                name: "g".into(),
                customer_count: 0,
                fields: Vec::new(),
                created_at: f.now(),
                updated_at: f.now(),
            };
            let audit = author(f, caller()).of(Event::GroupCreated {
                customer_group_id: group.id,
                name: group.name.clone(),
            });
            let store = f.store.clone();
            tokio::spawn(async move { store.create_group(&group, audit, None).await })
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(one.entries(ACCOUNT).await.len(), 40);
    one.check().await;
    other.check().await;
}

#[derive(diesel::QueryableByName)]
struct Checkpoint {
    #[diesel(sql_type = Integer)]
    busy: i32,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_import_stops_nobody() {
    let (url, folder) = common::database();
    let store = SqliteStore::connect(&url, &hasty()).unwrap();
    let f = Fixture::new(store).keeping(folder);
    let group = f.empty_group("g").await;
    let (read, begun) = tokio::sync::oneshot::channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let header = ImportHeader::new(["customer_ref", "note"]).unwrap();
    // Long enough that rows were staged before the pause.
    let note = "n".repeat(100_000);
    let first = header.row(2, ["C-1", note.as_str()].into_iter());
    let second = header.row(3, ["C-2", ""].into_iter());
    let rows = [first, second].into_iter().zip([None, Some((read, wait))]);
    let rows = rows.map(|(row, pause)| {
        if let Some((read, wait)) = pause {
            read.send(()).unwrap();
            wait.recv().unwrap();
        }
        row
    });
    let engine = f.engine.clone();
    let file = CustomerFile {
        fields: header.fields().to_vec(),
        mode: ImportMode::Merge,
        rows: Box::new(rows),
    };
    let import =
        tokio::spawn(async move { engine.groups.import(&caller(), group, file, None).await });
    begun.await.unwrap();
    f.engine
        .groups
        .create(&caller(), "meanwhile", None)
        .await
        .unwrap();
    // Nor does it keep the write-ahead log from being emptied.
    let mut other = SqliteConnection::establish(&url).unwrap();
    let emptied: Checkpoint = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)")
        .get_result(&mut other)
        .unwrap();
    assert_eq!(emptied.busy, 0);
    go_on.send(()).unwrap();
    assert_eq!(import.await.unwrap().unwrap().outcome.total, 2);
    f.check().await;
}

#[test]
fn the_file_is_in_wal_mode() {
    #[derive(diesel::QueryableByName)]
    struct Mode {
        #[diesel(sql_type = Text)]
        journal_mode: String,
    }
    let (url, _folder) = common::database();
    let mut conn = SqliteConnection::establish(&url).unwrap();
    let mode: Mode = diesel::sql_query("PRAGMA journal_mode")
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(mode.journal_mode, "wal");
}

/// See docs/adr/0016.
#[test]
fn connections_of_the_bundled_library_share_no_locks() {
    #[derive(diesel::QueryableByName)]
    struct CompileOption {
        #[diesel(sql_type = Text)]
        compile_options: String,
    }
    let mut connection = SqliteConnection::establish(":memory:").unwrap();
    let options: Vec<String> = diesel::sql_query("PRAGMA compile_options")
        .load::<CompileOption>(&mut connection)
        .unwrap()
        .into_iter()
        .map(|row| row.compile_options)
        .collect();
    let has = |option: &str| options.iter().any(|found| found == option);
    assert!(has("THREADSAFE=2"), "{options:?}");
    assert!(has("DEFAULT_MEMSTATUS=0"), "{options:?}");
    assert!(!has("ENABLE_MEMORY_MANAGEMENT"), "{options:?}");
}
