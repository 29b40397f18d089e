//! The command that follows events.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rerun_core::actor::{Actor, Person};
use rerun_core::ids::{AccountId, UserId};
use serde_json::Value;
use uuid::Uuid;

use crate::database::Database;
use crate::{folder, rerun, text};

const ACCOUNT: AccountId = AccountId::new(Uuid::from_u128(0xa1));
const OTHER_ACCOUNT: AccountId = AccountId::new(Uuid::from_u128(0xb2));

fn caller(account_id: AccountId) -> Actor {
    let mut person = Person::new(UserId::new(Uuid::from_u128(0xc3)), "ADMIN");
    person.ip = Some([192, 0, 2, 77].into());
    Actor::person(account_id, person)
}

fn numbers(lines: &str) -> Vec<i64> {
    let lines = lines.lines().map(serde_json::from_str::<Value>);
    lines
        .map(|event| event.unwrap()["sequence"].as_i64().unwrap())
        .collect()
}

async fn events_are_followed(database: Database) {
    let store = database.open();
    let groups = &store.engine.groups;
    for name in ["One", "Two", "Three"] {
        groups.create(&caller(ACCOUNT), name, None).await.unwrap();
    }
    let other = caller(OTHER_ACCOUNT);
    groups.create(&other, "Theirs", None).await.unwrap();
    let (url, folder, account) = (database.url(), folder(), ACCOUNT.to_string());
    let command = |more: &[&str]| {
        let arguments = ["events", "tail", "--account", &account];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        let mut command = rerun(folder.path(), &arguments);
        command.env("RERUN_DATABASE_URL", &url);
        command
    };
    let printed = |more: &[&str]| {
        let output = command(more).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let all = printed(&["--exit"]);
    assert_eq!(numbers(&all), [1, 2, 3]);
    let first: Value = serde_json::from_str(all.lines().next().unwrap()).unwrap();
    assert_eq!(first["type"], "customer_group.created");
    assert_eq!(first["data"]["name"], "One");
    assert!(
        !all.contains("192.0.2.77") && !all.contains("Theirs"),
        "{all}"
    );
    assert_eq!(numbers(&printed(&["--exit", "--after", "2"])), [3]);
    assert_eq!(printed(&["--exit", "--after", "3"]), "");

    let waits = command(&["--after", "3"]).stdout(Stdio::piped()).spawn();
    let mut waits = waits.unwrap();
    let mut lines = BufReader::new(waits.stdout.take().unwrap()).lines();
    groups.create(&caller(ACCOUNT), "Four", None).await.unwrap();
    assert_eq!(numbers(&lines.next().unwrap().unwrap()), [4]);
    waits.kill().unwrap();
    waits.wait().unwrap();
    for wrong in [&["--after", "-1"][..], &["--after", "x"]] {
        assert_eq!(command(wrong).output().unwrap().status.code(), Some(2));
    }
}

#[tokio::test]
async fn events_are_followed_on_sqlite() {
    events_are_followed(Database::sqlite()).await;
}

#[tokio::test]
async fn events_are_followed_on_postgres() {
    let database = tokio::task::spawn_blocking(Database::postgres).await;
    events_are_followed(database.unwrap()).await;
}
