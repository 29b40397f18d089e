//! A campaign that was published elsewhere, brought in by the command.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::database::Database;
use crate::{Client, Running, folder, rerun, serve, text};

/// The account and user of `token` without arguments.
pub(crate) const ACCOUNT: &str = "00000000-0000-4000-8000-000000000001";
pub(crate) const USER: &str = "00000000-0000-4000-8000-000000000002";

pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) folder: tempfile::TempDir,
    server: Running,
    pub(crate) client: Client,
    pub(crate) group: String,
}

impl World {
    /// A server over the database, with a customer group of two countries.
    pub(crate) async fn new(database: Database) -> Self {
        let folder = folder();
        let (server, address) = serve(folder.path(), &["--database-url", &database.url()]);
        let client = Client::new(folder.path(), &address);
        let csv = "customer_ref,country,tier\n1,DE,gold\n2,DE,\n3,PT,\n";
        let group = client.group("Now", csv).await;
        Self {
            database,
            folder,
            server,
            client,
            group,
        }
    }

    /// The command, for messages that it finds in a file.
    pub(crate) fn import(&self, lines: &str, more: &[&str]) -> Output {
        std::fs::write(self.folder.path().join("messages.jsonl"), lines).unwrap();
        self.import_file("messages.jsonl", more)
    }

    fn import_file(&self, file: &str, more: &[&str]) -> Output {
        let arguments = [
            "campaign",
            "import",
            "--account",
            ACCOUNT,
            "--user",
            USER,
            "--customer-group",
            &self.group,
            "--name",
            "From elsewhere",
            "--segment-by",
            "country,tier",
            "--subject-template",
            "For {{ country }}",
            "--body-template",
            "Hello {{ tier }}",
        ];
        let arguments: Vec<&str> = arguments
            .iter()
            .chain(more)
            .chain(&[file])
            .copied()
            .collect();
        rerun(self.folder.path(), &arguments)
            .env("RERUN_DATABASE_URL", self.database.url())
            .output()
            .unwrap()
    }

    async fn everything(&self) -> [Value; 2] {
        [
            self.client.post("campaign/list", json!({})).await,
            self.client.post("audit/list", json!({})).await,
        ]
    }
}

pub(crate) fn line(country: &str, tier: Option<&str>, customers: u32) -> String {
    let line = json!({
        "attributes": { "country": country, "tier": tier },
        "customer_count": customers,
        "subject": format!("Old {country}"),
        "body": "As it was\npublished",
    });
    format!("{line}\n")
}

async fn an_import_has_a_history_and_can_be_rerun(database: Database) {
    let world = World::new(database).await;
    let lines = [
        line(" DE ", Some("gold"), 900),
        line("DK", None, 13),
        // What is left out is null.
        r#"{"attributes":{"country":"PT"},"customer_count":0,"subject":"Old PT","body":"b"}"#
            .to_owned(),
    ]
    .concat();
    let stages = ["--approval-stages", "Draft,Legal", "--log-format", "json"];
    let output = world.import(&lines, &stages);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "");
    let imported: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    let id = &imported["campaign_id"];
    assert_eq!(
        (&imported["messages"], &imported["customer_count"]),
        (&json!(3), &json!(913))
    );

    let client = &world.client;
    let this = json!({ "campaign_id": id });
    let campaign = client.post("campaign/get", this.clone()).await;
    assert_eq!(campaign["status"], "Published");
    assert_eq!(campaign["approval_stages"], json!(["Draft", "Legal"]));
    let history = client.post("campaign/rerun/history", this.clone()).await;
    assert_eq!(history["runs"].as_array().unwrap().len(), 1, "{history}");
    let run = &history["runs"][0];
    for (field, expected) in [
        ("run_number", json!(1)),
        ("synthesised", json!(true)),
        ("job_uid", json!(null)),
        ("initiated_by", json!(null)),
        ("status", json!("Completed")),
        ("is_current", json!(true)),
        ("customer_count", json!(913)),
        ("segments", json!({ "total": 3, "matched": 0, "new": 3 })),
    ] {
        assert_eq!(run[field], expected, "{field}: {run}");
    }
    assert_eq!(run["messages"]["published"], 3);
    let messages = client.post("campaign/rerun/messages", this.clone()).await["messages"].clone();
    assert_eq!(messages[0]["content"]["subject"], "Old  DE ");
    let attributes = json!({ "country": "DE", "tier": "gold" });
    assert_eq!(messages[0]["segment"]["attributes"], attributes);
    assert_eq!(messages[0]["source"], "generated");
    let entries = json!({ "campaign_id": id });
    let entry = client.post("audit/list", entries).await["entries"][0].clone();
    assert_eq!(entry["action"], "campaign.created");
    assert_eq!(
        (&entry["user_id"], &entry["role_code"]),
        (&json!(USER), &json!("ADMIN"))
    );
    assert_eq!(entry["details"]["imported"], true);

    // DE gold and PT are there again, DE without a tier is new.
    let rerun = json!({ "campaign_id": id, "new_customer_group_id": world.group });
    let started = client.post("campaign/rerun/initiate", rerun).await;
    assert_eq!(started["run_number"], 2);
    assert_eq!(
        started["segments"],
        json!({ "total": 3, "matched": 2, "new": 1 })
    );
    assert_eq!(started["archived_messages"], 3);
    let messages = client.post("campaign/rerun/messages", this).await;
    let reused = messages["messages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|message| message["segment"]["attributes"] == attributes)
        .unwrap();
    assert_eq!(reused["source"], "reused");
    assert_eq!(reused["content"]["body"], "As it was\npublished");
    assert_eq!(reused["reused_from"]["run_number"], 1);
    end(world);
}

