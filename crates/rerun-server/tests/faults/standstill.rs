//! A PostgreSQL whose processes stand still: its sockets are open, and nobody answers.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Integer};
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl};
use rerun_pg::{MigrateError, Patience};
use rerun_testkit::PgCluster;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::api::{Api, Reply};
use crate::tell;
use crate::wait::{LIMIT, until};
use crate::world::{Store, World};
use crate::writers::Writers;

/// A statement may take 1 s, and its answer 5 s more.
const SETTINGS: [(&str, &str); 3] = [
    ("RERUN_STATEMENT_TIMEOUT_SECONDS", "1"),
    ("RERUN_DATABASE_ACQUIRE_TIMEOUT_SECONDS", "2"),
    ("RERUN_DATABASE_POOL_SIZE", "4"),
];
/// The wait for a permit, for a connection and for an answer, and what a busy machine adds.
const PATIENCE: Duration = Duration::from_secs(2 + 2 + 6 + 10);

#[derive(QueryableByName)]
struct Process {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

/// Stopped processes, which go on when this is dropped.
struct Frozen(Vec<Pid>);

impl Frozen {
    /// Stops the processes whose ids a query of a superuser finds.
    fn stop(url: &str, query: &str) -> Self {
        let mut connection = PgConnection::establish(url).unwrap();
        let found: Vec<Process> = diesel::sql_query(query).load(&mut connection).unwrap();
        drop(connection);
        let pids = found.iter().map(|row| Pid::from_raw(row.pid).unwrap());
        let frozen = Self(pids.collect());
        for pid in &frozen.0 {
            // The session that asked has ended.
            let _gone = kill_process(*pid, Signal::STOP);
        }
        frozen
    }

    /// The whole server: the process that takes connections first.
    fn server(url: &str) -> Self {
        Self::stop(
            url,
            "SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)::integer AS pid \
             UNION ALL SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
        )
    }

    /// The sessions alone: the server still takes connections.
    fn sessions(url: &str) -> Self {
        Self::stop(
            url,
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' \
             AND pid <> pg_backend_pid()",
        )
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _gone = kill_process(*pid, Signal::CONT);
        }
    }
}

