//! Tables that are distributed by account. A function that only notes its calls stands for the one of Citus: the
//! SQL file has to fit the schema, and the store has to work with what it leaves.
#![expect(clippy::expect_used, reason = "a test that cannot be set up fails")]

mod common;

use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::sql_types::{Array, Text};
use diesel::{Connection as _, PgConnection, QueryableByName, RunQueryDsl as _};
use rerun_contract::Fixture;
use rerun_pg::{Options, PgStore};
use rerun_testkit::TestDatabase;

const STAND_IN: &str = "CREATE TABLE distributed (name text, by text); \
    CREATE FUNCTION create_distributed_table(name regclass, by text, colocate_with text) RETURNS void \
      LANGUAGE sql AS 'INSERT INTO distributed VALUES (name, by)';";

#[derive(QueryableByName)]
struct Tables {
    #[diesel(sql_type = Array<Text>)]
    distributed: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    of_accounts: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    with_triggers: Vec<String>,
}

fn database() -> TestDatabase {
    let database = common::database();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/distributed.sql");
    let file = std::fs::read_to_string(file).expect("the SQL file");
    let mut admin = PgConnection::establish(database.url()).expect("a connection");
    admin.batch_execute(STAND_IN).expect("a function");
    admin
        .transaction(|admin| admin.batch_execute(&file))
        .expect("tables to distribute");
    database
}

#[test]
fn every_table_of_accounts_is_distributed_and_has_no_trigger() {
    let database = database();
    let mut admin = PgConnection::establish(database.url()).expect("a connection");
    let tables = diesel::sql_query(
        "SELECT \
           (SELECT array_agg(name ORDER BY name) FROM distributed WHERE by = 'account_id') AS distributed, \
           (SELECT array_agg(table_name::text ORDER BY table_name::text) FROM information_schema.columns \
             WHERE column_name = 'account_id' AND table_schema = 'public') AS of_accounts, \
           ARRAY(SELECT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal) AS with_triggers",
    )
    .get_result::<Tables>(&mut admin)
    .expect("tables");
    assert_eq!(tables.distributed, tables.of_accounts);
    assert_eq!(tables.with_triggers, [""; 0]);
}

async fn fresh() -> Fixture<PgStore> {
    let database = tokio::task::spawn_blocking(database);
    let database = database.await.expect("a database");
    let store = PgStore::connect(database.url(), &Options::default()).expect("a connection");
    Fixture::new(store).keeping(database)
}

#[test]
fn random_commands_keep_the_invariants() {
    rerun_contract::model::run_sequences(5, fresh);
}
