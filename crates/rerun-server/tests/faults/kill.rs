//! The server is killed again and again while it generates.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, RunQueryDsl, SqliteConnection};
use serde_json::json;

use crate::api::{Api, Reply};
use crate::story::{GROUPS, NEW, Story};
use crate::stub::by_segment;
use crate::wait::until;
use crate::world::{CONCURRENCY, Store, World};
use crate::writers::Writers;
use crate::{chance, number, tell};

const LATENCY: Duration = Duration::from_millis(4);
/// Short, so that what a killed server held comes back soon.
const LEASE_SECONDS: u32 = 1;
/// How long after the call that decides about it a kill comes at most: some kills are to hit the
/// transaction that stores the call's answer.
const LATEST: Duration = Duration::from_millis(15);

/// Part of `whole`, up to all of it.
fn part(chance: &mut fastrand::Rng, whole: Duration) -> Duration {
    whole.mul_f64(chance.f64())
}

async fn survives_kills(place: Store) {
    let kills = number("RERUN_TEST_KILLS").map_or(4, |kills| usize::try_from(kills).unwrap());
    let mut chance = chance();
    let world = World::new(place, LATENCY, LEASE_SECONDS);
    let mut server = world.serve(CONCURRENCY).await;
    let api = Api::new(&world, &server);
    let story = Story::published(&api).await;
    world.stub.forget();
    let writers = Writers::start(&api, 2);
    story.initiate().await;
    let begun = Instant::now();
    let (mut generated, mut killed_at_start) = (0, 0);
    for killed in 0..kills {
        let calls = world.stub.calls();
        let uncalled = NEW - by_segment(&calls).len();
        // Shares that leave something to do for every kill to come.
        let share = uncalled * 3 / 2 / (kills - killed + 1);
        let until = calls.len() + chance.usize(0..=share);
        world
            .stub
            .until("calls", |calls| calls.len() >= until)
            .await;
        tokio::time::sleep(part(&mut chance, LATEST)).await;
        server.process.kill();

        let start = Instant::now();
        server = world.serve(CONCURRENCY).await;
        let start = start.elapsed();
        if chance.u8(0..5) == 0 {
            server.process.kill();
            let starting = world.start_server(CONCURRENCY);
            tokio::time::sleep(part(&mut chance, start)).await;
            starting.kill();
            killed_at_start += 1;
            server = world.serve(CONCURRENCY).await;
        }
        api.moved_to(&server);
        let now = story.generated().await;
        assert!(now >= generated, "messages were lost: {now} of {generated}");
        assert!(now < NEW, "the run ended before the last kill");
        generated = now;
    }
    story.completed(2).await;
    let took = begun.elapsed();
    let written = writers.stop().await;
    let calls = world.stub.calls();
    tell(&format!(
        "{kills} kills at work and {killed_at_start} at the start, {NEW} messages, {} calls again, \
         {} writes acknowledged and {} cut off, {:.1} s",
        calls.len() - by_segment(&calls).len(),
        written.acknowledged(),
        written.broken,
        took.as_secs_f64(),
    ));
    story.check(&calls).await;
    written.check(&api, GROUPS).await;
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_neither_loses_nor_doubles_a_message_on_sqlite() {
    survives_kills(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_neither_loses_nor_doubles_a_message_on_postgres() {
    survives_kills(Store::postgres()).await;
}

#[derive(diesel::QueryableByName)]
struct Rows {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    rows: i64,
}

fn count(connection: &mut SqliteConnection, of: &str) -> i64 {
    diesel::sql_query(format!("SELECT count(*) AS rows FROM {of}"))
        .get_result::<Rows>(connection)
        .unwrap()
        .rows
}

/// A large import on SQLite is many transactions. Nobody sees what they wrote before the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_import_leaves_the_group_as_it_was_on_sqlite() {
    const ROWS: usize = 60_000;
    let world = World::with(Store::Sqlite, &[]);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let group = api
        .post("customer-group/create", json!({ "name": "g" }))
        .await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    api.import(&group, "customer_ref,country\na,DE\n".to_owned())
        .await;
    let look = async || {
        let group = api
            .post("customer-group/get", json!({ "customer_group_id": group }))
            .await;
        (group, api.post("audit/list", json!({})).await)
    };
    let before = look().await;
    let mut file = "customer_ref,country\n".to_owned();
    for row in 0..ROWS {
        writeln!(file, "new-{row},FR").unwrap();
    }
    let path = format!("customer-group/import?customer_group_id={group}&mode=replace");
    let importing = {
        let (api, path, file) = (api.clone(), path.clone(), file.clone());
        tokio::spawn(async move { api.send(&path, "text/csv", file).await })
    };
    let mut watching = SqliteConnection::establish(&world.file().display().to_string()).unwrap();
    let begun = "customers WHERE customer_ref LIKE 'new-%'";
    until("the first slice", async || {
        (count(&mut watching, begun) > 0).then_some(())
    })
    .await;
    server.process.kill();
    assert!(matches!(importing.await.unwrap(), Reply::Broken));
    let left = count(&mut watching, begun);
    tell(&format!("killed after {left} of {ROWS} rows"));

    let server = world.serve(0).await;
    api.moved_to(&server);
    assert_eq!(look().await, before);
    // Nobody has written to the edition for long: the next import deletes it.
    watching
        .batch_execute("UPDATE customer_editions SET touched_at = touched_at - 3600")
        .unwrap();
    api.import(&group, "customer_ref,country\nb,DE\n".to_owned())
        .await;
    assert_eq!(count(&mut watching, "customers"), 2);
    assert_eq!(count(&mut watching, "customer_editions"), 0);
    let Reply::Answer {
        status: 200, body, ..
    } = api.send(&path, "text/csv", file).await
    else {
        panic!("the import that was killed is not done again");
    };
    assert_eq!(
        (&body["imported"], &body["removed"]),
        (&json!(ROWS), &json!(2))
    );
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}