async fn create(api: &Api, name: &str) -> Reply {
    let body = json!({ "name": name }).to_string();
    api.send("customer-group/create", "application/json", body)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_stands_still_is_told_of_in_time_and_taken_up_again() {
    let cluster = PgCluster::start().unwrap();
    let url = cluster.url("postgres");
    let world = World::with(Store::Elsewhere(url.clone()), &SETTINGS);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let writers = Writers::start(&api, 8);
    writers.until_acknowledged(40).await;
    let frozen = Frozen::server(&url);
    // More than there are connections: those before hold none of them up.
    for round in 0..3 {
        let asked = Instant::now();
        let list = api.send("campaign/list", "application/json", "{}".to_owned());
        let (list, made, ready) = tokio::join!(list, create(&api, "meanwhile"), api.ready());
        for reply in [&list, &made, &ready] {
            assert!(reply.is_unavailable(), "{reply:?}");
        }
        tell(&format!(
            "round {round}: refused after {:?}",
            asked.elapsed()
        ));
        assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    }
    drop(frozen);
    let thawed = Instant::now();
    until("a server that is ready again", async || {
        matches!(api.ready().await, Reply::Answer { status: 200, .. }).then_some(())
    })
    .await;
    tell(&format!("ready again after {:?}", thawed.elapsed()));
    writers.until_acknowledged(40).await;
    let written = writers.stop().await;
    assert_eq!(written.broken, 0, "a request was left without an answer");
    // What was given up in the middle of a commit may be there, and is told of in the log.
    let unknown = server.process.lines_with("is unknown");
    let unacknowledged = written.unacknowledged(&api).await;
    tell(&format!(
        "{} writes acknowledged, {} refused, {unacknowledged} of them written, {unknown} unknown",
        written.acknowledged(),
        written.refused,
    ));
    assert!(unacknowledged <= unknown, "{unacknowledged} of {unknown}");
    let meanwhile = api
        .pages("customer-group/list", json!({}), "customer_groups")
        .await;
    assert!(meanwhile.iter().all(|group| group["name"] != "meanwhile"));
    written.check(&api, 0).await;
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_stand_still_cost_their_requests_and_no_others() {
    let cluster = PgCluster::start().unwrap();
    let url = cluster.url("postgres");
    let world = World::with(Store::Elsewhere(url.clone()), &SETTINGS);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    // As many connections as there may be.
    let all = futures_util::future::join_all((0..16).map(|_| create(&api, "before")));
    for reply in all.await {
        assert!(
            matches!(reply, Reply::Answer { status: 200, .. }),
            "{reply:?}"
        );
    }
    let frozen = Frozen::sessions(&url);
    let asked = Instant::now();
    let first = create(&api, "first").await;
    assert!(first.is_unavailable(), "{first:?}");
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    // On new connections, while the old ones still stand.
    let second = create(&api, "second").await;
    assert!(
        matches!(second, Reply::Answer { status: 200, .. }),
        "{second:?}"
    );
    // The probe has a connection of its own, which stands still too until it is replaced.
    until("ready", async || {
        matches!(api.ready().await, Reply::Answer { status: 200, .. }).then_some(())
    })
    .await;
    drop(frozen);
    let groups = api
        .pages("customer-group/list", json!({}), "customer_groups")
        .await;
    assert!(groups.iter().all(|group| group["name"] != "first"));
    assert_eq!(groups.len(), 17);
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}

/// The one of two servers that takes writes stands still. The other one takes writes, too, as a promoted standby.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_a_successor_is_not_waited_for() {
    let (first, second) = (PgCluster::start().unwrap(), PgCluster::start().unwrap());
    let (url, other) = (first.url("postgres"), second.url("postgres"));
    let (credentials, hosts) = url
        .strip_suffix("/postgres")
        .unwrap()
        .rsplit_once('@')
        .unwrap();
    let (other_credentials, _) = other.rsplit_once('@').unwrap();
    let other_host = other.rsplit_once('@').unwrap().1;
    let password = credentials.rsplit_once(':').unwrap().1;
    let mut connection = PgConnection::establish(&other).unwrap();
    connection
        .batch_execute(&format!("ALTER ROLE postgres PASSWORD '{password}'"))
        .unwrap();
    assert_ne!(credentials, other_credentials);
    rerun_pg::migrate(&format!("{credentials}@{other_host}")).unwrap();
    let both = format!("{credentials}@{hosts},{other_host}?target_session_attrs=read-write");
    // Longer than this test may take.
    let settings = [
        ("RERUN_STATEMENT_TIMEOUT_SECONDS", "600"),
        ("RERUN_DATABASE_POOL_SIZE", "4"),
    ];
    let world = World::with(Store::Elsewhere(both), &settings);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    for reply in futures_util::future::join_all((0..16).map(|_| create(&api, "before"))).await {
        assert!(
            matches!(reply, Reply::Answer { status: 200, .. }),
            "{reply:?}"
        );
    }
    let frozen = Frozen::server(&url);
    until("a group on the other server", async || {
        let reply = create(&api, "after").await;
        matches!(reply, Reply::Answer { status: 200, .. }).then_some(())
    })
    .await;
    until("ready", async || {
        matches!(api.ready().await, Reply::Answer { status: 200, .. }).then_some(())
    })
    .await;
    let groups = api
        .pages("customer-group/list", json!({}), "customer_groups")
        .await;
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!(server.process.terminate().await, Some(0));
    drop(frozen);
}

/// A server that is busy has no successor.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_its_time_is_waited_for() {
    let cluster = PgCluster::start().unwrap();
    let url = cluster.url("postgres");
    let host = url
        .rsplit_once('@')
        .unwrap()
        .1
        .strip_suffix("/postgres")
        .unwrap();
    let both = url.replace(host, &format!("{host},{host}"));
    let both = format!("{both}?target_session_attrs=read-write");
    let world = World::with(Store::Elsewhere(both), &[]);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let mut looks = PgConnection::establish(&url).unwrap();
    let before = sessions(&mut looks);
    let mut lock = holding(&url, "LOCK TABLE customer_groups");
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { create(&api, "slow").await }
    });
    // Two connections, each begun while the one before said that it is the same server.
    until("new connections", async || {
        (sessions(&mut looks) >= before + 5).then_some(())
    })
    .await;
    lock.batch_execute("COMMIT").unwrap();
    let reply = ended(waiting).await;
    assert!(
        matches!(reply, Reply::Answer { status: 200, .. }),
        "{reply:?}"
    );
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}

/// The lock of those who change the schema.
const MIGRATION_LOCK: i64 = 0x7265_7275_6e01;
const SHORT: Patience = Patience {
    lock: Duration::from_mins(10),
    answer: Duration::from_secs(3),
};

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Waits until so many sessions are in a state.
async fn until_sessions(connection: &mut PgConnection, condition: &str, count: i64) {
    let query = format!(
        "SELECT count(*) AS count FROM pg_stat_activity \
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND {condition}"
    );
    until(condition, async || {
        let found = diesel::sql_query(&query).get_result::<Count>(connection);
        (found.unwrap().count == count).then_some(())
    })
    .await;
}

/// How many sessions there have been.
fn sessions(connection: &mut PgConnection) -> i64 {
    let query = "SELECT sessions AS count FROM pg_stat_database WHERE datname = current_database()";
    let found = diesel::sql_query(query).get_result::<Count>(connection);
    found.unwrap().count
}

