//! Which schemas a server starts on.

use std::io::Read as _;
use std::path::Path;
use std::process::{Output, Stdio};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use rerun_testkit::{ClusterOptions, PgCluster, TestDatabase};

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

/// Names every file of a folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn commands_that_read_make_no_file_and_name_the_one_that_is_missing() {
    let id = "0193ed20-7b3c-7000-8000-00000000000a";
    let import = [
        "campaign",
        "import",
        "--account",
        id,
        "--user",
        id,
        "--customer-group",
        id,
        "--name",
        "n",
        "--segment-by",
        "f",
        "--subject-template",
        "s",
        "--body-template",
        "b",
        "-",
    ];
    let commands: [&[&str]; 13] = [
        &["migrate", "--status"],
        &["audit", "verify"],
        &["campaign", "list", "--account", id],
        &["campaign", "show", "--account", id, id],
        &["campaign", "export", "--account", id, id],
        &["campaign", "delete", "--account", id, "--user", id, id],
        &["webhook", "list", "--account", id],
        &[
            "webhook",
            "replay",
            "--account",
            id,
            "--user",
            id,
            "--failed",
            id,
        ],
        &["webhook", "disable", "--account", id, "--user", id, id],
        &["events", "tail", "--account", id],
        &import,
        &["worker"],
        &["serve"],
    ];
    for arguments in commands {
        let folder = folder();
        let mut command = with_secrets(rerun(folder.path(), arguments));
        command
            .env("RERUN_DATABASE_URL", "sqlite://mistyped.db")
            .env("RERUN_AUTO_MIGRATE", "false");
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        let file = folder.path().canonicalize().unwrap().join("mistyped.db");
        assert!(
            said.contains(&file.display().to_string()),
            "{arguments:?}: {said}"
        );
        assert!(
            said.contains("there is no database"),
            "{arguments:?}: {said}"
        );
        assert_eq!(files(folder.path()), [""; 0], "{arguments:?}");
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_named_with_the_reason() {
    let folder = folder();
    let path = folder.path().canonicalize().unwrap();
    std::fs::write(path.join("plain"), "no folder").unwrap();
    std::fs::create_dir(path.join("folder.db")).unwrap();
    std::fs::write(
        path.join("text.db"),
        "not a database, whatever its name is\n".repeat(99),
    )
    .unwrap();
    for (url, reason) in [
        ("sqlite://missing/rerun.db", "missing does not exist"),
        ("sqlite://plain/rerun.db", "plain is not a folder"),
        ("sqlite://folder.db", "it is a folder"),
        ("sqlite://text.db", "it is not an SQLite database"),
    ] {
        for command in [
            &["migrate"][..],
            &["migrate", "--status"],
            &["audit", "verify"],
            &["serve"],
        ] {
            let (code, said) = {
                let mut command = with_secrets(rerun(&path, command));
                let output = command.env("RERUN_DATABASE_URL", url).output().unwrap();
                (output.status.code(), text(&output.stderr))
            };
            assert_eq!(code, Some(1), "{url}: {said}");
            let file = path.join(url.trim_start_matches("sqlite://"));
            assert!(said.contains(&file.display().to_string()), "{url}: {said}");
            assert!(said.contains(reason), "{url}: {said}");
            assert!(!said.contains("a migration failed"), "{url}: {said}");
        }
    }
}

#[test]
fn parameters_of_a_file_are_refused() {
    let folder = folder();
    let url = "sqlite://x.db?mode=rwc";
    for command in [&["migrate"][..], &["migrate", "--status"], &["serve"]] {
        let mut command = with_secrets(rerun(folder.path(), command));
        let output = command.env("RERUN_DATABASE_URL", url).output().unwrap();
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{said}");
        assert!(
            said.contains("`sqlite://x.db?mode=rwc` has a `?`"),
            "{said}"
        );
    }
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 0, "nothing is made");
}

#[cfg(unix)]
#[test]
fn a_new_file_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let (_server, _log) = crate::serve(folder.path(), &[]);
    let mode = |name: &str| {
        let found = std::fs::metadata(folder.path().join(name)).unwrap();
        found.permissions().mode() & 0o777
    };
    for name in ["rerun.db", "rerun.db-wal", "rerun.db-shm"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
}

/// Runs several commands at the same time, with an end to the wait for them.
fn all_at_once(url: &str, commands: &[&[&str]]) -> Vec<Output> {
    let folder = folder();
    let started = std::time::Instant::now();
    let running: Vec<_> = commands
        .iter()
        .map(|arguments| {
            let mut command = rerun(folder.path(), arguments);
            command
                .env("RERUN_DATABASE_URL", url)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let ended = |mut child: std::process::Child| {
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed().as_secs() > 60 {
                child.kill().unwrap();
                panic!("it never ended");
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        child
            .stdout
            .take()
            .unwrap()
            .read_to_end(&mut stdout)
            .unwrap();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_end(&mut stderr)
            .unwrap();
        Output {
            status,
            stdout,
            stderr,
        }
    };
    running.into_iter().map(ended).collect()
}

#[test]
fn eight_migrations_at_once_end_well_and_hold_no_lock_of_a_session() {
    let options = ClusterOptions {
        settings: vec![("log_statement".to_owned(), "all".to_owned())],
        ..ClusterOptions::default()
    };
    let cluster = PgCluster::start_with(options).unwrap();
    let url = cluster.url("postgres");
    let migrate: &[&str] = &["migrate"];
    let applied = all_at_once(&url, &[migrate; 8])
        .iter()
        .filter(|output| {
            assert!(output.status.success(), "{output:?}");
            !text(&output.stdout).contains("Nothing to apply")
        })
        .count();
    assert_eq!(applied, 1);
    let mut log = String::new();
    cluster.log().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("pg_advisory_xact_lock("));
    for of_a_session in [
        "pg_advisory_lock",
        "pg_try_advisory_lock",
        "pg_advisory_unlock",
    ] {
        assert!(!log.contains(of_a_session), "{of_a_session}");
    }
    // Whatever others hold, a look at the state waits for nobody.
    let mut other = PgConnection::establish(&url).unwrap();
    other
        .batch_execute(
            "BEGIN; SELECT pg_advisory_xact_lock(125780037561857); \
             LOCK TABLE audit_entries, campaigns IN ACCESS EXCLUSIVE MODE",
        )
        .unwrap();
    let status: &[&str] = &["migrate", "--status"];
    for output in all_at_once(&url, &[status; 2]) {
        assert!(output.status.success(), "{output:?}");
        assert!(!text(&output.stdout).contains("pending"), "{output:?}");
    }
}
