//! A database for each test.

use tempfile::TempDir;

/// A fresh, migrated database, and the folder that it is removed with.
pub(crate) fn database() -> (String, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rerun.db");
    let url = format!("sqlite://{}", file.display());
    rerun_sqlite::migrate(&url).expect("a schema");
    (url, folder)
}
