//! The harness on real servers, and `with-postgres` as a process.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests misses their helpers"
)]

use std::io::{BufRead as _, BufReader};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::{Connection as _, PgConnection, RunQueryDsl as _};
use rerun_testkit::{
    BoxError, ClusterOptions, HarnessError, PgCluster, SERVER_VARIABLE, TestDatabase,
};

/// Not the process-wide one: a server named in the environment may hold an earlier run's templates.
static SERVER: LazyLock<PgCluster> = LazyLock::new(|| PgCluster::start().unwrap());

fn server() -> String {
    SERVER.url("postgres")
}

fn connect(url: &str) -> PgConnection {
    PgConnection::establish(url).unwrap()
}

fn migrate(url: &str) -> Result<(), BoxError> {
    PgConnection::establish(url)?.batch_execute(
        "CREATE TABLE note (text text NOT NULL); INSERT INTO note VALUES ('first')",
    )?;
    Ok(())
}

fn count(connection: &mut PgConnection, from: &str) -> i64 {
    sql::<BigInt>(&format!("SELECT count(*) FROM {from}"))
        .get_result(connection)
        .unwrap()
}

fn databases_like(name: &str) -> i64 {
    count(
        &mut connect(&server()),
        &format!("pg_database WHERE datname LIKE '%{name}%'"),
    )
}

fn folder_of(server: &mut PgConnection) -> PathBuf {
    let data: String = sql::<Text>("SHOW data_directory")
        .get_result(server)
        .unwrap();
    PathBuf::from(data).parent().unwrap().to_owned()
}

#[test]
fn databases_made_at_once_share_one_migration_and_nothing_else() {
    let migrations = AtomicUsize::new(0);
    let make = || {
        TestDatabase::create_on(&server(), "shared", |url| {
            migrations.fetch_add(1, Ordering::Relaxed);
            migrate(url)
        })
        .unwrap()
    };
    let databases: Vec<_> = thread::scope(|scope| {
        let makers: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        makers
            .into_iter()
            .map(|maker| maker.join().unwrap())
            .collect()
    });
    for database in &databases {
        let mut connection = connect(database.url());
        assert_eq!(
            count(&mut connection, "note"),
            1,
            "the template's row alone"
        );
        connection
            .batch_execute("INSERT INTO note VALUES ('second')")
            .unwrap();
    }
    assert_eq!(migrations.load(Ordering::Relaxed), 1);
}

#[test]
fn a_database_is_dropped_though_somebody_is_connected() {
    let database = TestDatabase::create_on(&server(), "dropped", migrate).unwrap();
    let mut left_open = connect(database.url());
    let name = database.name().to_owned();
    assert_eq!(databases_like(&name), 1);
    drop(database);
    assert_eq!(databases_like(&name), 0);
    assert!(left_open.batch_execute("SELECT 1").is_err());
}

#[test]
fn a_failed_migration_leaves_no_template() {
    let failed = TestDatabase::create_on(&server(), "failed", |url| {
        migrate(url)?;
        Err("no such column".into())
    });
    let error = failed.unwrap_err();
    assert!(matches!(error, HarnessError::Migration { .. }), "{error}");
    assert!(error.to_string().contains("no such column"), "{error}");
    assert_eq!(databases_like("failed"), 0);

    let database = TestDatabase::create_on(&server(), "failed", migrate).unwrap();
    assert_eq!(count(&mut connect(database.url()), "note"), 1);
}

#[test]
fn a_half_made_template_is_made_again() {
    let cut_off = panic::catch_unwind(AssertUnwindSafe(|| {
        TestDatabase::create_on(&server(), "cut_off", |url| {
            connect(url).batch_execute("CREATE TABLE other (id int)")?;
            panic!("the process ends here")
        })
    }));
    assert!(cut_off.is_err());
    let database = TestDatabase::create_on(&server(), "cut_off", migrate).unwrap();
    let mut connection = connect(database.url());
    assert_eq!(count(&mut connection, "note"), 1);
    assert_eq!(
        count(&mut connection, "pg_class WHERE relname = 'other'"),
        0
    );
}

#[test]
fn a_migration_may_leave_its_connections_open() {
    let mut pool = Vec::new();
    let database = TestDatabase::create_on(&server(), "left_open", |url| {
        pool.push(connect(url));
        migrate(url)
    });
    assert_eq!(count(&mut connect(database.unwrap().url()), "note"), 1);
}

