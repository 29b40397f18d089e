//! The behaviour that every store must show, on a real PostgreSQL.
#![expect(clippy::expect_used, reason = "a test that cannot be set up fails")]

mod common;
mod statements;

use rerun_contract::fixture::Fixture;
use rerun_pg::{Options, PgStore, Pooler};
use statements::JudgedDatabase;

async fn fresh() -> Fixture<PgStore> {
    let database = tokio::task::spawn_blocking(|| JudgedDatabase::new(common::database()))
        .await
        .expect("a database");
    let mut options = Options::default();
    let url = match database.pooled_url() {
        Some(url) => {
            options.pooler = Pooler::Transaction;
            url
        }
        None => database.url().to_owned(),
    };
    let store = PgStore::connect(&url, &options).expect("a connection");
    Fixture::new(store).keeping(database)
}

rerun_contract::store_contract!(fresh);

/// A few of the sequences that the store in memory goes through by the thousand.
#[test]
fn random_commands_keep_the_invariants() {
    rerun_contract::model::run_sequences(10, fresh);
}
