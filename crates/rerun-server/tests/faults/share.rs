//! Workers share a run, and one of them is killed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::Api;
use crate::story::{NEW, Story};
use crate::stub::{Call, by_segment, repeated};
use crate::world::{CONCURRENCY, Store, World};
use crate::{chance, tell};

const LATENCY: Duration = Duration::from_millis(5);
/// Long enough that a worker on a busy machine does not lose its leases.
const LEASE_SECONDS: u32 = 5;
const WORKERS: [&str; 3] = ["one", "two", "three"];
/// The one that is killed.
const VICTIM: &str = WORKERS[1];

fn calls_of(calls: &[Call], worker: &str) -> usize {
    calls.iter().filter(|call| call.caller == worker).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_take_over_what_a_killed_one_held_and_nothing_else() {
    let mut chance = chance();
    let world = World::new(Store::postgres(), LATENCY, LEASE_SECONDS);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let [mut workers, mut victims] = [Vec::new(), Vec::new()];
    for name in WORKERS {
        let worker = world.worker(name).await;
        if name == VICTIM {
            victims.push(worker);
        } else {
            workers.push(worker);
        }
    }
    let story = Story::published(&api).await;
    world.stub.forget();
    story.initiate().await;
    let until = chance.usize(NEW / 4..NEW / 2);
    let enough = |calls: &Vec<Call>| {
        calls.len() >= until && WORKERS.iter().all(|worker| calls_of(calls, worker) > 0)
    };
    world.stub.until("calls of every worker", enough).await;
    victims.into_iter().for_each(crate::process::Process::kill);
    let before = world.stub.calls().len();
    let missing = story.missing().await;
    story.completed(2).await;

    let calls = world.stub.calls();
    let again = repeated(&calls);
    let by_victim = calls.iter().filter(|call| call.caller == VICTIM);
    let lost: BTreeSet<&str> = by_victim
        .map(|call| call.segment.as_str())
        .filter(|segment| missing.contains(*segment))
        .collect();
    tell(&format!(
        "{NEW} messages, calls {:?}, killed after {}, {} calls lost, {} again",
        WORKERS.map(|worker| (worker, calls_of(&calls, worker))),
        before,
        lost.len(),
        again.len(),
    ));
    assert!(again.is_subset(&lost), "{again:?} again, {lost:?} lost");
    assert!(
        by_segment(&calls).values().all(|calls| *calls <= 2),
        "a message was made a third time"
    );
    // As many calls again may have ended and be on their way into the database.
    assert!(again.len() <= 2 * CONCURRENCY, "{again:?}");
    assert!(calls_of(&calls, VICTIM) < NEW, "the others did nothing");
    story.check(&calls).await;
    for worker in workers {
        assert_eq!(worker.terminate().await, Some(0));
    }
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}
