//! What the log says of requests.

use std::process::Stdio;

use serde_json::{Value, json};

use super::{API_CODE, Client, Running, SECRET, folder, rerun, serve_with, text, with_secrets};

/// A campaign that is launched; answers its id.
async fn launched(client: &Client) -> Value {
    let group = client.group("Customers of hunter2", "customer_ref,country\nhunter2,DE\n");
    let campaign = json!({
        "name": "hunter2",
        "customer_group_id": group.await,
        "segment_by": ["country"],
        "template": { "subject": "hunter2", "body": "hunter2" },
    });
    let campaign = client.post("campaign/create", campaign).await["id"].clone();
    client
        .post("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    campaign
}

/// The line of the request with this id; there is one.
fn line<'a>(lines: &'a [Value], id: &str) -> &'a Value {
    let of = |line: &&Value| line["spans"][0]["request_id"] == id;
    let found: Vec<&Value> = lines.iter().filter(of).collect();
    let [line] = found[..] else {
        panic!("{id}: {found:?}")
    };
    line
}

#[tokio::test]
async fn each_request_has_one_line_that_says_what_is_known_and_no_more() {
    let folder = folder();
    let settings = [
        ("RERUN_WORKERS", "0"),
        ("RERUN_SHUTDOWN_GRACE_SECONDS", "1"),
    ];
    let (mut server, address) = serve_with(folder.path(), &settings);
    let client = Client::new(folder.path(), &address);
    let campaign = launched(&client).await;
    let this = json!({ "campaign_id": campaign }).to_string();
    let group = client.group("Others of hunter2", "customer_ref,country\nhunter2,DE\n");
    let group = group.await;
    let named =
        |name: &str| json!({ "customer_group_id": group, "customer_refs": [name] }).to_string();
    let (found, none) = (named("hunter2"), named("hunter2-nobody"));
    let erased = json!({ "customer_ref": "hunter2" }).to_string();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (id, path, body) in [
        ("get", "campaign/get?token=hunter2", this.as_str()),
        ("again", "campaign/launch", &this),
        ("unknown", "nothing/hunter2", "{}"),
        ("malformed", "campaign/get", "{\"campaign_id\": hunter2"),
        ("list", "customer/list", &found),
        ("list-nobody", "customer/list", &none),
        ("delete-nobody", "customer/delete", &none),
        ("delete", "customer/delete", &found),
        ("erase", "customer/erase", &erased),
        ("erase-nobody", "customer/erase", &erased),
    ] {
        let request = client
            .request(path, "application/json")
            .body(body.to_owned());
        request.header("x-request-id", id).send().await.unwrap();
    }
    for (id, path) in [("probe", "health/live"), ("scrape", "metrics")] {
        let url = format!("http://{address}/{path}");
        let probe = http.get(url).header("x-request-id", id);
        assert_eq!(probe.send().await.unwrap().status(), 200);
    }
    let url = format!("http://{address}/v1/campaign/get");
    let bare = http.post(url).header("authorization", "Bearer hunter2");
    let bare = bare.header("x-request-id", "bare").send().await.unwrap();
    assert_eq!(bare.status(), 403);

    // Its line is written before its answer is.
    server.says_of("bare");
    let lines = &server.lines;
    let span = |id| &line(lines, id)["spans"][0];
    let fields = |id| &line(lines, id)["fields"];
    assert_eq!(span("get")["route"], "/v1/campaign/get");
    assert_eq!(span("get")["method"], "POST");
    assert_eq!(fields("get")["status"], 200);
    assert!(fields("get")["latency_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(fields("get")["campaign_id"], campaign);
    let account = fields("get")["account_id"].as_str().unwrap();
    assert!(uuid::Uuid::try_parse(account).is_ok(), "{account}");
    assert_eq!(fields("get")["run_number"], Value::Null);
    assert_eq!(fields("again")["status"], 409);
    assert_eq!(fields("again")["code"], "invalid_transition");
    let launch = lines.iter().find(|line| {
        line["spans"][0]["route"] == "/v1/campaign/launch" && line["fields"]["status"] == 200
    });
    assert_eq!(launch.unwrap()["fields"]["run_number"], 1);
    assert_eq!(span("unknown")["route"], "none");
    assert_eq!(fields("unknown")["status"], 404);
    assert_eq!(fields("malformed")["code"], "invalid_request");
    for id in ["list", "list-nobody", "delete", "delete-nobody", "erase"] {
        assert_eq!(fields(id)["status"], 200, "{id}");
    }
    assert_eq!(fields("erase-nobody")["code"], "customer_not_found");
    assert_eq!(fields("bare")["code"], "auth_error");
    assert!(fields("bare")["reason"].is_string());
    assert_eq!(fields("bare")["account_id"], Value::Null);
    for line in lines {
        if line["fields"]["message"] == "answered" {
            assert_eq!(line["level"], "INFO");
        }
        let id = &line["spans"][0]["request_id"];
        assert!(id != "probe" && id != "scrape", "{line}");
        let text = line.to_string();
        for secret in ["hunter2", SECRET, API_CODE, "Bearer"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[tokio::test]
async fn a_failure_of_the_server_is_an_error_with_its_cause_and_request() {
    let folder = folder();
    // At this level nothing but errors is there.
    let settings = [
        ("RERUN_WORKERS", "0"),
        ("RERUN_LOG", "error,rerun_server::cli=info"),
    ];
    let (mut server, address) = serve_with(folder.path(), &settings);
    let client = Client::new(folder.path(), &address);
    let file = folder.path().join("rerun.db").display().to_string();
    let mut connection =
        <diesel::SqliteConnection as diesel::Connection>::establish(&file).unwrap();
    diesel::connection::SimpleConnection::batch_execute(
        &mut connection,
        "ALTER TABLE campaigns RENAME TO gone",
    )
    .unwrap();
    let request = client
        .request("campaign/list", "application/json")
        .body("{}");
    let answer = request.header("x-request-id", "broken").send().await;
    assert_eq!(answer.unwrap().status(), 500);
    server.says_of("broken");
    let line = line(&server.lines, "broken");
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["fields"]["code"], "internal_error");
    let cause = line["fields"]["cause"].as_str().unwrap();
    assert!(cause.contains("campaigns"), "{cause}");
    let answered = |line: &&Value| line["fields"]["message"] == "answered";
    assert_eq!(server.lines.iter().filter(answered).count(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn text_says_the_same() {
    let folder = folder();
    let command = rerun(folder.path(), &["serve", "--bind", "127.0.0.1:0"]);
    let mut child = with_secrets(command)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut lines = Vec::new();
    let mut up_to = |what: &str| {
        use std::io::BufRead;
        loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "{lines:?}");
            lines.push(line.clone());
            if line.contains(what) {
                return line;
            }
        }
    };
    let said = up_to("listening on http://");
    let address = said.split("http://").nth(1).unwrap();
    let address = address.split(' ').next().unwrap();
    let client = Client::new(folder.path(), address);
    let campaign = launched(&client).await;
    up_to("/v1/campaign/launch");
    let this = json!({ "campaign_id": campaign }).to_string();
    let request = client
        .request("campaign/get", "application/json")
        .body(this);
    let answer = request.header("x-request-id", "mine").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let said = up_to("answered");
    child.kill().unwrap();
    child.wait().unwrap();
    let campaign = campaign.as_str().unwrap();
    for part in [
        " INFO request{request_id=\"mine\" method=POST route=\"/v1/campaign/get\"}:",
        " status=200 latency_ms=",
        " account_id=",
        &format!(" campaign_id={campaign}"),
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[cfg(unix)]
#[test]
fn one_line_says_what_was_started() {
    let folder = folder();
    let settings = [
        ("RERUN_WORKERS", "3"),
        ("RERUN_SHUTDOWN_DRAIN_SECONDS", "0"),
    ];
    let (server, _) = serve_with(folder.path(), &settings);
    let line = server.lines.last().unwrap()["fields"].clone();
    assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
    let file = folder.path().canonicalize().unwrap().join("rerun.db");
    let database = line["database"].as_str().unwrap();
    let database = database.strip_prefix("sqlite://").unwrap();
    assert_eq!(std::path::Path::new(database).canonicalize().unwrap(), file);
    assert!(std::path::Path::new(database).is_absolute(), "{database}");
    assert_eq!(line["generator"], "template");
    assert_eq!(line["generator_calls"], 3);
    for line in &server.lines {
        let target = line["target"].as_str().unwrap();
        assert!(!target.starts_with("actix"), "{line}");
    }
    assert_eq!(server.terminate(), Some(0));
}

/// The folder's name stands for all text of others: it is in the line of the start.
#[cfg(unix)]
#[test]
fn no_text_forges_a_line() {
    let folder = folder();
    let name = "a\n2026-01-01T00:00:00Z  INFO forged: all is well\u{1b}[2J\u{202e}b";
    let inner = folder.path().join(name);
    std::fs::create_dir(&inner).unwrap();
    let mut command = rerun(&inner, &["serve", "--bind", "127.0.0.1:0"]);
    command.env("RERUN_API_CODE_FILE", inner.join("none"));
    let none = inner.join("none.toml");
    let none = none.to_str().unwrap();
    let config = with_secrets(rerun(folder.path(), &["serve", "--config", none]));
    let mut key = with_secrets(rerun(folder.path(), &["serve", "--bind", "127.0.0.1:0"]));
    key.env_remove("RERUN_JWT_SECRET")
        .env("RERUN_JWT_ALGORITHM", "RS256")
        .env("RERUN_JWT_PUBLIC_KEY_FILE", none);
    let id = "0193ed20-7b3c-7000-8000-00000000000a";
    let mut database = rerun(folder.path(), &["audit", "verify", "--account", id]);
    database.env("RERUN_DATABASE_URL", format!("sqlite://{none}"));
    for mut command in [command, config, key, database] {
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{command:?}");
        let refused = text(&output.stderr);
        assert!(refused.contains("forged"), "{refused:?}");
        assert!(!refused.contains(['\u{1b}', '\u{202e}']), "{refused:?}");
        let forged = refused.lines().find(|line| line.starts_with("2026-01-01"));
        assert_eq!(forged, None, "{refused:?}");
    }

    let command = rerun(&inner, &["serve", "--bind", "127.0.0.1:0"]);
    let mut child = with_secrets(command)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("listening on") {
        use std::io::BufRead;
        said.clear();
        assert_ne!(log.read_line(&mut said).unwrap(), 0);
        assert!(
            !said.starts_with("2026-01-01T00:00:00Z  INFO forged"),
            "{said:?}"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let shown = "a\\n2026-01-01T00:00:00Z  INFO forged: all is well\\u{1b}[2J\\u{202e}b/rerun.db";
    assert!(said.contains(shown), "{said:?}");
}

#[test]
fn a_filter_that_would_log_nothing_is_refused() {
    let folder = folder();
    let command = rerun(folder.path(), &["serve", "--log", "warning"]);
    let output = with_secrets(command).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("--log is \"warning\""), "{said}");
    assert!(said.contains("did you mean `warn`?"), "{said}");
}

impl Running {
    /// Reads the log up to the line of the request with this id.
    fn says_of(&mut self, id: &str) {
        loop {
            self.says("answered");
            let last = self.lines.last().unwrap();
            if last["spans"][0]["request_id"] == id {
                return;
            }
        }
    }
}