/// A session that holds a lock until it is dropped.
fn holding(url: &str, lock: &str) -> PgConnection {
    let mut holder = PgConnection::establish(url).unwrap();
    holder.batch_execute(&format!("BEGIN; {lock}")).unwrap();
    holder
}

/// How work on the schema ends, within the limit.
async fn ended<T>(work: JoinHandle<T>) -> T {
    tokio::time::timeout(LIMIT, work).await.unwrap().unwrap()
}

fn applied(url: &str) -> usize {
    let known = rerun_pg::migrations(url).unwrap();
    known.iter().filter(|migration| migration.applied).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_ends_when_the_server_stands_still() {
    let cluster = PgCluster::start().unwrap();
    let url = cluster.url("postgres");
    let mut admin = PgConnection::establish(&url).unwrap();
    let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
    let holder = holding(&url, &lock);
    let migrating = url.clone();
    let work = tokio::task::spawn_blocking(move || rerun_pg::migrate_within(&migrating, SHORT));
    until_sessions(&mut admin, "wait_event_type = 'Lock'", 1).await;
    // A server that answers is waited for, however long the lock is held: more than once in the
    // time without a sign after which it would be given up.
    let seen = sessions(&mut admin);
    until("questions whether the server is there", async || {
        (sessions(&mut admin) >= seen + 6).then_some(())
    })
    .await;
    assert!(!work.is_finished());
    let frozen = Frozen::server(&url);
    let asked = Instant::now();
    let given_up = ended(work).await;
    assert!(
        matches!(given_up, Err(MigrateError::Silent(_))),
        "{given_up:?}"
    );
    tell(&format!(
        "a migration was given up after {:?}",
        asked.elapsed()
    ));
    // What was given up gets the lock when the server goes on, and commits nothing.
    drop(frozen);
    drop(holder);
    until_sessions(&mut admin, "true", 0).await;
    assert_eq!(applied(&url), 0);
    assert!(!rerun_pg::migrate(&url).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_the_schema_ends_when_its_session_stands_still() {
    let cluster = PgCluster::start().unwrap();
    let url = cluster.url("postgres");
    let names = rerun_pg::migrate(&url).unwrap();
    let mut admin = PgConnection::establish(&url).unwrap();
    let lock = "LOCK TABLE __diesel_schema_migrations IN ACCESS EXCLUSIVE MODE";
    for looks in [
        |url: &str| rerun_pg::migrations_within(url, SHORT).map(drop),
        |url: &str| rerun_pg::migrate_within(url, SHORT).map(drop),
    ] {
        let holder = holding(&url, lock);
        let reading = url.clone();
        let work = tokio::task::spawn_blocking(move || looks(&reading));
        until_sessions(&mut admin, "wait_event_type = 'Lock'", 1).await;
        let frozen = Frozen::stop(
            &url,
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
             AND backend_type = 'client backend'",
        );
        let given_up = ended(work).await;
        assert!(
            matches!(given_up, Err(MigrateError::Silent(_))),
            "{given_up:?}"
        );
        drop(frozen);
        drop(holder);
        until_sessions(&mut admin, "true", 0).await;
    }
    assert_eq!(applied(&url), names.len());
}

/// Locks every table, whichever of them the last migration changes.
const LOCK_TABLES: &str = "DO $$ BEGIN EXECUTE ( \
       SELECT 'LOCK TABLE ' || string_agg(quote_ident(tablename), ', ') || ' IN EXCLUSIVE MODE' \
       FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '%diesel%'); \
     END $$";

/// The session that holds the lock may stand still for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_does_not_wait_for_another_without_end() {
    let cluster = PgCluster::start().unwrap();
    let url = cluster.url("postgres");
    let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
    let holder = holding(&url, &lock);
    let patience = Patience {
        lock: Duration::from_secs(1),
        ..SHORT
    };
    let migrating = url.clone();
    let work = tokio::task::spawn_blocking(move || rerun_pg::migrate_within(&migrating, patience));
    let refused = ended(work).await;
    assert!(
        matches!(refused, Err(MigrateError::Locked(_))),
        "{refused:?}"
    );
    drop(holder);
    // Nor for who uses a table that it changes.
    let names = rerun_pg::migrate(&url).unwrap();
    rerun_pg::revert(&url).unwrap();
    let holder = holding(&url, LOCK_TABLES);
    let migrating = url.clone();
    let work = tokio::task::spawn_blocking(move || rerun_pg::migrate_within(&migrating, patience));
    let refused = ended(work).await;
    assert!(
        matches!(refused, Err(MigrateError::Failed(_))),
        "{refused:?}"
    );
    assert_eq!(applied(&url), names.len() - 1);
    drop(holder);
    assert_eq!(rerun_pg::migrate(&url).unwrap(), names[names.len() - 1..]);
    // With nothing to apply there is nobody to wait for.
    let _holder = holding(&url, &lock);
    assert!(rerun_pg::migrate_within(&url, patience).unwrap().is_empty());
}
