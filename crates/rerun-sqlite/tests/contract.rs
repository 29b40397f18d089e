//! The behaviour that every store must show, on a real SQLite file.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

use rerun_contract::fixture::Fixture;
use rerun_sqlite::{Options, SqliteStore};

async fn fresh() -> Fixture<SqliteStore> {
    let (url, folder) = common::database();
    let store = SqliteStore::connect(&url, &Options::default()).expect("a connection");
    Fixture::new(store).keeping(folder)
}

rerun_contract::store_contract!(fresh);

#[test]
fn no_sequence_of_commands_breaks_an_invariant() {
    rerun_contract::model::run_sequences(20, fresh);
}
