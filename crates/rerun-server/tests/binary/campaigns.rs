//! The commands that look at campaigns, take their messages out and delete them.

use std::process::Output;

use serde_json::{Value, json};

use crate::database::Database;
use crate::import::{ACCOUNT, USER, World, line};
use crate::{rerun, text};

const OTHER_ACCOUNT: &str = "00000000-0000-4000-8000-0000000000b2";

/// A campaign that was brought in, and reran on the group of the world.
struct Campaign {
    world: World,
    id: String,
}

impl Campaign {
    async fn new(database: Database) -> Self {
        let world = World::new(database).await;
        let lines = [line("DE", Some("gold"), 900), line("DK", None, 13)].concat();
        let output = world.import(&lines, &["--log-format", "json"]);
        let imported: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
        let id = imported["campaign_id"].as_str().unwrap().to_owned();
        let group = world.group.clone();
        let rerun = json!({ "campaign_id": id, "new_customer_group_id": group });
        world.client.post("campaign/rerun/initiate", rerun).await;
        let campaign = Self { world, id };
        campaign.is("Processing", false).await;
        campaign
    }

    /// Waits until the campaign has that status, or until it has another.
    async fn is(&self, status: &str, wanted: bool) {
        loop {
            let this = json!({ "campaign_id": self.id });
            let campaign = self.world.client.post("campaign/get", this).await;
            if (campaign["status"] == status) == wanted {
                return;
            }
        }
    }

    fn command(&self, name: &str, account: &str, more: &[&str]) -> Output {
        let arguments = ["campaign", name, "--account", account];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        rerun(self.world.folder.path(), &arguments)
            .env("RERUN_DATABASE_URL", self.world.database.url())
            .output()
            .unwrap()
    }

    fn lines(&self, name: &str, more: &[&str]) -> Vec<Value> {
        let output = self.command(name, ACCOUNT, more);
        assert!(output.status.success(), "{output:?}");
        let lines = text(&output.stdout);
        let lines = lines.lines().map(serde_json::from_str);
        lines.map(Result::unwrap).collect()
    }

    fn refused(&self, name: &str, account: &str, more: &[&str], said: &str) {
        let output = self.command(name, account, more);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert!(text(&output.stderr).contains(said), "{output:?}");
    }
}

async fn campaigns_are_listed_shown_exported_and_deleted(database: Database) {
    let campaign = Campaign::new(database).await;
    let (id, client) = (campaign.id.as_str(), &campaign.world.client);
    let this = json!({ "campaign_id": id });

    let listed = client.post("campaign/list", json!({})).await;
    let listed = listed["campaigns"].as_array().unwrap().clone();
    assert_eq!(campaign.lines("list", &[]), listed);
    let status = listed[0]["status"].as_str().unwrap();
    assert_eq!(campaign.lines("list", &["--status", status]), listed);
    assert!(campaign.lines("list", &["--status", "Draft"]).is_empty());
    let wrong = campaign.command("list", ACCOUNT, &["--status", "draft"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");

    let history = client.post("campaign/rerun/history", this).await;
    let runs = history["runs"].as_array().unwrap().clone();
    assert_eq!(runs.len(), 2);
    assert_eq!(campaign.lines("show", &[id]), [listed, runs].concat());

    for (arguments, asked) in [
        (&[id][..], json!({ "campaign_id": id, "format": "csv" })),
        (
            &[id, "--run", "1", "--format", "jsonl"],
            json!({ "campaign_id": id, "format": "jsonl", "run_number": 1 }),
        ),
        (
            &[id, "--spreadsheet"],
            json!({ "campaign_id": id, "format": "csv", "spreadsheet": true }),
        ),
    ] {
        let file = client.file("campaign/messages/export", asked).await;
        let output = campaign.command("export", ACCOUNT, arguments);
        assert_eq!(text(&output.stdout), file, "{arguments:?}");
        assert!(file.lines().count() > 1, "{file}");
    }
    let run = "run not found";
    for number in ["0", "3"] {
        campaign.refused("export", ACCOUNT, &[id, "--run", number], run);
    }
    let table = campaign.command(
        "export",
        ACCOUNT,
        &[id, "--format", "jsonl", "--spreadsheet"],
    );
    assert!(text(&table.stderr).contains("`spreadsheet`"), "{table:?}");

    let gone = "campaign not found";
    assert!(
        campaign
            .command("list", OTHER_ACCOUNT, &[])
            .stdout
            .is_empty()
    );
    for (name, more) in [
        ("show", &[id][..]),
        ("export", &[id]),
        ("delete", &[id, "--user", USER]),
    ] {
        campaign.refused(name, OTHER_ACCOUNT, more, gone);
    }
    let deleted = campaign.lines("delete", &[id, "--user", USER, "--role", "OPERATOR"]);
    let messages = json!({ "campaign_id": id, "deleted_messages": 5 });
    assert_eq!(deleted, [messages]);
    assert!(campaign.lines("list", &[]).is_empty());
    campaign.refused("delete", ACCOUNT, &[id, "--user", USER], gone);
    let entries = client.post("audit/list", json!({})).await;
    let entry = &entries["entries"][0];
    for (field, expected) in [
        ("action", "campaign.deleted"),
        ("user_id", USER),
        ("role_code", "OPERATOR"),
        ("ip", "127.0.0.1"),
    ] {
        assert_eq!(entry[field], expected, "{entry}");
    }
}

#[tokio::test]
async fn campaigns_are_listed_shown_exported_and_deleted_on_sqlite() {
    campaigns_are_listed_shown_exported_and_deleted(Database::sqlite()).await;
}

#[tokio::test]
async fn campaigns_are_listed_shown_exported_and_deleted_on_postgres() {
    let database = tokio::task::spawn_blocking(Database::postgres).await;
    campaigns_are_listed_shown_exported_and_deleted(database.unwrap()).await;
}
