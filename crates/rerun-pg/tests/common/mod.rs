//! A database for each test.

use std::path::Path;

use rerun_testkit::{TestDatabase, template_name};

/// A fresh, migrated database.
pub(crate) fn database() -> TestDatabase {
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let template = template_name("rerun_pg", &migrations).expect("migrations");
    TestDatabase::create(&template, |url| {
        rerun_pg::migrate(url)?;
        Ok(())
    })
    .expect("a PostgreSQL server for the tests")
}
