//! The page of webhooks, by keyboard alone, before receivers of every kind.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::driver::{Browser, ENTER, ESCAPE, TAB};
use crate::world::World;

crate::on_both_stores!(
    a_webhook_is_managed_by_keyboard,
    what_failed_is_told_in_words,
    a_role_is_offered_what_it_may_do,
);

/// A receiver, which responds with the status in the path: `/204`.
struct Receiver {
    port: u16,
    got: Arc<Mutex<Vec<(String, String)>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let got = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&got);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let all = Arc::clone(&all);
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(&stream);
                    let (mut path, mut id, mut length) = (String::new(), String::new(), 0);
                    loop {
                        let mut line = String::new();
                        lines.read_line(&mut line).unwrap_or_default();
                        let line = line.trim_end();
                        if line.is_empty() {
                            break;
                        }
                        if let Some((name, value)) = line.split_once(": ") {
                            match name {
                                "webhook-id" => value.clone_into(&mut id),
                                "content-length" => length = value.parse().unwrap(),
                                _ => {}
                            }
                        } else {
                            line.split(' ').nth(1).unwrap().clone_into(&mut path);
                        }
                    }
                    let mut body = vec![0; length];
                    lines.read_exact(&mut body).unwrap_or_default();
                    let status = path.trim_matches('/').to_owned();
                    all.lock().unwrap().push((path, id));
                    let head = format!(
                        "HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    );
                    // The sender may be gone.
                    let _gone = stream.write_all(head.as_bytes());
                });
            }
        });
        Self { port, got }
    }

    fn url(&self, status: u16) -> String {
        format!("http://127.0.0.1:{}/{status}", self.port)
    }

    /// How often an event came.
    fn times(&self, id: &str) -> usize {
        let got = self.got.lock().unwrap();
        got.iter().filter(|(_, one)| one == id).count()
    }
}

async fn webhooks(world: &World) -> Vec<Value> {
    let page = world.call("webhook/list", json!({})).await;
    page["webhooks"].as_array().unwrap().clone()
}

async fn closed(browser: &Browser) {
    browser.until("!document.querySelector('dialog')").await;
}

/// Whether a secret is anywhere in the page.
const HAS_SECRET: &str = "document.documentElement.outerHTML.includes('whsec_') \
    || [...document.querySelectorAll('input')].some((box) => box.value.includes('whsec_'))";

