//! The commands that look at schedules, pause, resume and trigger them, and preview patterns.

use std::process::Output;

use serde_json::{Value, json};

use crate::database::Database;
use crate::import::{ACCOUNT, USER, World, line};
use crate::{folder, rerun, text};

const OTHER_ACCOUNT: &str = "00000000-0000-4000-8000-0000000000b2";

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{output:?}");
    let lines = text(&output.stdout);
    let lines = lines.lines().map(serde_json::from_str);
    lines.map(Result::unwrap).collect()
}

fn schedule(world: &World, name: &str, more: &[&str]) -> Output {
    let arguments: Vec<&str> = ["schedule", name].iter().chain(more).copied().collect();
    rerun(world.folder.path(), &arguments)
        .env("RERUN_DATABASE_URL", world.database.url())
        .output()
        .unwrap()
}

async fn schedules_are_listed_paused_resumed_and_triggered(database: Database) {
    let world = World::new(database).await;
    let imported = world.import(&line("DE", Some("gold"), 900), &["--log-format", "json"]);
    let campaign = lines(&imported)[0]["campaign_id"].clone();
    let client = &world.client;
    let create = json!({
        "campaign_id": campaign, "name": "Once", "at": "2999-01-01T00:00:00Z", "when": "always",
        "customer_group_id": world.group,
    });
    let made = client.post("schedule/create", create).await;
    let id = made["id"].as_str().unwrap();
    let this = json!({ "schedule_id": id });
    let mine = ["--account", ACCOUNT];
    let changed = |name: &str, more: &[&str]| {
        let mut arguments = [&mine[..], &["--user", USER, "--role", "OPERATOR"], more].concat();
        arguments.push(id);
        schedule(&world, name, &arguments)
    };
    let listed = lines(&schedule(&world, "list", &mine));
    assert_eq!(listed, std::slice::from_ref(&made));
    let others = schedule(&world, "list", &["--account", OTHER_ACCOUNT]);
    assert!(lines(&others).is_empty());

    let paused = lines(&changed("pause", &["--note", "Holidays"]));
    assert_eq!(paused, [client.post("schedule/get", this.clone()).await]);
    assert_eq!(
        (&paused[0]["status"], &paused[0]["note"]),
        (&json!("paused"), &json!("Holidays"))
    );
    let resumed = lines(&changed("resume", &[]));
    assert_eq!(resumed[0]["status"], "active");

    // Only the roles that the server lets initiate start a rerun.
    let mut not_allowed = rerun(
        world.folder.path(),
        &[
            "schedule",
            "trigger",
            "--account",
            ACCOUNT,
            "--user",
            USER,
            id,
        ],
    );
    not_allowed
        .env("RERUN_DATABASE_URL", world.database.url())
        .env("RERUN_ROLES", "initiate=NOBODY");
    let refused = lines(&not_allowed.output().unwrap());
    assert_eq!(
        (&refused[0]["outcome"], &refused[0]["reason"]),
        (&json!("refused"), &json!("unauthorized"))
    );
    let fired = lines(&changed("trigger", &[]));
    assert_eq!(
        (&fired[0]["outcome"], &fired[0]["run_number"]),
        (&json!("started"), &json!(2))
    );
    let firings = client.post("schedule/firings", this).await;
    assert_eq!(firings["firings"], json!([fired[0], refused[0]]));

    let entries = client
        .post("audit/list", json!({ "action": "schedule.paused" }))
        .await;
    let entry = &entries["entries"][0];
    for (field, expected) in [
        ("user_id", USER),
        ("role_code", "OPERATOR"),
        ("ip", "127.0.0.1"),
    ] {
        assert_eq!(entry[field], expected, "{field}");
    }
    let foreign = ["--account", OTHER_ACCOUNT, "--user", USER, id];
    for name in ["pause", "resume", "trigger"] {
        let output = schedule(&world, name, &foreign);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            text(&output.stderr).contains("schedule not found"),
            "{output:?}"
        );
    }
}

#[tokio::test]
async fn schedules_are_listed_paused_resumed_and_triggered_on_sqlite() {
    schedules_are_listed_paused_resumed_and_triggered(Database::sqlite()).await;
}

#[tokio::test]
async fn schedules_are_listed_paused_resumed_and_triggered_on_postgres() {
    let database = tokio::task::spawn_blocking(Database::postgres).await;
    schedules_are_listed_paused_resumed_and_triggered(database.unwrap()).await;
}

#[test]
fn a_pattern_is_previewed_without_a_database() {
    let folder = folder();
    let preview = |more: &[&str]| {
        let arguments: Vec<&str> = ["schedule", "preview"]
            .iter()
            .chain(more)
            .copied()
            .collect();
        rerun(folder.path(), &arguments).output().unwrap()
    };
    let times = lines(&preview(&[
        "--time-zone",
        "Europe/Berlin",
        "--from",
        "2026-03-28T12:00:00Z",
        "--limit",
        "2",
        "30 2 * * *",
    ]));
    let expected = json!([
        { "at": "2026-03-29T01:00:00.000Z", "local": "2026-03-29T03:00:00+02:00",
          "clock_change": "skipped" },
        { "at": "2026-03-30T00:30:00.000Z", "local": "2026-03-30T02:30:00+02:00",
          "clock_change": null },
    ]);
    assert_eq!(json!(times), expected);
    assert_eq!(lines(&preview(&["@daily"])).len(), 5);
    for (wrong, said) in [
        (&["* * * * *"][..], "15 minutes"),
        (&["@daily", "--time-zone", "Mars/Olympus"], "`time_zone`"),
        (&["@daily", "--limit", "101"], "`limit`"),
    ] {
        let output = preview(wrong);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains(said), "{output:?}");
    }
    assert_eq!(preview(&["@daily", "--from", "now"]).status.code(), Some(2));
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "no database was made");
}
