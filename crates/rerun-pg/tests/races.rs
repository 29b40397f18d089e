//! What happens when two things happen at once.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the lint's exemption for tests misses their helpers"
)]

mod common;

use diesel::connection::SimpleConnection;
use diesel::sql_types::BigInt;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl};
use rerun_contract::fixture::{Fixture, generated};
use rerun_pg::{Options, PgStore};

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

fn count(conn: &mut PgConnection, of: &str) -> i64 {
    diesel::sql_query(format!("SELECT count(*) AS rows FROM {of}"))
        .get_result::<Count>(conn)
        .unwrap()
        .rows
}

/// A lease that is renewed while its results are stored: their tasks go all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_does_not_keep_tasks_whose_results_are_stored() {
    let database = common::database();
    let url = database.url().to_owned();
    let mut renewing = PgConnection::establish(&url).unwrap();
    let mut watching = PgConnection::establish(&url).unwrap();
    let store = PgStore::connect(&url, &Options::default()).unwrap();
    let f = Fixture::new(store).keeping(database);
    let group = f.group(&["DE", "FR", "IT"]).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    let leased = f.lease(10).await;
    assert_eq!(leased.tasks.len(), 3);

    renewing
        .batch_execute("BEGIN; UPDATE generation_tasks SET due_at = due_at + interval '1 second'")
        .unwrap();
    let end_of_renewal = std::thread::spawn(move || {
        let waits =
            "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while count(&mut watching, waits) == 0 {
            std::thread::yield_now();
        }
        renewing.batch_execute("COMMIT").unwrap();
        watching
    });
    let settled = f.settle(&leased, |task| Ok(generated(task))).await;
    let mut watching = end_of_renewal.join().unwrap();
    assert_eq!(settled.generated, 3);
    assert_eq!(count(&mut watching, "generation_tasks"), 0);
    f.check().await;
}
