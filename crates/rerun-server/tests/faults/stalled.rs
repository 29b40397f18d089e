//! Clients that never read, and pages of very large messages.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::{Api, Reply};
use crate::process::Process;
use crate::tell;
use crate::wait::{LIMIT, until};
use crate::world::{API_CODE, Server, Store, World};

/// Clients at once.
const CLIENTS: usize = 4;
/// The longest body, each of whose characters has four bytes: 800 kB.
const BODY_LENGTH: usize = 200_000;

/// The memory of a process, in bytes.
#[cfg(target_os = "linux")]
fn resident(process: &Process) -> u64 {
    let pid = process.pid().as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// Creates and launches a campaign, waits until its messages are there, and returns its id.
async fn generated(api: &Api, campaign: Value) -> String {
    let campaign = api.post("campaign/create", campaign).await["id"].clone();
    let this = json!({ "campaign_id": campaign });
    api.post("campaign/launch", this.clone()).await;
    until("the messages", async || {
        let campaign = api.post("campaign/get", this.clone()).await;
        (campaign["status"] == "Ready for review").then_some(())
    })
    .await;
    campaign.as_str().unwrap().to_owned()
}

/// A campaign with so many messages of 800 kB; answers its id.
async fn campaign_of(api: &Api, messages: usize) -> String {
    let group = json!({ "name": "g" });
    let group = api.post("customer-group/create", group).await["id"].clone();
    let rows: Vec<String> = (0..messages)
        .map(|no| format!("c-{no},{no:03}\n"))
        .collect();
    let csv = format!("customer_ref,no\n{}", rows.concat());
    api.import(group.as_str().unwrap(), csv).await;
    let body = "\u{1f600}".repeat(BODY_LENGTH - "{{ no }}".len());
    let campaign = json!({
        "name": "large",
        "customer_group_id": group,
        "segment_by": ["no"],
        "template": { "subject": "s", "body": format!("{{{{ no }}}}{body}") },
    });
    generated(api, campaign).await
}

/// A world whose server makes messages from templates.
fn world(settings: &[(&'static str, &'static str)]) -> World {
    let generator = [("RERUN_GENERATOR", "template")];
    World::with(Store::Sqlite, &[&generator[..], settings].concat())
}

/// Asks for something large and never reads the answer.
fn ask(server: &Server, api: &Api, path: &str, body: &Value) -> TcpStream {
    let (context, body) = (
        json!({ "api_access": true, "api_code": API_CODE }),
        body.to_string(),
    );
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = format!(
        "POST /v1/{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         x-auth-context: {context}\r\nx-ip: 192.0.2.1\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        api.token(),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_large_messages_do_not_use_up_memory() {
    const MESSAGES: usize = 120;
    let world = world(&[]);
    let server = world.serve(2).await;
    let api = Api::new(&world, &server);
    let campaign = campaign_of(&api, MESSAGES).await;
    let reading = (0..CLIENTS).map(|_| {
        let (api, campaign) = (api.clone(), campaign.clone());
        tokio::spawn(async move {
            let mut request = json!({ "campaign_id": campaign, "limit": 10_000 });
            let mut seen = 0;
            loop {
                let page = api.post("campaign/rerun/messages", request.clone()).await;
                let messages = page["messages"].as_array().unwrap();
                // 8 MiB end with the eleventh message.
                assert!((1..=11).contains(&messages.len()), "{}", messages.len());
                seen += messages.len();
                request["cursor"] = page["next_cursor"].clone();
                if request["cursor"].is_null() {
                    return seen;
                }
                assert_eq!(messages.len(), 11);
            }
        })
    });
    let reading: Vec<_> = reading.collect();
    let mut most = 0;
    until("the readers", async || {
        most = most.max(resident(&server.process));
        reading
            .iter()
            .all(tokio::task::JoinHandle::is_finished)
            .then_some(())
    })
    .await;
    for seen in reading {
        assert_eq!(seen.await.unwrap(), MESSAGES);
    }
    tell(&format!(
        "{CLIENTS} readers of {MESSAGES} messages: {} MB",
        most >> 20
    ));
    assert!(most < 500 << 20, "{} MB", most >> 20);
}

/// Both exports, each read whole by two clients.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn exports_of_large_messages_do_not_use_up_memory() {
    const MESSAGES: usize = 120;
    let world = world(&[]);
    let server = world.serve(2).await;
    let api = Api::new(&world, &server);
    let campaign = campaign_of(&api, MESSAGES).await;
    let reading = (0..CLIENTS).map(|client| {
        let (api, campaign) = (api.clone(), campaign.clone());
        tokio::spawn(async move {
            let mut request =
                json!({ "campaign_id": campaign, "run_number": 1, "format": "jsonl" });
            if client % 2 == 0 {
                return api.file("campaign/messages/export", request).await;
            }
            request["content"] = json!(true);
            api.file("campaign/recipients/export", request).await
        })
    });
    let reading: Vec<_> = reading.collect();
    let mut most = 0;
    until("the readers", async || {
        most = most.max(resident(&server.process));
        reading
            .iter()
            .all(tokio::task::JoinHandle::is_finished)
            .then_some(())
    })
    .await;
    for read in reading {
        let (lines, bytes) = read.await.unwrap();
        assert_eq!(lines, MESSAGES);
        assert!(bytes > MESSAGES * 4 * (BODY_LENGTH - 20), "{bytes} bytes");
    }
    tell(&format!(
        "{CLIENTS} exports of {MESSAGES} messages: {} MB",
        most >> 20
    ));
    assert!(most < 500 << 20, "{} MB", most >> 20);
}

/// Who got which message of a run that was planned by other rules: the values of its segments are
/// read for that, 32 MB by each client.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn recipients_of_large_segments_do_not_use_up_memory() {
    const SEGMENTS: usize = 1_000;
    const READERS: usize = 8;
    const FIELDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    // A build for tests takes long over so many characters.
    let world = world(&[("RERUN_REQUEST_TIMEOUT_SECONDS", "300")]);
    let server = world.serve(2).await;
    let api = Api::new(&world, &server);
    let group = api
        .post("customer-group/create", json!({ "name": "g" }))
        .await;
    let group = group["id"].as_str().unwrap();
    // The longest values, each of whose characters has four bytes.
    let value = "\u{1f600}".repeat(996);
    let rows = (0..SEGMENTS).map(|no| {
        let values = [format!("{no:04}{value}"), value.clone()];
        format!("{no},{},{}\n", values[0], [values[1].as_str(); 7].join(","))
    });
    let head = format!("customer_ref,{}\n", FIELDS.join(","));
    api.import(group, head + &rows.collect::<String>()).await;
    let campaign = json!({
        "name": "large", "customer_group_id": group, "segment_by": FIELDS,
        "template": { "subject": "s", "body": "b" },
    });
    let this = json!({ "campaign_id": generated(&api, campaign).await });
    let mut request = this.clone();
    (request["decision"], request["all"]) = (json!("approve"), json!(true));
    api.post("campaign/messages/review", request).await;
    api.post("campaign/publish", this.clone()).await;
    let mut request = this.clone();
    let mut segment_by: Vec<Value> = FIELDS.iter().map(|field| json!(field)).collect();
    segment_by[0] = json!({ "field": "a", "null": ["-"] });
    (request["segment_by"], request["dry_run"]) = (json!(segment_by), json!(false));
    api.post("campaign/segmentation/update", request).await;
    // A process that has held nothing yet.
    assert_eq!(server.process.terminate().await, Some(0));
    let server = world.serve(0).await;
    api.moved_to(&server);
    let reading = (0..READERS).map(|_| {
        let (api, mut request) = (api.clone(), this.clone());
        request["format"] = json!("jsonl");
        tokio::spawn(async move { api.file("campaign/recipients/export", request).await })
    });
    for read in reading.collect::<Vec<_>>() {
        assert_eq!(read.await.unwrap().0, SEGMENTS);
    }
    let most = server.process.peak_memory();
    tell(&format!(
        "{READERS} lists of {SEGMENTS} recipients: {} MB",
        most >> 20
    ));
    assert!(most < 250 << 20, "{} MB", most >> 20);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_are_sent_away() {
    let world = world(&[("RERUN_WRITE_TIMEOUT_SECONDS", "1")]);
    let server = world.serve(2).await;
    let api = Api::new(&world, &server);
    let campaign = campaign_of(&api, 40).await;
    let page = json!({ "campaign_id": campaign, "limit": 10_000 });
    let file = json!({ "campaign_id": campaign, "run_number": 1, "format": "jsonl" });
    let asked = Instant::now();
    let mut stalled: Vec<TcpStream> = (0..CLIENTS)
        .flat_map(|_| {
            [
                ask(&server, &api, "campaign/rerun/messages", &page),
                ask(&server, &api, "campaign/messages/export", &file),
            ]
        })
        .collect();
    // Whoever writes to a connection that is no more learns so.
    let mut most = 0;
    for stream in &mut stalled {
        until("the end of a connection", async || {
            most = most.max(resident(&server.process));
            stream.write_all(b" ").is_err().then_some(())
        })
        .await;
    }
    assert!(most < 500 << 20, "{} MB", most >> 20);
    tell(&format!(
        "stalled clients were gone after {:?}",
        asked.elapsed()
    ));
    assert!(asked.elapsed() < LIMIT / 3, "{:?}", asked.elapsed());
    // Others are served, and the end waits for nobody.
    assert!(matches!(
        api.ready().await,
        Reply::Answer { status: 200, .. }
    ));
    assert_eq!(server.process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_do_not_hold_up_the_end() {
    let settings = [
        ("RERUN_WRITE_TIMEOUT_SECONDS", "600"),
        ("RERUN_SHUTDOWN_GRACE_SECONDS", "1"),
    ];
    let world = world(&settings);
    let server = world.serve(2).await;
    let api = Api::new(&world, &server);
    let campaign = campaign_of(&api, 40).await;
    let page = json!({ "campaign_id": campaign, "limit": 10_000 });
    let stalled: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| ask(&server, &api, "campaign/rerun/messages", &page))
        .collect();
    // Its answer is on the way once the first bytes are there.
    for stream in &stalled {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        assert!(stream.peek(&mut [0]).unwrap() > 0);
    }
    let told = Instant::now();
    assert_eq!(server.process.terminate().await, Some(0));
    tell(&format!("ended {:?} after SIGTERM", told.elapsed()));
    assert!(
        told.elapsed() < Duration::from_secs(15),
        "{:?}",
        told.elapsed()
    );
}
