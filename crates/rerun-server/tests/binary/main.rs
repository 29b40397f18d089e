//! The command `rerun-http` as a user starts it.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests misses their helpers"
)]

mod audit;
mod campaigns;
mod console;
mod database;
mod events;
mod import;
mod logs;
mod schedules;
mod schema;
#[cfg(feature = "otlp")]
mod traces;
mod upgrade;
mod usage;
mod webhooks;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::{Value, json};

const SECRET: &str = "a secret of more than thirty-two bytes";
const API_CODE: &str = "an API code";

/// The command in a folder of its own, without settings of the test's surroundings.
pub(crate) fn rerun(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rerun-http"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("RERUN_") {
            command.env_remove(variable);
        }
    }
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

fn with_secrets(mut command: Command) -> Command {
    command
        .env("RERUN_JWT_SECRET", SECRET)
        .env("RERUN_API_CODE", API_CODE);
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A server or worker that is killed when the test ends without ending it.
pub(crate) struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
    lines: Vec<Value>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        command
            .env("RERUN_LOG_FORMAT", "json")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            log,
            lines: Vec::new(),
        }
    }

    /// Reads the log up to a line that says `what`; answers that line. Every line is JSON.
    fn says(&mut self, what: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.log.read_line(&mut line).unwrap(),
                0,
                "it ended: {:?}",
                self.lines
            );
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            let message = line["fields"]["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            self.lines.push(line);
            if message.contains(what) {
                return message;
            }
        }
    }

    /// Sends SIGTERM; answers the exit code. The rest of the log and the output are JSON too.
    #[cfg(unix)]
    fn terminate(mut self) -> Option<i32> {
        use std::io::Read;
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.says("ended");
        let status = self.child.wait().unwrap();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut rest)
            .unwrap();
        for line in rest.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}"));
        }
        status.code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server over a file in `folder`, and where it listens.
