//! The console as an operator sets it up: the link that signs in, the switch, and rules for roles.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{folder, rerun, serve_with, text, with_secrets};

const ACCOUNT: &str = "0193ed20-7b3c-7000-8000-00000000000a";

/// The link that the command prints.
fn link(folder: &std::path::Path, arguments: &[&str]) -> String {
    let arguments = [&["console", "--account", ACCOUNT], arguments].concat();
    let output = with_secrets(rerun(folder, &arguments)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).trim().to_owned()
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[actix_web::test]
async fn a_link_signs_in_with_the_role_and_its_rules() {
    let folder = folder();
    let rules = ("RERUN_ROLES", "publish=ADMIN");
    let (_server, address) = serve_with(folder.path(), &[rules]);
    let link = link(
        folder.path(),
        &["--role", "EDITOR", "--bind", &address, "--user-name", "Ada"],
    );
    let (page, token) = link.split_once("#token=").unwrap();
    assert_eq!(page, format!("http://{address}/console/"));
    let http = client();
    assert_eq!(
        http.get(page).send().await.unwrap().status(),
        StatusCode::OK
    );
    let session = http.post(format!("{page}session"));
    let signed_in = session
        .json(&json!({ "token": token }))
        .send()
        .await
        .unwrap();
    assert_eq!(signed_in.status(), StatusCode::OK);
    let cookie = signed_in.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .to_owned();
    let cookie = cookie.split(';').next().unwrap();
    let said: Value = signed_in.json().await.unwrap();
    assert_eq!(said["account_id"], ACCOUNT);
    assert_eq!(
        (&said["role_code"], &said["user_name"]),
        (&json!("EDITOR"), &json!("Ada"))
    );
    let actions = said["actions"].as_array().unwrap();
    assert!(actions.contains(&json!("initiate")), "{said}");
    assert!(!actions.contains(&json!("publish")), "{said}");
    let call = async |path: &str| {
        let request = http
            .post(format!("{page}v1/campaign/{path}"))
            .header("cookie", cookie);
        let answer = request
            .json(&json!({ "campaign_id": ACCOUNT }))
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["code"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(call("publish").await, "unauthorized");
    assert_eq!(call("get").await, "campaign_not_found");
}

#[actix_web::test]
async fn the_console_can_be_switched_off() {
    let folder = folder();
    let (_server, address) = serve_with(folder.path(), &[("RERUN_CONSOLE", "false")]);
    let http = client();
    for path in ["console", "console/", "console/app.js", "console/session"] {
        let answer = http
            .get(format!("http://{address}/{path}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["console/session", "console/v1/campaign/list"] {
        let request = http.post(format!("http://{address}/{path}"));
        let answer = request.json(&json!({})).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn a_link_leads_to_the_address_that_is_named() {
    let folder = folder();
    let link = link(folder.path(), &["--url", "https://rerun.example/"]);
    assert!(
        link.starts_with("https://rerun.example/console/#token=ey"),
        "{link}"
    );
}

#[test]
fn a_link_needs_a_key_that_can_sign() {
    let folder = folder();
    let mut command = rerun(folder.path(), &["console"]);
    command.env("RERUN_JWT_ALGORITHM", "RS256");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("signs with HS256 alone"), "{said}");
}

#[actix_web::test]
async fn the_demo_prints_a_link_that_signs_in() {
    let folder = folder();
    let mut demo = rerun(folder.path(), &["demo"]);
    let mut demo = Killed(demo.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines();
    let link = lines.find_map(|line| Some(line.unwrap()).filter(|line| line.contains("#token=")));
    let link = link.unwrap();
    let (page, token) = link.split_once("#token=").unwrap();
    let session = client().post(format!("{page}session"));
    let signed_in = session
        .json(&json!({ "token": token }))
        .send()
        .await
        .unwrap();
    assert_eq!(signed_in.status(), StatusCode::OK);
    // Its webhooks reach a receiver on this machine.
    let receiver = json!({ "url": "http://127.0.0.1:9/" });
    let webhook = client().post(format!("{page}v1/webhook/create"));
    let webhook = webhook
        .header("cookie", format!("rerun-console={token}"))
        .json(&receiver)
        .send();
    assert_eq!(webhook.await.unwrap().status(), StatusCode::OK);
}

/// A process that goes when the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}
