//! The command over a database of either kind, and somebody who calls its API.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rerun_testkit::{TestDatabase, template_name};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::PATIENCE;

/// Where the migrations of PostgreSQL are.
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/postgres");
const SECRET: &str = "a secret of more than thirty-two bytes";
const API_CODE: &str = "an API code";
/// `ADMIN` may do everything, `READER` may read, and `NOBODY` may see neither schedules nor webhooks
/// nor the log.
const ROLES: &str = "webhook_list=ADMIN,READER; webhook_get=ADMIN,READER; \
    webhook_deliveries=ADMIN,READER; webhook_create=ADMIN; webhook_update=ADMIN; \
    webhook_delete=ADMIN; webhook_rotate_secret=ADMIN; webhook_test=ADMIN; webhook_replay=ADMIN; \
    schedule_list=ADMIN,READER; schedule_get=ADMIN,READER; schedule_firings=ADMIN,READER; \
    schedule_update=ADMIN; schedule_delete=ADMIN; schedule_pause=ADMIN; schedule_resume=ADMIN; \
    initiate=ADMIN; audit_list=ADMIN,READER";
pub(crate) const ACCOUNT: &str = "0193ed20-7b3c-7000-8000-00000000000a";

/// Which kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
}

/// A server, which can be killed and started again at the same address.
pub(crate) struct World {
    folder: TempDir,
    database: String,
    _postgres: Option<TestDatabase>,
    server: Child,
    /// What the servers have logged.
    log: Arc<Mutex<String>>,
    pub(crate) address: String,
    http: reqwest::Client,
    token: String,
}