pub(crate) fn serve(folder: &Path, arguments: &[&str]) -> (Running, String) {
    let arguments: Vec<&str> = ["serve", "--bind", "127.0.0.1:0"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    listening(with_secrets(rerun(folder, &arguments)))
}

/// The same, with settings from the environment.
pub(crate) fn serve_with(folder: &Path, settings: &[(&str, &str)]) -> (Running, String) {
    let mut command = with_secrets(rerun(folder, &["serve", "--bind", "127.0.0.1:0"]));
    command.envs(settings.iter().copied());
    listening(command)
}

fn listening(command: Command) -> (Running, String) {
    let mut server = Running::start(command);
    let said = server.says("listening on http://");
    let address = said.split("http://").nth(1).unwrap().to_owned();
    (server, address)
}

/// Calls endpoints with a token that the command itself made.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    pub(crate) fn new(folder: &Path, address: &str) -> Self {
        let output = with_secrets(rerun(folder, &["token", "--ttl", "60"]))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let base = format!("http://{address}/v1");
        Self {
            http,
            base,
            token: text(&output.stdout).trim().to_owned(),
        }
    }

    /// A request without a body yet.
    pub(crate) fn request(&self, path: &str, media_type: &str) -> reqwest::RequestBuilder {
        let context = json!({ "api_access": true, "api_code": API_CODE }).to_string();
        self.http
            .post(format!("{}/{path}", self.base))
            .bearer_auth(&self.token)
            .header("x-auth-context", context)
            .header("x-ip", "192.0.2.1")
            .header("content-type", media_type)
    }

    async fn send(&self, path: &str, media_type: &str, body: String) -> (u16, Value) {
        let request = self.request(path, media_type).body(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(path, "application/json", body.to_string()).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// What an endpoint returns that makes a file.
    pub(crate) async fn file(&self, path: &str, body: Value) -> String {
        let request = self.request(path, "application/json");
        let response = request.body(body.to_string()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        response.text().await.unwrap()
    }

    /// A customer group with these customers; answers its id.
    pub(crate) async fn group(&self, name: &str, csv: &str) -> String {
        let group = self
            .post("customer-group/create", json!({ "name": name }))
            .await;
        let id = group["id"].as_str().unwrap().to_owned();
        let import = format!("customer-group/import?customer_group_id={id}");
        let (status, answer) = self.send(&import, "text/csv", csv.to_owned()).await;
        assert_eq!(status, 200, "{answer}");
        id
    }
}

#[test]
fn the_demo_tells_the_story_and_ends() {
    let folder = folder();
    let output = rerun(folder.path(), &["demo", "--exit"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "");
    let story = text(&output.stdout);
    let row = |run: &str, group: &str| {
        let line = story
            .lines()
            .find(|line| line.contains(group) && line.starts_with('│'));
        let cells = line
            .unwrap()
            .trim_matches('│')
            .split_whitespace()
            .collect::<Vec<_>>();
        assert_eq!(cells[0], run, "{story}");
        cells[3..].join(" ")
    };
    assert_eq!(row("1", "Customers 2025"), "3010 68 0 68 68 Completed");
    assert_eq!(
        row("2", "Customers 2026"),
        "3316 75 60 15 0 Completed, current"
    );
    for part in [
        "this export writes UK for GB, tiers in capitals and amounts with commas",
        "60 of 75 segments have an approved message, 15 are new",
        "after generation the campaign would be \"Ready for review\"",
        "reused: \"A summer offer for our ",
        "The campaign is Published. Run 2: 60 of 75 messages, for ",
        " customers, were neither generated nor reviewed again.",
        "another campaign, \"Autumn offer\", was rerun too: 60 messages were reused, and 15 wait for \
         your review",
    ] {
        assert!(story.contains(part), "{part}: {story}");
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "it leaves nothing behind"
    );
}

#[test]
fn without_secrets_nothing_is_served() {
    let folder = folder();
    let output = rerun(folder.path(), &["serve"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    for name in [
        "RERUN_JWT_SECRET ",
        "RERUN_JWT_SECRET_FILE",
        "RERUN_API_CODE ",
        "`api_code`",
    ] {
        assert!(said.contains(name), "{said}");
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing was made"
    );
}

#[test]
fn wrong_settings_stop_the_start_with_code_2() {
    let folder = folder();
    for (arguments, variable, said) in [
        (
            vec!["serve", "--workers", "-1"],
            None,
            "--workers is \"-1\", but must be a whole number",
        ),
        (
            vec!["serve", "--nope"],
            None,
            "unexpected argument '--nope'",
        ),
        (
            vec!["serve", "--jwt-secret", "x"],
            None,
            "unexpected argument '--jwt-secret'",
        ),
        (
            vec!["worker", "--bind", "x"],
            None,
            "--bind is \"x\", but must be an IP address and a port",
        ),
        (
            vec!["worker"],
            Some(("RERUN_LOG", "rerun=loud")),
            "RERUN_LOG is \"rerun=loud\"",
        ),
        (
            vec!["migrate"],
            Some(("RERUN_TYPO", "1")),
            "RERUN_TYPO is no setting",
        ),
        (vec!["demo", "--bind", "nowhere"], None, "'nowhere'"),
        (vec!["token", "--account", "me"], None, "not a UUID"),
        (vec!["token", "--ttl", "0"], None, "0 is not in 1.."),
        (vec!["token"], None, "RERUN_JWT_SECRET is not set"),
        (
            vec!["serve", "--config", "absent.toml"],
            None,
            "absent.toml cannot be read",
        ),
        (
            vec!["worker", "--generator", "openai"],
            None,
            "RERUN_OPENAI_BASE_URL is not set",
        ),
        (
            vec![
                "worker",
                "--generator=openai",
                "--openai-base-url=https://key:word@host",
            ],
            None,
            "keys have a setting of their own",
        ),
        (
            vec!["worker", "--openai-api-key", "x"],
            None,
            "unexpected argument '--openai-api-key'",
        ),
        (vec!["audit"], None, "Usage"),
        (vec!["campaign", "import"], None, "--customer-group"),
        (
            vec!["serve", "--jwt-algorithm", "RS256"],
            None,
            "RERUN_JWT_PUBLIC_KEY_FILE or RERUN_JWT_JWKS_FILE",
        ),
        (vec![], None, "Usage"),
    ] {
        let mut command = rerun(folder.path(), &arguments);
        if let Some((name, value)) = variable {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let stderr = text(&output.stderr);
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn a_refused_start_is_json_where_json_is_wanted() {
    let folder = folder();
    std::fs::write(folder.path().join("json.toml"), "log_format = \"json\"\n").unwrap();
    for (arguments, variable, said) in [
        (
            vec!["serve"],
            ("RERUN_LOG_FORMAT", "json"),
            "RERUN_API_CODE is not set",
        ),
        (
            vec!["serve", "--log-format=json", "--nope"],
            ("RERUN_WORKERS", "1"),
            "--nope",
        ),
        (
            vec!["serve", "--config", "json.toml"],
            ("RERUN_TYPO", "1"),
            "RERUN_TYPO is no setting",
        ),
        (
            vec!["migrate", "--nope"],
            ("RERUN_CONFIG", "json.toml"),
            "--nope",
        ),
        (
            vec!["migrate", "--database-url", "sqlite:///nowhere/at/all.db"],
            ("RERUN_LOG_FORMAT", "json"),
            "",
        ),
    ] {
        let mut command = rerun(folder.path(), &arguments);
        let output = command.env(variable.0, variable.1).output().unwrap();
        assert!(!output.status.success());
        let lines = text(&output.stderr);
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 1, "{arguments:?}");
        assert_eq!(lines[0]["level"], "ERROR");
        let message = lines[0]["fields"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{arguments:?}: {message}");
    }
}

#[test]
fn help_goes_to_standard_output() {
    let folder = folder();
    for (arguments, said) in [
        (["--help", ""], "demo"),
        (["serve", "--help"], "RERUN_BIND"),
    ] {
        let arguments: Vec<&str> = arguments.into_iter().filter(|a| !a.is_empty()).collect();
        let output = rerun(folder.path(), &arguments).output().unwrap();
        assert!(output.status.success());
        assert!(text(&output.stdout).contains(said));
    }
}

#[test]
fn migrations_are_pending_then_applied() {
    let folder = folder();
    let migrate = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["migrate"].iter().chain(arguments).copied().collect();
        let output = rerun(folder.path(), &arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    // A file that is there, and nothing in it.
    std::fs::write(folder.path().join("rerun.db"), "").unwrap();
    let before = migrate(&["--status"]);
    assert!(before.lines().count() > 0);
    assert!(
        before.lines().all(|line| line.starts_with("pending  ")),
        "{before}"
    );
    assert_eq!(migrate(&["--status"]), before, "a look changes nothing");
    assert_eq!(migrate(&[]), before.replace("pending", "applied"));
    assert_eq!(migrate(&["--status"]), before.replace("pending", "applied"));
    assert_eq!(
        migrate(&[]),
        "Nothing to apply: the schema is up to date.\n"
    );
    assert_eq!(migrate(&["--log-format", "json"]), "");
    for line in migrate(&["--log-format", "json", "--status"]).lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["applied"], true);
    }
    assert!(folder.path().join("rerun.db").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_without_workers_leaves_generation_to_a_worker() {
    let folder = folder();
    let (server, address) = serve(folder.path(), &["--workers", "0"]);
    let client = Client::new(folder.path(), &address);

    let (status, answer) = client
        .send(
            "campaign/get",
            "application/json",
            json!({ "campaign_id": "x" }).to_string(),
        )
        .await;
    assert_eq!(
        (status, &answer["code"]),
        (404, &json!("campaign_not_found"))
    );

    let csv = "customer_ref,first name\n1,Zoé\n2,\n3,Bo\n";
    let group = client.group("g", csv).await;
    let campaign = json!({
        "name": "c",
        "customer_group_id": group,
        "segment_by": ["first name"],
        "template": { "subject": "For {{ first name }}.", "body": "Hello {{ first name | upper }}" },
    });
    let campaign = client.post("campaign/create", campaign).await["id"].clone();
    let this = json!({ "campaign_id": campaign });
    assert_eq!(
        client.post("campaign/launch", this.clone()).await["campaign_status"],
        "Processing"
    );

    let arguments = ["worker", "--bind", "127.0.0.1:0"];
    let (mut worker, probes) = listening(rerun(folder.path(), &arguments));
    worker.says("generation of a run finished");
    let said = |line: &&Value| {
        let message = line["fields"]["message"].as_str().unwrap_or_default();
        line["level"] == "INFO" && !message.starts_with("generation of a run")
    };
    let started: Vec<&Value> = worker.lines.iter().filter(said).collect();
    let [started] = started[..] else {
        panic!("one line says that it has started: {started:#?}")
    };
    assert_eq!(
        started["fields"]["message"],
        format!("generating, and listening on http://{probes}")
    );
    assert_eq!(started["fields"]["generator"], "template");
    let settled = &worker.lines.last().unwrap();
    assert_eq!(settled["level"], "INFO");
    let fields = &settled["fields"];
    assert_eq!((&fields["made"], &fields["failed"]), (&json!(3), &json!(0)));
    assert_eq!(fields["run"], "1");
    assert!(fields["seconds"].as_f64().is_some(), "{fields}");
    assert_eq!(fields["campaign_id"], campaign);
    let messages = client.post("campaign/rerun/messages", this.clone()).await;
    let mut subjects: Vec<&str> = messages["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"]["subject"].as_str().unwrap())
        .collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["For .", "For Bo.", "For Zoé."]);
    assert_eq!(
        client.post("campaign/get", this).await["status"],
        "Ready for review"
    );

    let get = async |path: &str| {
        let response = reqwest::get(format!("http://{probes}{path}"))
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(get(path).await.0, 200, "{path}");
    }
    let (status, metrics) = get("/metrics").await;
    assert_eq!(status, 200);
    let stored = "rerun_generation_results_total{outcome=\"stored\"} 3";
    assert!(metrics.contains(stored), "{metrics}");
    for path in ["/v1/campaign/get", "/docs", "/openapi.json", "/"] {
        assert_eq!(get(path).await.0, 404, "{path}");
    }

    assert_eq!(worker.terminate(), Some(0));
    assert_eq!(server.terminate(), Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn a_template_that_names_no_field_is_refused_with_its_place() {
    let folder = folder();
    let (server, address) = serve(folder.path(), &[]);
    let client = Client::new(folder.path(), &address);
    let group = client
        .post("customer-group/create", json!({ "name": "g" }))
        .await["id"]
        .clone();
    let campaign = json!({
        "name": "c",
        "customer_group_id": group,
        "segment_by": ["country"],
        "template": { "subject": "s", "body": "Hello\n{{ contry }}" },
    });
    let (status, answer) = client
        .send("campaign/create", "application/json", campaign.to_string())
        .await;
    assert_eq!(status, 400);
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.contains("`template.body`, line 2: `contry` is not a field"),
        "{message}"
    );
    assert_eq!(server.terminate(), Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn who_edited_a_message_may_approve_it_unless_four_eyes_are_wanted() {
    for (arguments, allowed) in [
        (vec![], true),
        (vec!["--review-four-eyes", "false"], true),
        (vec!["--review-four-eyes", "true"], false),
    ] {
        let folder = folder();
        let (mut server, address) = serve(
            folder.path(),
            &[
                &["--log", "info,rerun_generate=debug"],
                arguments.as_slice(),
            ]
            .concat(),
        );
        let client = Client::new(folder.path(), &address);
        let group = client.group("g", "customer_ref,country\n1,DE\n").await;
        let campaign = json!({
            "name": "c",
            "customer_group_id": group,
            "segment_by": ["country"],
            "template": { "subject": "s", "body": "b" },
        });
        let id = client.post("campaign/create", campaign).await["id"].clone();
        let this = json!({ "campaign_id": id });
        client.post("campaign/launch", this.clone()).await;
        server.says("stored results");
        let messages = client.post("campaign/rerun/messages", this).await;
        let message = &messages["messages"][0]["id"];
        let content = json!({ "subject": "By", "body": "hand" });
        let edit = json!({ "campaign_id": id, "message_id": message, "content": content });
        client.post("campaign/messages/edit", edit).await;
        let approve = json!({
            "campaign_id": id, "message_ids": [message], "decision": "approve",
        });
        let (status, answer) = client
            .send(
                "campaign/messages/review",
                "application/json",
                approve.to_string(),
            )
            .await;
        assert_eq!(status, if allowed { 200 } else { 409 }, "{answer}");
        let said = answer["message"].as_str().unwrap_or_default();
        assert_eq!(said.contains("another person must"), !allowed, "{answer}");
        assert_eq!(server.terminate(), Some(0));
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["serve", "--bind", &address, "--log", "off"];
    let output = with_secrets(rerun(folder.path(), &arguments))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains(&format!("cannot listen on {address}")),
        "{said}"
    );
}

#[test]
fn health_tells_whether_the_server_is_ready() {
    let folder = folder();
    let health = |bind: &str| {
        rerun(folder.path(), &["health", "--bind", bind])
            .output()
            .unwrap()
    };
    let (server, address) = serve(folder.path(), &["--workers", "0"]);
    let ready = health(&address);
    assert!(ready.status.success(), "{ready:?}");
    assert_eq!(text(&ready.stdout), "{\"status\":\"ready\"}\n");
    drop(server);
    let silent = health(&address);
    assert_eq!(silent.status.code(), Some(1), "{silent:?}");
    assert!(text(&silent.stderr).contains("is not answered"));

    let folder = self::folder();
    let (_server, address) = serve(folder.path(), &["--workers", "0"]);
    let file = folder.path().join("rerun.db");
    SqliteConnection::establish(file.to_str().unwrap())
        .unwrap()
        // The server writes at its start too.
        .batch_execute("PRAGMA busy_timeout = 5000; DELETE FROM __diesel_schema_migrations")
        .unwrap();
    let unready = health(&address);
    assert_eq!(unready.status.code(), Some(1), "{unready:?}");
    assert!(text(&unready.stderr).contains("answers 503"));
    assert_eq!(text(&unready.stdout), "");
}

#[test]
fn secrets_are_never_in_the_log() {
    let folder = folder();
    let url = "postgres://user:hunter2@127.0.0.1:1/db";
    let arguments = [
        "serve",
        "--bind",
        "127.0.0.1:0",
        "--log",
        "trace",
        "--database-url",
        url,
    ];
    let output = with_secrets(rerun(folder.path(), &arguments))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr) + &text(&output.stdout);
    assert!(said.contains("cannot connect"), "{said}");
    for secret in ["hunter2", SECRET, API_CODE] {
        assert!(!said.contains(secret), "{said}");
    }
}