#[test]
fn a_template_name_that_needs_quoting_is_refused() {
    for name in [
        "",
        "Upper",
        "a-b",
        "a\"; DROP DATABASE postgres",
        &"x".repeat(41),
    ] {
        let error = TestDatabase::create_on(&server(), name, migrate).unwrap_err();
        assert!(
            matches!(error, HarnessError::InvalidTemplateName { .. }),
            "{error}"
        );
    }
}

#[test]
fn the_default_server_serves() {
    let database = TestDatabase::create("testkit_note", migrate).unwrap();
    assert_eq!(count(&mut connect(database.url()), "note"), 1);
}

#[test]
fn both_urls_lead_to_the_server_and_a_password_is_needed_over_tcp() {
    for url in [SERVER.url("postgres"), SERVER.socket_url("postgres")] {
        connect(&url);
    }
    let guessed = format!(
        "postgres://postgres:guess@127.0.0.1:{}/postgres",
        SERVER.port()
    );
    assert!(PgConnection::establish(&guessed).is_err());
}

#[test]
fn a_durable_server_keeps_what_was_committed_when_it_stops_at_once() {
    let mut cluster = PgCluster::start_with(ClusterOptions {
        durable: true,
        settings: vec![("application_name".into(), "set".into())],
        ..ClusterOptions::default()
    })
    .unwrap();
    let url = cluster.url("postgres");
    let mut before = connect(&url);
    let set: String = sql::<Text>("SHOW application_name")
        .get_result(&mut before)
        .unwrap();
    assert_eq!(set, "set");
    migrate(&url).unwrap();
    let folder = folder_of(&mut before);

    cluster.stop_immediately().unwrap();
    assert!(before.batch_execute("SELECT 1").is_err());
    assert!(PgConnection::establish(&url).is_err());
    cluster.stop_immediately().unwrap();

    cluster.start_again().unwrap();
    cluster.start_again().unwrap();
    assert_eq!(cluster.url("postgres"), url);
    assert_eq!(count(&mut connect(&url), "note"), 1);

    assert!(folder.exists());
    drop(cluster);
    assert!(!folder.exists());
    assert!(PgConnection::establish(&url).is_err());
}

#[test]
fn a_server_that_refuses_its_settings_says_so() {
    let options = ClusterOptions {
        settings: vec![("max_connections".into(), "many".into())],
        ..ClusterOptions::default()
    };
    let error = PgCluster::start_with(options).unwrap_err();
    assert!(
        matches!(error, HarnessError::EndedAtStart { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("max_connections"), "{error}");
}

/// `with-postgres -- sh -c <script>`, with no server named in its environment.
fn with_postgres(script: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_with-postgres"));
    command
        .args(["--", "sh", "-c", script])
        .env_remove(SERVER_VARIABLE);
    command
}

#[test]
fn with_postgres_gives_its_command_a_server_and_ends_as_it_does() {
    let output = with_postgres(&format!("echo ${SERVER_VARIABLE}; exit 7"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    let url = String::from_utf8(output.stdout).unwrap();
    assert!(url.starts_with("postgres://"), "{url}");
    assert!(
        PgConnection::establish(url.trim()).is_err(),
        "the server is still there"
    );

    let output = with_postgres("kill -TERM $$").output().unwrap();
    assert_eq!(output.status.code(), Some(128 + 15));
}

#[test]
fn with_postgres_leaves_a_named_server_alone() {
    let named = "postgres://somewhere.else/db";
    let output = with_postgres(&format!("echo ${SERVER_VARIABLE}"))
        .env(SERVER_VARIABLE, named)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), named);
}

#[test]
fn with_postgres_says_when_it_cannot_run_the_command() {
    for (arguments, expected) in [
        (&["--"][..], "usage"),
        (&["--", "/no/such/program"], "/no/such/program"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_with-postgres"))
            .args(arguments)
            .env(SERVER_VARIABLE, "postgres://unused")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(127));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_killed_process_leaves_neither_a_server_nor_its_folder() {
    // The command waits for the end of its input, which is this test's.
    let mut process = with_postgres(&format!("echo ${SERVER_VARIABLE}; exec cat"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let mut connection = connect(url.trim());
    let folder = folder_of(&mut connection);
    assert!(folder.exists());

    // SIGKILL: nothing of the process itself can clean up.
    process.kill().unwrap();
    // Returns when the server ends the connection.
    let served: Result<bool, _> =
        sql::<Bool>("SELECT pg_sleep(600) IS NOT NULL").get_result(&mut connection);
    assert!(served.is_err());
    let deadline = Instant::now() + Duration::from_secs(30);
    while folder.exists() {
        assert!(
            Instant::now() < deadline,
            "{} is still there",
            folder.display()
        );
        thread::yield_now();
    }
    process.wait().unwrap();
}
