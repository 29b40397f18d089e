//! A database for each test.

use std::hash::{DefaultHasher, Hash, Hasher};

use rerun_testkit::TestDatabase;

const SCHEMA: &str = include_str!("../../migrations/2026-11-23-000001_campaigns/up.sql");

/// A fresh, migrated database. The template is named after the schema's text, so that a server
/// that outlives the run never hands out an older one.
pub(crate) fn database() -> TestDatabase {
    let mut hash = DefaultHasher::new();
    SCHEMA.hash(&mut hash);
    let template = format!("rerun_pg_{:016x}", hash.finish());
    TestDatabase::create(&template, |url| {
        rerun_pg::migrate(url)?;
        Ok(())
    })
    .expect("a PostgreSQL server for the tests")
}