#[expect(clippy::too_many_lines, reason = "a story")]
async fn a_webhook_is_managed_by_keyboard(world: World, browser: Browser) {
    let receiver = Receiver::start();
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    browser.allow_clipboard().await;
    browser.enter("link", "Webhooks").await;
    browser.says("There are no webhooks yet.").await;

    // Made, with its secret shown once.
    browser.enter("button", "New webhook").await;
    browser.tab_to("textbox", "URL").await;
    browser.write(&receiver.url(204)).await;
    browser.press([TAB]).await;
    browser.write("Data team").await;
    browser.press([ENTER]).await;
    browser.says("it is not shown again").await;
    browser.tab_to("textbox", "Secret").await;
    let secret = browser.run("return document.activeElement.value").await;
    assert!(secret.as_str().unwrap().starts_with("whsec_"), "{secret}");
    browser.enter("button", "Copy").await;
    browser.says("Copied.").await;
    let copied = "const done = arguments[0]; navigator.clipboard.readText().then(done, (error) => done(String(error)))";
    assert_eq!(browser.run_async(copied).await, secret);
    browser.press([ESCAPE]).await;
    closed(&browser).await;
    assert_eq!(
        browser.run(&format!("return {HAS_SECRET}")).await,
        json!(false)
    );
    browser.says("nothing pending").await;

    // What happens is sent, and told.
    world.group("Spring", &["DE"], &["gold"], 1).await;
    let named = async |name: &str| {
        let events = json!({ "types": [name] });
        world.call("event/list", events).await["events"][0].clone()
    };
    let created = named("customer_group.created").await;
    let imported = named("customer_group.imported").await;
    let id = created["id"].as_str().unwrap();
    for event in [&created, &imported] {
        let id = event["id"].as_str().unwrap();
        world.until(async || receiver.times(id) == 1).await;
    }
    browser.enter("link", "Data team").await;
    browser.says("customer_group.imported").await;
    browser.enter("button", "Test").await;
    browser.says("The test was delivered: status 204").await;
    world
        .until(async || webhooks(&world).await[0]["pending"] == 0)
        .await;
    browser.choose("State", "pending").await;
    browser.says("No delivery is in this state.").await;
    browser.choose("State", "delivered").await;
    browser.says("customer_group.created").await;

    // A range is sent again, with the same ids.
    let sequence = created["sequence"].to_string();
    browser.enter("button", "Replay").await;
    browser.choose("Events", "of a").await;
    browser.tab_to("textbox", "First event").await;
    browser.write(&sequence).await;
    browser.tab_to("textbox", "Last event").await;
    browser.write(&sequence).await;
    browser.press([ENTER]).await;
    browser.says("1 event queued.").await;
    world.until(async || receiver.times(id) == 2).await;
    closed(&browser).await;
    browser.confirm("Replay", &[]).await;
    browser.says("0 events queued.").await;

    // Another secret.
    browser.enter("button", "Rotate secret").await;
    browser
        .choose("The secret of now signs too", "no longer")
        .await;
    browser.enter("button", "Rotate secret").await;
    browser.says("it is not shown again").await;
    browser.tab_to("textbox", "Secret").await;
    let other = browser.run("return document.activeElement.value").await;
    assert!(other.as_str().unwrap().starts_with("whsec_"), "{other}");
    assert_ne!(other, secret);
    browser.press([ESCAPE]).await;
    closed(&browser).await;

    // Its types are changed.
    browser.enter("button", "Edit").await;
    browser.choose("Events", "some").await;
    browser.enter("button", "Save").await;
    browser.says("Choose at least one type of event.").await;
    browser.tab_to("checkbox", "campaign.published").await;
    browser.press([' ']).await;
    browser.enter("button", "Save").await;
    closed(&browser).await;
    let types = json!(["campaign.published"]);
    assert_eq!(webhooks(&world).await[0]["types"], types);
    browser.says("campaign.published").await;

    // Disabled, and enabled where it was.
    browser.confirm("Disable", &[]).await;
    browser.says("Somebody disabled it.").await;
    assert!(!browser.has("button", "Replay").await);
    let delivered = webhooks(&world).await[0]["delivered_sequence"].clone();
    browser.enter("button", "Enable").await;
    let next = delivered.as_i64().unwrap() + 1;
    browser
        .until(&format!("document.querySelector('dialog[open] select')?.selectedOptions[0].textContent === 'from the event after the last delivered one ({next})'"))
        .await;
    browser.enter("button", "Enable").await;
    browser
        .until("document.querySelector('main').innerText.includes('Enabled')")
        .await;
    let enabled = &world.entries("webhook.updated").await[0]["details"];
    assert_eq!(enabled["status"], "enabled", "{enabled}");
    assert_eq!(enabled["after_sequence"], delivered, "{enabled}");

    // Deleted: the button of the dialog has the action's name.
    browser.confirm("Delete", &[]).await;
    browser.says("There are no webhooks yet.").await;
    assert!(webhooks(&world).await.is_empty());
}

