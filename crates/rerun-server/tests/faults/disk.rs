//! SQLite on a disk that is full, and on one that cannot be written.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, prlimit};
use serde_json::{Value, json};

use crate::api::{Api, Reply};
use crate::process::Process;
use crate::tell;
use crate::wait::{LIMIT, until};
use crate::world::{Server, Store, World};

/// `nobody`, to whom the permissions of files apply, other than to root.
const NOBODY_UID: u32 = 65_534;

async fn create(api: &Api, name: &str) -> Reply {
    let body = json!({ "name": name }).to_string();
    api.send("customer-group/create", "application/json", body)
        .await
}

async fn groups(api: &Api) -> Vec<Value> {
    api.pages("customer-group/list", json!({}), "customer_groups")
        .await
}

/// A shell that runs the command with the signal ignored that a file's size limit sends, so that
/// the limit is an error of writing, as a full disk is.
fn ignoring_the_signal(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell.stdin(std::process::Stdio::null());
    shell
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_damages_nothing_and_passes() {
    let world = World::with(Store::Sqlite, &[]);
    let command = ignoring_the_signal(&world.server_command(0));
    let server = Server::of(Process::start("server", command)).await;
    let api = Api::new(&world, &server);
    let group = api
        .post("customer-group/create", json!({ "name": "g" }))
        .await;
    let group = group["id"].as_str().unwrap().to_owned();
    let old = getrlimit(Resource::Fsize);
    let limit = |bytes| {
        let new = Rlimit {
            current: bytes,
            maximum: old.maximum,
        };
        prlimit(Some(server.process.pid()), Resource::Fsize, new).unwrap();
    };
    limit(Some(1 << 20));

    let start = tokio::time::Instant::now();
    let mut made = 0;
    let refused = loop {
        // Long, so that the disk is full soon.
        match create(&api, &format!("{made} {}", "n".repeat(150))).await {
            Reply::Answer { status: 200, .. } => made += 1,
            reply @ (Reply::Answer { .. } | Reply::Broken) => break reply,
        }
        assert!(start.elapsed() < LIMIT, "the disk is never full");
    };
    assert!(refused.is_unavailable(), "{refused:?}");
    tell(&format!("full after {made} groups"));
    // What asks whether the disk takes a page may find room for one more.
    until("a server that is not ready", async || {
        let refused = create(&api, &"n".repeat(200)).await;
        assert!(refused.is_unavailable(), "{refused:?}");
        api.ready().await.is_unavailable().then_some(())
    })
    .await;
    // An import, whose file does not even get onto the disk.
    let rows: Vec<String> = (0..200_000).map(|n| format!("c-{n},value {n}")).collect();
    let csv = format!("customer_ref,field\n{}\n", rows.join("\n"));
    let path = format!("customer-group/import?customer_group_id={group}");
    let import = api.send(&path, "text/csv", csv.clone()).await;
    assert!(import.is_unavailable(), "{import:?}");
    let line = server.process.logs(&["import", "503"]).await;
    assert!(line.contains("cannot write a temporary file in "), "{line}");
    assert!(!line.contains("database"), "{line}");
    // What is there can be read.
    assert_eq!(groups(&api).await.len(), made + 1);

    limit(old.current);
    let ready = api.ready().await;
    assert!(
        matches!(ready, Reply::Answer { status: 200, .. }),
        "{ready:?}"
    );
    let after = create(&api, "after").await;
    assert!(
        matches!(after, Reply::Answer { status: 200, .. }),
        "{after:?}"
    );
    let imported = api.import(&group, csv).await;
    assert_eq!(imported["total"], 200_000);
    assert_eq!(groups(&api).await.len(), made + 2);
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}

/// The server as somebody to whom the permissions of files apply.
fn unprivileged(world: &World, settings: &[(&str, &str)]) -> Command {
    let command = world.server_command(0);
    let folder = command.get_current_dir().unwrap().to_owned();
    let mut plain = command;
    plain.envs(settings.iter().copied());
    if !geteuid().is_root() {
        return plain;
    }
    // The folder that cargo builds in may be out of reach for others.
    let program = folder.join("program");
    if !program.exists() {
        // By another process: a child that a test beside this one starts would inherit the open
        // file, and a program that is open for writing cannot be started.
        let mut copy = Command::new("cp");
        let copied = copy.arg(plain.get_program()).arg(&program).status();
        assert!(copied.unwrap().success());
    }
    let mut command = Command::new(&program);
    command.args(plain.get_args()).current_dir(&folder);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(std::process::Stdio::null());
    for path in [folder.clone(), world.file()] {
        if path.exists() {
            chown(&path, Some(NOBODY_UID), Some(NOBODY_UID)).unwrap();
        }
    }
    command.uid(NOBODY_UID).gid(NOBODY_UID);
    command
}

fn mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Removes what a reader leaves behind with the mode of the file.
fn remove_the_log(folder: &std::path::Path) {
    for rest in ["rerun.db-wal", "rerun.db-shm"] {
        let _gone = fs::remove_file(folder.join(rest));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_file_is_named_at_the_start_and_can_still_be_read() {
    let world = World::with(Store::Sqlite, &[]);
    let file = world.file();
    let folder = file.parent().unwrap().to_owned();
    let read_only = [("RERUN_AUTO_MIGRATE", "false")];
    let start = |settings| Process::start("server", unprivileged(&world, settings));
    let server = Server::of(start(&[])).await;
    let api = Api::new(&world, &server);
    assert!(matches!(
        create(&api, "g").await,
        Reply::Answer { status: 200, .. }
    ));
    assert_eq!(server.process.terminate().await, Some(0));

    // Everything into the one file: closing the last connection removes the others.
    let mut connection = SqliteConnection::establish(&file.display().to_string()).unwrap();
    let all = "PRAGMA wal_checkpoint(TRUNCATE)";
    connection.batch_execute(all).unwrap();
    drop(connection);

    for (file_mode, folder_mode) in [(0o444, 0o755), (0o444, 0o555), (0o644, 0o555)] {
        mode(&file, file_mode);
        mode(&folder, folder_mode);
        let (code, said) = start(&[]).refused().await;
        assert_eq!(code, Some(1), "{said}");
        mode(&folder, 0o755);
        remove_the_log(&folder);
        let name = file.display().to_string();
        assert!(said.contains("read-only") && said.contains(&name), "{said}");
    }

    mode(&file, 0o444);
    let server = Server::of(start(&read_only)).await;
    api.moved_to(&server);
    let refused = create(&api, "refused").await;
    assert!(refused.is_unavailable(), "{refused:?}");
    assert!(api.ready().await.is_unavailable());
    assert_eq!(groups(&api).await.len(), 1);
    assert_eq!(server.process.terminate().await, Some(0));

    mode(&file, 0o644);
    remove_the_log(&folder);
    let server = Server::of(start(&[])).await;
    api.moved_to(&server);
    assert!(matches!(
        create(&api, "g").await,
        Reply::Answer { status: 200, .. }
    ));
    assert_eq!(groups(&api).await.len(), 2);
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_for_temporary_files_is_named_in_the_log() {
    let world = World::with(Store::Sqlite, &[("TMPDIR", "/nowhere/at/all")]);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let group = api
        .post("customer-group/create", json!({ "name": "g" }))
        .await;
    let id = group["id"].as_str().unwrap();
    let path = format!("customer-group/import?customer_group_id={id}");
    let reply = api.send(&path, "text/csv", "customer_ref\na\n".to_owned());
    let Reply::Answer { status, body, .. } = reply.await else {
        panic!("no answer");
    };
    assert_eq!(
        (status, &body["message"]),
        (500, &json!("Internal server error"))
    );
    let said = "cannot create a temporary file in /nowhere/at/all: No such file";
    let line = server.process.logs(&[said]).await;
    assert!(!line.contains("database"), "{line}");
    // The rest of the API goes on.
    assert_eq!(groups(&api).await.len(), 1);
}
