//! A process that is told to end gives back what it has not done.

use std::time::Duration;

use crate::api::Api;
use crate::story::{NEW, Story};
use crate::stub::repeated;
use crate::world::{CONCURRENCY, Store, World};
use crate::{chance, tell};

const LATENCY: Duration = Duration::from_millis(4);
/// Longer than the test waits for anything: who takes a message over has been given it.
const LEASE_SECONDS: u32 = 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_gives_its_leases_back_on_sqlite() {
    let world = World::new(Store::Sqlite, LATENCY, LEASE_SECONDS);
    let server = world.serve(CONCURRENCY).await;
    let api = Api::new(&world, &server);
    let story = Story::published(&api).await;
    world.stub.forget();
    // All calls of the server are under way when it is told to end.
    world.stub.hold();
    story.initiate().await;
    let enough = |calls: &Vec<_>| calls.len() == CONCURRENCY;
    world.stub.until("calls", enough).await;
    assert_eq!(server.process.terminate().await, Some(0));
    world.stub.release();

    let server = world.serve(CONCURRENCY).await;
    api.moved_to(&server);
    story.completed(2).await;
    let calls = world.stub.calls();
    assert_eq!(calls.len(), NEW + CONCURRENCY);
    assert_eq!(repeated(&calls).len(), CONCURRENCY);
    story.check(&calls).await;
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_gives_its_leases_back_on_postgres() {
    let mut chance = chance();
    let world = World::new(Store::postgres(), LATENCY, LEASE_SECONDS);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let first = world.worker("first").await;
    let story = Story::published(&api).await;
    world.stub.forget();
    story.initiate().await;
    let until = chance.usize(1..NEW / 2);
    world
        .stub
        .until("calls", |calls| calls.len() >= until)
        .await;
    assert_eq!(first.terminate().await, Some(0));
    let before = world.stub.calls().len();
    let generated = story.generated().await;

    let second = world.worker("second").await;
    story.completed(2).await;
    let calls = world.stub.calls();
    let again = repeated(&calls);
    tell(&format!(
        "ended after {before} calls and {generated} messages, {} calls again",
        again.len()
    ));
    // What was answered is stored: only calls that the end broke off are made again.
    assert!(again.len() <= CONCURRENCY, "{again:?}");
    assert_eq!(calls.len(), NEW + again.len());
    story.check(&calls).await;
    assert_eq!(second.terminate().await, Some(0));
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}
