//! PostgreSQL crashes and comes back under a server that runs on.

use std::time::{Duration, Instant};

use rerun_testkit::{ClusterOptions, PgCluster};
use serde_json::json;

use crate::api::{Api, Reply};
use crate::story::{GROUPS, Story};
use crate::wait::until;
use crate::world::{CONCURRENCY, Store, World};
use crate::writers::Writers;
use crate::{number, tell};

const LATENCY: Duration = Duration::from_millis(20);
/// Longer than an outage here.
const LEASE_SECONDS: u32 = 60;
const OUTAGES: usize = 2;
/// Longer than two requests take without a database: each waits for a permit to use a connection
/// and then for the connection, 5 s at most.
const PATIENCE: Duration = Duration::from_secs(25);

/// How long an outage lasts at least.
fn outage() -> Duration {
    Duration::from_secs(number("RERUN_TEST_OUTAGE_SECONDS").unwrap_or(2))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_postgres_costs_no_acknowledged_write_and_no_restart() {
    let options = ClusterOptions {
        durable: true,
        ..ClusterOptions::default()
    };
    let mut cluster = PgCluster::start_with(options).unwrap();
    let place = Store::Elsewhere(cluster.url("postgres"));
    let world = World::new(place, LATENCY, LEASE_SECONDS);
    let mut server = world.serve(CONCURRENCY).await;
    let api = Api::new(&world, &server);
    let story = Story::published(&api).await;
    world.stub.forget();
    story.initiate().await;
    let writers = Writers::start(&api, 2);
    for _ in 0..OUTAGES {
        writers.until_acknowledged(20).await;
        let calls = world.stub.calls().len() + 20;
        world.stub.until("calls", |now| now.len() >= calls).await;
        let refused = writers.so_far().refused;
        let stopped = Instant::now();
        cluster.stop_immediately().unwrap();
        until("a server that says it is not ready", async || {
            api.ready().await.is_unavailable().then_some(())
        })
        .await;
        let reply = api.send("campaign/list", "application/json", json!({}).to_string());
        let reply = reply.await;
        assert!(reply.is_unavailable(), "{reply:?}");
        until("a write that is refused", async || {
            (writers.so_far().refused > refused).then_some(())
        })
        .await;

        // For as long as it lasts everybody is told so, and soon.
        while stopped.elapsed() < outage() {
            let asked = Instant::now();
            let body = json!({}).to_string();
            let [list, ready] = [
                api.send("campaign/list", "application/json", body).await,
                api.ready().await,
            ];
            assert!(list.is_unavailable(), "{list:?}");
            assert!(ready.is_unavailable(), "{ready:?}");
            assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
        }

        let start = Instant::now();
        cluster.start_again().unwrap();
        until("a server that is ready again", async || {
            let reply = api.ready().await;
            let ready = matches!(reply, Reply::Answer { status: 200, .. });
            assert!(ready || reply.is_unavailable(), "{reply:?}");
            ready.then_some(())
        })
        .await;
        tell(&format!("ready again after {:?}", start.elapsed()));
    }
    writers.until_acknowledged(20).await;
    assert!(server.process.runs(), "the server ended");
    story.completed(2).await;
    let written = writers.stop().await;
    tell(&format!(
        "{OUTAGES} outages, {} writes acknowledged, {} refused, {} cut off",
        written.acknowledged(),
        written.refused,
        written.broken
    ));
    assert_eq!(written.broken, 0, "a request was left without an answer");
    story.check(&world.stub.calls()).await;
    written.check(&api, GROUPS).await;
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}