impl World {
    pub(crate) fn start(store: Store) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let postgres = (store == Store::Postgres).then(|| {
            let template = template_name("rerun_http", Path::new(MIGRATIONS)).unwrap();
            let database = TestDatabase::create(&template, |url| {
                rerun_pg::migrate(url)?;
                Ok(())
            });
            database.unwrap()
        });
        let database = match &postgres {
            Some(database) => database.url().to_owned(),
            None => format!("sqlite://{}", folder.path().join("rerun.db").display()),
        };
        let log = Arc::default();
        let (server, address) = serve(&folder, &database, "127.0.0.1:0", &[], &log);
        let mut world = Self {
            folder,
            database,
            _postgres: postgres,
            server,
            log,
            address,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            token: String::new(),
        };
        world.token = world.printed("token", &[]);
        world
    }

    /// What a command prints that signs.
    fn printed(&self, command: &str, arguments: &[&str]) -> String {
        let name = ["--account", ACCOUNT, "--user-name", "Ada Lovelace"];
        let arguments = [&[command], &name[..], arguments].concat();
        let output = rerun(&self.folder, &self.database, &arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A link that signs in, as the command prints it.
    pub(crate) fn link(&self) -> String {
        self.printed("console", &["--bind", &self.address])
    }

    /// A link for somebody with another role; see [`ROLES`].
    pub(crate) fn link_as(&self, role: &str) -> String {
        self.printed("console", &["--bind", &self.address, "--role", role])
    }

    /// A token of a user.
    pub(crate) fn token_of(&self, user: &str) -> String {
        self.printed("token", &["--user", user])
    }

    pub(crate) fn page(&self, path: &str) -> String {
        format!("http://{}/console/#/{path}", self.address)
    }

    /// Ends the server at once.
    pub(crate) fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        self.start_with(&[]);
    }

    /// Starts it again where it was, with more settings.
    pub(crate) fn start_with(&mut self, settings: &[(&str, &str)]) {
        let (folder, database) = (&self.folder, &self.database);
        self.server = serve(folder, database, &self.address, settings, &self.log).0;
    }

    /// What the servers have logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Posts to the API.
    pub(crate) async fn call(&self, path: &str, body: Value) -> Value {
        self.send(path, "application/json", body.to_string()).await
    }

    async fn send(&self, path: &str, content_type: &str, body: String) -> Value {
        let context = json!({ "api_access": true, "api_code": API_CODE }).to_string();
        let request = self.http.post(format!("http://{}/v1/{path}", self.address));
        let answer = request
            .bearer_auth(&self.token)
            .header("x-auth-context", context)
            .header("x-ip", "203.0.113.7")
            .header("content-type", content_type)
            .body(body)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// A group of so many segments by country and tier, each of `customers` customers.
    pub(crate) async fn group(
        &self,
        name: &str,
        countries: &[&str],
        tiers: &[&str],
        customers: usize,
    ) -> String {
        let group = self
            .call("customer-group/create", json!({ "name": name }))
            .await;
        let group = group["id"].as_str().unwrap().to_owned();
        self.import(&group, countries, tiers, customers, "merge")
            .await;
        group
    }

    /// Imports such customers into a group.
    pub(crate) async fn import(
        &self,
        group: &str,
        countries: &[&str],
        tiers: &[&str],
        customers: usize,
        mode: &str,
    ) {
        let mut csv = "customer_ref,country,tier\n".to_owned();
        for country in countries {
            for tier in tiers {
                for number in 0..customers {
                    let (reference, tier) =
                        (quoted(&format!("{country}-{tier}-{number}")), quoted(tier));
                    writeln!(csv, "{reference},{},{tier}", quoted(country)).unwrap();
                }
            }
        }
        let path = format!("customer-group/import?customer_group_id={group}&mode={mode}");
        self.send(&path, "text/csv", csv).await;
    }

    /// A campaign by country and tier, launched and generated.
    pub(crate) async fn launched(&self, name: &str, group: &str, body: &str) -> String {
        let campaign = json!({
            "name": name, "customer_group_id": group, "segment_by": ["country", "tier"],
            "template": { "subject": "To {{ tier }} customers in {{ country }}", "body": body },
        });
        let campaign = self.call("campaign/create", campaign).await;
        let campaign = campaign["id"].as_str().unwrap().to_owned();
        self.call("campaign/launch", json!({ "campaign_id": campaign }))
            .await;
        self.settled(&campaign).await;
        campaign
    }

    pub(crate) async fn campaign(&self, campaign: &str) -> Value {
        self.call("campaign/get", json!({ "campaign_id": campaign }))
            .await
    }

    /// Waits until nothing is left to generate.
    pub(crate) async fn settled(&self, campaign: &str) {
        self.until(async || self.campaign(campaign).await["status"] != "Processing")
            .await;
    }

    /// Waits for something; the test fails when it never comes.
    pub(crate) async fn until(&self, done: impl AsyncFn() -> bool) {
        let wait = async {
            while !done().await {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("it never came");
    }

    /// Approves and publishes what is there.
    pub(crate) async fn publish(&self, campaign: &str) {
        let all = json!({ "campaign_id": campaign, "decision": "approve", "all": true });
        self.call("campaign/messages/review", all).await;
        self.call("campaign/publish", json!({ "campaign_id": campaign }))
            .await;
    }

    /// The messages of the current run.
    pub(crate) async fn messages(&self, campaign: &str) -> Vec<Value> {
        let page = self
            .call(
                "campaign/rerun/messages",
                json!({ "campaign_id": campaign, "limit": 10_000 }),
            )
            .await;
        page["messages"].as_array().unwrap().clone()
    }

    /// How many messages of the current run have this status.
    pub(crate) async fn number(&self, campaign: &str, status: &str) -> usize {
        let messages = self.messages(campaign).await;
        messages
            .iter()
            .filter(|message| message["review_status"] == status)
            .count()
    }

    /// The audit entries of an action.
    pub(crate) async fn entries(&self, action: &str) -> Vec<Value> {
        let page = self.call("audit/list", json!({ "action": action })).await;
        page["entries"].as_array().unwrap().clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A test may have killed it.
        let _gone = self.server.kill();
        let _gone = self.server.wait();
    }
}

/// A value as CSV holds it.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('"', "\"\""))
}

fn rerun(folder: &TempDir, database: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rerun-http"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("RERUN_") {
            command.env_remove(variable);
        }
    }
    command
        .args(arguments)
        .env("RERUN_DATABASE_URL", database)
        .env("RERUN_JWT_SECRET", SECRET)
        .env("RERUN_API_CODE", API_CODE)
        .env("RERUN_ROLES", ROLES)
        .env("RERUN_WEBHOOK_SECRET", SECRET)
        .env("RERUN_WEBHOOK_ALLOW_HTTP", "true")
        .env("RERUN_WEBHOOK_ALLOW_NETS", "127.0.0.1")
        .current_dir(folder.path())
        .stdin(Stdio::null());
    command
}

fn serve(
    folder: &TempDir,
    database: &str,
    bind: &str,
    settings: &[(&str, &str)],
    log: &Arc<Mutex<String>>,
) -> (Child, String) {
    let mut command = rerun(folder, database, &["serve", "--bind", bind]);
    let mut child = command
        .envs(settings.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("it ended: {}", log.lock().unwrap()))
            .unwrap();
        log.lock().unwrap().push_str(&line);
        if let Some((_, rest)) = line.split_once("listening on http://") {
            break rest.split(' ').next().unwrap().trim().to_owned();
        }
    };
    // A log that nobody reads would stop the server.
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            log.lock().unwrap().push_str(&line);
        }
    });
    (child, address)
}