async fn what_failed_is_told_in_words(world: World, browser: Browser) {
    let receiver = Receiver::start();
    for (name, url) in [
        ("Busy", receiver.url(503)),
        ("Gone", receiver.url(410)),
        ("Away", "http://127.0.0.1:1/".to_owned()),
    ] {
        let create = json!({ "url": url, "description": name, "after_sequence": 0 });
        world.call("webhook/create", create).await;
    }
    let settled = async || {
        let all = webhooks(&world).await;
        let failing = |one: &&Value| !one["failing_since"].is_null();
        all.iter().filter(failing).count() == 3
    };
    world.until(settled).await;
    world
        .until(async || {
            let all = webhooks(&world).await;
            all.iter().any(|one| one["disabled_reason"] == "gone")
        })
        .await;
    browser.open(&world.link()).await;
    browser.says("Sign out").await;
    browser.enter("link", "Webhooks").await;
    browser.says("every attempt has failed since").await;
    browser.says("events pending").await;
    browser
        .says("Its receiver wants no more events: it responded with status 410.")
        .await;
    browser.enter("link", "Away").await;
    browser.says("nobody takes the connection").await;
    browser.enter("button", "Test").await;
    browser
        .says("The test was not delivered: nobody takes the connection")
        .await;
    browser.enter("link", "Webhooks").await;
    browser.enter("link", "Busy").await;
    browser.says("status 503").await;
    // Each attempt is told, by the keyboard too.
    browser
        .until("(() => { document.querySelector('summary')?.focus(); return document.activeElement.tagName === 'SUMMARY' })()")
        .await;
    browser.press([ENTER]).await;
    browser
        .until("document.querySelector('details[open] li')?.innerText.includes('status 503')")
        .await;
    browser.choose("State", "failed").await;
    browser.says("No delivery is in this state.").await;

    // What is refused says why, in the dialog.
    browser.enter("link", "Webhooks").await;
    browser.enter("button", "New webhook").await;
    browser.tab_to("textbox", "URL").await;
    browser.write("ftp://example.com/").await;
    browser.press([ENTER]).await;
    browser
        .until("document.querySelector('dialog [role=alert]')?.innerText.includes('url')")
        .await;
    assert_eq!(webhooks(&world).await.len(), 3);
}

async fn a_role_is_offered_what_it_may_do(world: World, browser: Browser) {
    let create = json!({ "url": "http://127.0.0.1:1/", "description": "Data team" });
    world.call("webhook/create", create).await;
    // `READER` may see webhooks and their deliveries, and nothing more.
    browser.open(&world.link_as("READER")).await;
    browser.says("Sign out").await;
    browser.enter("link", "Webhooks").await;
    browser.says("Data team").await;
    assert!(!browser.has("button", "New webhook").await);
    browser.enter("link", "Data team").await;
    browser.says("Deliveries").await;
    for action in [
        "Test",
        "Edit",
        "Replay",
        "Rotate secret",
        "Disable",
        "Delete",
    ] {
        assert!(!browser.has("button", action).await, "{action}");
    }
    // Whoever may not initiate may not have a schedule do it.
    let group = world.group("Spring", &["DE"], &["gold"], 1).await;
    let campaign = world.launched("Offer", &group, "Dear {{ tier }}").await;
    let create = json!({ "campaign_id": campaign, "name": "Mondays", "cron": "0 9 * * MON" });
    world.call("schedule/create", create).await;
    browser.enter("link", "Schedules").await;
    browser.says("Mondays").await;
    assert!(!browser.has("link", "New schedule").await);
    browser.enter("link", "Mondays").await;
    browser.says("What became of its times").await;
    for action in ["Trigger", "Pause", "Resume", "Delete"] {
        assert!(!browser.has("button", action).await, "{action}");
    }
    assert!(!browser.has("link", "Edit").await);
    browser
        .open(&world.page(&format!("campaigns/{campaign}")))
        .await;
    browser.says("Mondays").await;
    assert!(!browser.has("link", "Schedule").await);
    // `NOBODY` may not even see them.
    browser.enter("button", "Sign out").await;
    browser.says("Token").await;
    browser.open("about:blank").await;
    browser.open(&world.link_as("NOBODY")).await;
    browser.says("Sign out").await;
    assert!(browser.has("link", "Waiting").await);
    for page in ["Schedules", "Webhooks", "Audit"] {
        assert!(!browser.has("link", page).await, "{page}");
    }
    browser
        .open(&world.page(&format!("campaigns/{campaign}")))
        .await;
    browser.says("Run 1").await;
    assert!(!browser.has("link", "History of changes").await);
    browser.open(&world.page("webhooks")).await;
    browser.says("Your role may not do this.").await;
}
