//! A PostgreSQL whose processes stand still: its sockets are open, and nobody answers.

use std::time::{Duration, Instant};

use diesel::sql_types::Integer;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl};
use rerun_testkit::PgCluster;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::api::{Api, Reply};
use crate::tell;
use crate::wait::until;
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
