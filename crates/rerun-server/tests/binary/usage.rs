//! What a language model's calls cost is kept with what they made.

use rerun_contract::Fixture;
use rerun_contract::fixture::generated;
use rerun_core::generation::{Made, Usage};
use rerun_core::ports;

use crate::database::Database;

async fn a_content_keeps_what_it_cost<S: ports::Store + 'static>(database: Database, store: S) {
    let f = Fixture::new(store);
    let group = f.group(&["DE", "FR"]).await;
    let campaign = f.draft(group).await;
    f.launch(campaign).await;
    let leased = f.lease(2).await;
    let generation = &f.engine.generation;
    let usages = [
        Some(Usage {
            prompt_tokens: 3,
            completion_tokens: 4,
            model: Some("small".to_owned()),
        }),
        None,
    ];
    let results = leased.tasks.iter().zip(usages).map(|(task, usage)| {
        let content = generated(task);
        generation.result_of(task, Ok(Made { content, usage }))
    });
    let results = results.collect();
    generation.settle(leased.lease, results).await.unwrap();
    for kept in [
        "prompt_tokens = 3 AND completion_tokens = 4 AND model = 'small'",
        "prompt_tokens IS NULL AND completion_tokens IS NULL AND model IS NULL",
    ] {
        let query = format!("SELECT 1 FROM contents WHERE {kept}");
        assert_eq!(database.rows(&query), 1, "{kept}");
    }
}

#[tokio::test]
async fn a_content_keeps_what_it_cost_on_sqlite() {
    let database = Database::sqlite();
    let options = rerun_sqlite::Options::default();
    let store = rerun_sqlite::SqliteStore::connect(&database.url(), &options).unwrap();
    a_content_keeps_what_it_cost(database, store).await;
}

#[tokio::test]
async fn a_content_keeps_what_it_cost_on_postgres() {
    let database = tokio::task::spawn_blocking(Database::postgres);
    let database = database.await.unwrap();
    let options = rerun_pg::Options::default();
    let store = rerun_pg::PgStore::connect(&database.url(), &options).unwrap();
    a_content_keeps_what_it_cost(database, store).await;
}