async fn a_refused_import_leaves_nothing(database: Database) {
    let world = World::new(database).await;
    let before = world.everything().await;
    let good = [line("DE", None, 1), line("FR", None, 1)].concat();
    let with = |bad: &str| format!("{good}{bad}\n");
    let unknown = "00000000-0000-4000-8000-00000000abcd";
    let cases: Vec<(String, Vec<&str>, i32, &str)> = vec![
        (with("{"), vec![], 1, "line 3: EOF while parsing"),
        (
            with(&line("DE ", None, 1)),
            vec![],
            1,
            "line 3: the segment",
        ),
        (
            good.replace("Old FR", " "),
            vec![],
            1,
            "line 2: `subject` must not be blank",
        ),
        (
            good.replace("Old FR", "Old {{ country }}"),
            vec![],
            1,
            "line 2: the placeholder `{{ country }}` is unfilled",
        ),
        (
            good.replace("Old FR", "Old\\nFR"),
            vec![],
            1,
            "line 2: `subject` must be one line",
        ),
        (
            good.clone(),
            vec!["--max-segments", "1"],
            1,
            "line 2: a run may have at most 1",
        ),
        (String::new(), vec![], 1, "no messages"),
        (
            good.clone(),
            vec!["--account", unknown],
            2,
            "cannot be used multiple times",
        ),
    ];
    for (lines, more, code, said) in cases {
        let output = world.import(&lines, &more);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(said), "{said}: {stderr}");
        assert_eq!(text(&output.stdout), "");
        assert_eq!(world.everything().await, before, "{said}");
    }
    let output = world.import_file("nowhere.jsonl", &[]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("nowhere.jsonl cannot be read"), "{stderr}");

    // What the command line says is checked as the API checks it.
    let path = world.folder.path();
    std::fs::write(path.join("good.jsonl"), &good).unwrap();
    for (changed, said) in [
        (("--customer-group", unknown), "customer group not found"),
        (("--account", unknown), "customer group not found"),
        (("--name", " "), "`name` must not be blank"),
        (("--segment-by", "country,country"), "names `country` twice"),
        (
            ("--segment-by", "country"),
            "line 1: `attributes` has \"tier\"",
        ),
        (
            ("--body-template", "Hello {{ name }}"),
            "`name` is not a field",
        ),
        (("--approval-stages", "A,A"), "names `A` twice"),
    ] {
        let stderr = refused(&world, path, changed);
        assert!(stderr.contains(said), "{changed:?}: {stderr}");
        assert_eq!(world.everything().await, before, "{changed:?}");
    }
    end(world);
}

/// What the command says when one of its arguments is another.
fn refused(world: &World, folder: &Path, (name, value): (&str, &str)) -> String {
    let mut arguments = vec!["campaign", "import"];
    for (given, as_usual) in [
        ("--account", ACCOUNT),
        ("--user", USER),
        ("--customer-group", world.group.as_str()),
        ("--name", "From elsewhere"),
        ("--segment-by", "country,tier"),
        ("--subject-template", "s"),
        ("--body-template", "b"),
        ("--approval-stages", "Review"),
    ] {
        arguments.extend([given, if given == name { value } else { as_usual }]);
    }
    arguments.push("good.jsonl");
    let output = rerun(folder, &arguments)
        .env("RERUN_DATABASE_URL", world.database.url())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    text(&output.stderr)
}

/// Ends the server, and then the database.
fn end(world: World) {
    let World {
        database, server, ..
    } = world;
    drop(server);
    drop(database);
}

#[tokio::test]
async fn an_import_has_a_history_and_can_be_rerun_on_sqlite() {
    an_import_has_a_history_and_can_be_rerun(Database::sqlite()).await;
}

#[tokio::test]
async fn an_import_has_a_history_and_can_be_rerun_on_postgres() {
    let database = tokio::task::spawn_blocking(Database::postgres).await;
    an_import_has_a_history_and_can_be_rerun(database.unwrap()).await;
}

#[tokio::test]
async fn a_refused_import_leaves_nothing_on_sqlite() {
    a_refused_import_leaves_nothing(Database::sqlite()).await;
}

#[tokio::test]
async fn a_refused_import_leaves_nothing_on_postgres() {
    let database = tokio::task::spawn_blocking(Database::postgres).await;
    a_refused_import_leaves_nothing(database.unwrap()).await;
}

#[tokio::test]
async fn messages_may_come_from_standard_input() {
    let world = World::new(Database::sqlite()).await;
    let path = world.folder.path().join("messages.jsonl");
    std::fs::write(&path, line("DE", None, 5)).unwrap();
    let mut command = rerun(
        world.folder.path(),
        &[
            "campaign",
            "import",
            "--account",
            ACCOUNT,
            "--user",
            USER,
            "--customer-group",
            &world.group,
            "--name",
            "n",
            "--segment-by",
            "tier,country",
            "--subject-template",
            "s",
            "--body-template",
            "b",
            "-",
        ],
    );
    command
        .env("RERUN_DATABASE_URL", world.database.url())
        .stdin(std::fs::File::open(path).unwrap());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stdout);
    assert!(
        said.ends_with(": 1 published messages for 5 customers, as run 1.\n"),
        "{said}"
    );
    end(world);
}
