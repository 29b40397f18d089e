//! Which schemas a server starts on.

use rerun_testkit::TestDatabase;

use crate::database::Database;
use crate::{folder, rerun, text, with_secrets};

/// How a command ends on this database, and what it says.
fn start(command: &str, url: &str, auto_migrate: bool) -> (Option<i32>, String) {
    let folder = folder();
    let mut command = with_secrets(rerun(folder.path(), &[command]));
    command
        .env("RERUN_DATABASE_URL", url)
        .env("RERUN_BIND", "127.0.0.1:0");
    if !auto_migrate {
        command.env("RERUN_AUTO_MIGRATE", "false");
    }
    let output = command.output().unwrap();
    (output.status.code(), text(&output.stderr))
}

fn refuses_a_newer_schema(database: &Database) {
    database.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101000001')");
    for (command, auto_migrate) in [("serve", true), ("serve", false), ("worker", false)] {
        let (code, said) = start(command, &database.url(), auto_migrate);
        assert_eq!(code, Some(1), "{command}: {said}");
        for part in ["99990101000001", "does not know", "newer"] {
            assert!(said.contains(part), "{command}: {said}");
        }
    }
}

#[test]
fn a_schema_of_a_newer_version_is_refused_on_sqlite() {
    refuses_a_newer_schema(&Database::sqlite());
}

#[test]
fn a_schema_of_a_newer_version_is_refused_on_postgres() {
    refuses_a_newer_schema(&Database::postgres());
}

fn refuses_a_pending_schema(url: &str) {
    for command in ["serve", "worker"] {
        let (code, said) = start(command, url, false);
        assert_eq!(code, Some(1), "{command}: {said}");
        assert!(said.contains("`rerun-http migrate`"), "{command}: {said}");
    }
}

#[test]
fn a_schema_that_lacks_a_migration_is_refused_on_sqlite() {
    let folder = folder();
    let file = folder.path().join("rerun.db");
    refuses_a_pending_schema(&format!("sqlite://{}", file.display()));
}

#[test]
fn a_schema_that_lacks_a_migration_is_refused_on_postgres() {
    let database = TestDatabase::create("empty", |_| Ok(())).unwrap();
    refuses_a_pending_schema(database.url());
}
