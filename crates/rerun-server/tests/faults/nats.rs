//! Events in a stream of NATS, with publishers and servers that are killed.

mod credentials;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, HeaderMap};
use rerun_contract::fixture::{ACCOUNT, caller};
use rerun_core::Actor;
use rerun_core::feed::PublicEvent;
use rerun_core::page::Limit;
use rerun_core::ports::EventBroker;
use rerun_core::publication::PublishError;
use rerun_core::usecases::{Engine, EventQuery, Settings};
use rerun_deliver::{NatsBroker, NatsOptions, NatsServers};
use rerun_server::config::{Database, DatabaseUrl};
use rerun_server::store::{Services, StorePorts, migrate};
use serde_json::{Value, json};

use crate::process::{Process, rerun};
use crate::wait::until;
use crate::world::{Store, World};
use crate::{chance, number, tell};

const PREFIX: &str = "rerun.events";
/// For how long the tests' stream remembers ids: so short that only the publisher can keep events from
/// coming twice.
const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);

/// The server, of the distribution's package `nats-server`.
fn binary() -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&on_path).chain([PathBuf::from("/usr/sbin")]);
    let mut found = folders.map(|folder| folder.join("nats-server"));
    let found = found.find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("the package nats-server is not installed"))
}

/// A server with a folder and a port of its own, which it keeps when it is started again.
struct Nats {
    folder: tempfile::TempDir,
    port: u16,
    arguments: Vec<&'static str>,
    process: Option<Process>,
}

impl Nats {
    fn stopped() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            port: free.local_addr().unwrap().port(),
            arguments: Vec::new(),
            process: None,
        }
    }

    async fn start(&mut self) {
        let mut command = Command::new(binary());
        command
            .args([
                "-js",
                "-a",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-sd",
            ])
            .arg(self.folder.path())
            .args(&self.arguments);
        let mut process = Process::start("nats-server", command);
        process.says("Server is ready").await;
        self.process = Some(process);
    }

    async fn started() -> Self {
        let mut nats = Self::stopped();
        nats.start().await;
        nats
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    async fn context(&self) -> Context {
        let client = ConnectOptions::new().connect(self.url()).await.unwrap();
        jetstream::new(client)
    }

    /// Waits until the stream has more than now.
    async fn gets_more(&self) {
        let stream = self.context().await.get_stream("rerun").await.unwrap();
        let before = stream.cached_info().state.messages;
        until("more events in the stream", async || {
            let info = stream.get_info().await.ok()?;
            (info.state.messages > before).then_some(())
        })
        .await;
    }

    /// What publishes in the stream.
    fn broker(&self) -> NatsBroker {
        NatsBroker::new(NatsOptions {
            servers: NatsServers::parse(&self.url()).unwrap(),
            credentials: None,
            stream: "rerun".into(),
            prefix: PREFIX.into(),
            create_stream: false,
        })
    }

    /// Makes the stream.
    async fn stream(&self) -> Stream {
        let config = Config {
            name: "rerun".into(),
            subjects: vec![format!("{PREFIX}.>")],
            duplicate_window: DUPLICATE_WINDOW,
            ..Config::default()
        };
        self.context().await.create_stream(config).await.unwrap()
    }
}

/// The use cases over the world's database, beside its processes.
fn engine(world: &World) -> Engine {
    let url = world.url();
    let url = if url.starts_with("sqlite:") {
        DatabaseUrl::Sqlite(url)
    } else {
        DatabaseUrl::Postgres(url)
    };
    migrate(&url).unwrap();
    let services = Services::default();
    StorePorts::open(&Database::new(url, 4), &services, Settings::default())
        .unwrap()
        .engine
}

fn command(folder: &Path, world: &World, url: &str) -> Command {
    let mut command = rerun(folder, &["dispatch"]);
    command
        .env("RERUN_DATABASE_URL", world.url())
        .env("RERUN_NATS_URL", url);
    command
}

async fn publisher(world: &World, url: &str, settings: &[(&str, &str)]) -> Process {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), world, url);
    command.envs(settings.iter().copied());
    let mut process = Process::start("publisher", command);
    process.says("delivering events").await;
    process
}

async fn events(engine: &Engine, number: usize) {
    for place in 0..number {
        let name = format!("Group {place}");
        engine.groups.create(&caller(), &name, None).await.unwrap();
    }
}

/// The account's events, from the first on.
async fn chain(engine: &Engine) -> Vec<PublicEvent> {
    let system = Actor::system(ACCOUNT);
    let mut query = EventQuery {
        limit: Some(Limit::MAX.into()),
        ..EventQuery::default()
    };
    let mut all = Vec::new();
    loop {
        let page = engine.events.list(&system, &query).await.unwrap();
        if page.events.is_empty() {
            return all;
        }
        query.after_sequence = page.next_sequence;
        all.extend(page.events);
    }
}

/// A message of a stream: its subject, its headers, and its event.
#[derive(Debug)]
struct Message {
    subject: String,
    headers: HeaderMap,
    event: Value,
}

/// All messages of the stream, in its order.
async fn messages(stream: &Stream) -> Vec<Message> {
    let state = stream.get_info().await.unwrap().state;
    let mut all = Vec::new();
    for number in state.first_sequence.max(1)..=state.last_sequence {
        let message = stream.get_raw_message(number).await.unwrap();
        all.push(Message {
            subject: message.subject.to_string(),
            headers: message.headers,
            event: serde_json::from_slice(&message.payload).unwrap(),
        });
    }
    all
}

/// Waits until the stream has as many messages as the log has entries, and compares them.
async fn is_the_chain(stream: &Stream, engine: &Engine) {
    let chain = chain(engine).await;
    let wanted = u64::try_from(chain.len()).unwrap();
    let count = async || Some(stream.get_info().await.ok()?.state.messages);
    let mut before = None;
    // There may be many: the wait ends when no more come.
    while before.is_none_or(|before| before < wanted) {
        let more = async || {
            count()
                .await
                .filter(|now| before.is_none_or(|before| *now > before))
        };
        before = Some(until("more events in the stream", more).await);
    }
    let found: Vec<Value> = messages(stream)
        .await
        .into_iter()
        .map(|m| m.event)
        .collect();
    let expected: Vec<Value> = chain.iter().map(|event| json!(event)).collect();
    assert_eq!(found, expected);
}

/// Ends the lease of a publisher that was killed; returns whether it had one.
fn end_lease(world: &World) -> bool {
    world.execute("UPDATE event_cursors SET leased_until = leased_at WHERE lease_id IS NOT NULL")
        > 0
}

async fn survives_kills(place: Store) {
    let kills = number("RERUN_TEST_KILLS").unwrap_or(4);
    let mut chance = chance();
    let world = World::new(place, Duration::ZERO, 60);
    let engine = engine(&world);
    let mut nats = Nats::started().await;
    nats.stream().await;
    let settings = [("RERUN_LOG", "info,rerun_deliver=debug")];
    let begun = Instant::now();
    let mut process = Some(publisher(&world, &nats.url(), &settings).await);
    let mut at_work = 0;
    let over = AtomicBool::new(false);
    let writing = async {
        while !over.load(Ordering::Relaxed) {
            events(&engine, 5).await;
            // So that the publisher can follow.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let killing = async {
        // The publisher and the server in turns, each so many times.
        for kill in 1..=2 * kills {
            let wait = Duration::from_micros(chance.u64(0..30_000));
            nats.gets_more().await;
            // The moment is what is tested.
            tokio::time::sleep(wait).await;
            if kill % 2 == 0 {
                nats.kill();
                nats.start().await;
                continue;
            }
            process.take().unwrap().kill();
            // Nobody waits for the end of the lease.
            at_work += usize::from(end_lease(&world));
            process = Some(publisher(&world, &nats.url(), &settings).await);
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(writing, killing);
    let stream = nats.context().await.get_stream("rerun").await.unwrap();
    is_the_chain(&stream, &engine).await;
    let number = chain(&engine).await.len();
    tell(&format!(
        "{kills} kills of a publisher, {at_work} of them while it published, and {kills} of NATS; \
         {number} events, each once, {:.1} s",
        begun.elapsed().as_secs_f64()
    ));
    assert_eq!(process.unwrap().terminate().await, Some(0));
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_is_the_chain_when_processes_are_killed_on_sqlite() {
    survives_kills(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_is_the_chain_when_processes_are_killed_on_postgres() {
    survives_kills(Store::postgres()).await;
}

/// A publisher is killed after NATS has confirmed two events, and before their place is written. When NATS
/// comes back, it has forgotten their ids.
async fn an_outage_is_longer_than_the_duplicate_window(place: Store) {
    let world = World::new(place, Duration::ZERO, 60);
    let engine = engine(&world);
    let mut nats = Nats::started().await;
    let stream = nats.stream().await;
    let process = publisher(&world, &nats.url(), &[]).await;
    events(&engine, 3).await;
    is_the_chain(&stream, &engine).await;
    assert_eq!(process.terminate().await, Some(0));
    events(&engine, 4).await;
    let broker = nats.broker();
    let (_, mut killed) = broker.take_over(ACCOUNT).await.unwrap();
    for event in &chain(&engine).await[3..5] {
        killed.publish(event).await.unwrap();
    }
    nats.kill();
    let away = Instant::now();
    let process = publisher(&world, &nats.url(), &[]).await;
    process.logs(&["no events are published now"]).await;
    until("the end of the duplicate window", async || {
        (away.elapsed() > DUPLICATE_WINDOW).then_some(())
    })
    .await;
    nats.start().await;
    let stream = nats.context().await.get_stream("rerun").await.unwrap();
    is_the_chain(&stream, &engine).await;
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_may_be_longer_than_the_duplicate_window_on_sqlite() {
    an_outage_is_longer_than_the_duplicate_window(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_may_be_longer_than_the_duplicate_window_on_postgres() {
    an_outage_is_longer_than_the_duplicate_window(Store::postgres()).await;
}

/// The server does not need NATS; what happened meanwhile is published when it comes.
#[tokio::test(flavor = "multi_thread")]
async fn nats_may_be_away() {
    let mut nats = Nats::stopped();
    let url: &'static str = nats.url().leak();
    let world = World::with(Store::Sqlite, &[("RERUN_NATS_URL", url)]);
    let server = world.serve(0).await;
    let engine = engine(&world);
    events(&engine, 3).await;
    server
        .process
        .logs(&["no events are published now", url])
        .await;
    let get = async |path: &str| {
        let url = format!("http://{}{path}", server.address);
        reqwest::get(url).await.unwrap().text().await.unwrap()
    };
    let ready = get("/health/ready").await;
    assert!(ready.contains("ready"), "{ready}");
    let lag = until("the lag of NATS", async || {
        let metrics = get("/metrics").await;
        let start = "rerun_event_lag_seconds{sink=\"nats\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(start));
        line.and_then(|lag| lag.parse::<f64>().ok())
            .filter(|lag| *lag > 0.0)
    });
    lag.await;
    nats.start().await;
    let stream = nats.stream().await;
    is_the_chain(&stream, &engine).await;
    server.process.logs(&["events are published again"]).await;
    nats.kill();
    events(&engine, 5).await;
    nats.start().await;
    let stream = nats.context().await.get_stream("rerun").await.unwrap();
    is_the_chain(&stream, &engine).await;
    // The same state is reported once.
    assert!(server.process.lines_with("no events are published now") <= 4);
    assert_eq!(server.process.terminate().await, Some(0));
}

/// Consumers can choose by account and type, and need not parse the payload to do so.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_has_its_subject_and_headers() {
    let world = World::new(Store::Sqlite, Duration::ZERO, 60);
    let engine = engine(&world);
    events(&engine, 2).await;
    let nats = Nats::started().await;
    let settings = [
        ("RERUN_NATS_CREATE_STREAM", "true"),
        ("RERUN_NATS_STREAM", "all"),
        ("RERUN_NATS_SUBJECT_PREFIX", "x.y"),
    ];
    let process = publisher(&world, &nats.url(), &settings).await;
    let context = nats.context().await;
    let stream = until("the stream", async || context.get_stream("all").await.ok()).await;
    let config = &stream.cached_info().config;
    assert_eq!(config.subjects, ["x.y.>"]);
    assert_eq!(config.duplicate_window, Duration::from_mins(2));
    is_the_chain(&stream, &engine).await;
    let event = json!(chain(&engine).await[1]);
    let message = messages(&stream).await.remove(1);
    let action = event["type"].as_str().unwrap();
    assert_eq!(message.subject, format!("x.y.{ACCOUNT}.{action}"));
    let id = event["id"].as_str().unwrap();
    let source = format!("/rerun/accounts/{ACCOUNT}");
    for (name, value) in [
        ("Nats-Msg-Id", id),
        ("Rerun-Sequence", "2"),
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", &source),
        ("ce-type", action),
        ("ce-time", event["timestamp"].as_str().unwrap()),
        ("ce-sequence", "0000000000000000002"),
    ] {
        let found = message
            .headers
            .get(name)
            .map(async_nats::HeaderValue::as_str);
        assert_eq!(found, Some(value), "{name}");
    }
    assert_eq!(process.terminate().await, Some(0));
}

/// Whoever runs NATS makes the stream. Until it is there, the log says what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_stream_is_named() {
    let world = World::new(Store::Sqlite, Duration::ZERO, 60);
    let engine = engine(&world);
    events(&engine, 2).await;
    let nats = Nats::started().await;
    let process = publisher(&world, &nats.url(), &[]).await;
    let said = ["NATS has no stream rerun", "RERUN_NATS_CREATE_STREAM"];
    process.logs(&said).await;
    // One without the subjects is of no use.
    let elsewhere = Config {
        name: "rerun".into(),
        subjects: vec!["elsewhere.>".into()],
        ..Config::default()
    };
    let context = nats.context().await;
    context.create_stream(elsewhere).await.unwrap();
    process
        .logs(&["no stream of NATS takes rerun.events."])
        .await;
    context.delete_stream("rerun").await.unwrap();
    is_the_chain(&nats.stream().await, &engine).await;
    assert_eq!(process.terminate().await, Some(0));
}

/// A wrong password is reported, and neither it nor the right one is shown at any level.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_not_shown() {
    let world = World::new(Store::Sqlite, Duration::ZERO, 60);
    let engine = engine(&world);
    events(&engine, 2).await;
    let mut nats = Nats::stopped();
    nats.arguments = vec!["--user", "ada", "--pass", "s3cret"];
    nats.start().await;
    let address = format!("127.0.0.1:{}", nats.port);
    let settings = [("RERUN_LOG", "trace"), ("RERUN_NATS_CREATE_STREAM", "true")];
    let wrong = publisher(&world, &format!("nats://ada:wr0ng@{address}"), &settings).await;
    wrong
        .logs(&["no events are published now", "uthorization violation"])
        .await;
    assert_eq!(wrong.lines_with("wr0ng"), 0);
    wrong.kill();
    let right = publisher(&world, &format!("nats://ada:s3cret@{address}"), &settings).await;
    let client = ConnectOptions::new()
        .user_and_password("ada".into(), "s3cret".into())
        .connect(nats.url())
        .await
        .unwrap();
    let context = jetstream::new(client);
    let stream = until("the stream", async || {
        context.get_stream("rerun").await.ok()
    })
    .await;
    is_the_chain(&stream, &engine).await;
    assert_eq!(right.lines_with("s3cret"), 0);
    assert_eq!(right.terminate().await, Some(0));
}

/// Two publishers that both believe that the account is theirs add each event once, even when the server
/// has forgotten its id.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_copy_is_refused() {
    let world = World::new(Store::Sqlite, Duration::ZERO, 60);
    let engine = engine(&world);
    events(&engine, 3).await;
    let chain = chain(&engine).await;
    let nats = Nats::started().await;
    let stream = nats.stream().await;
    let (one, other) = (nats.broker(), nats.broker());
    let (_, mut late) = one.take_over(ACCOUNT).await.unwrap();
    let (none, mut now) = other.take_over(ACCOUNT).await.unwrap();
    assert_eq!(none, None);
    now.publish(&chain[0]).await.unwrap();
    now.publish(&chain[1]).await.unwrap();
    // A later message shows when the server has forgotten the ids of these.
    let context = nats.context().await;
    let probe = async || {
        let message = jetstream::message::PublishMessage::build().message_id("probe");
        let sent = context
            .send_publish(format!("{PREFIX}.probe"), message)
            .await;
        sent.unwrap().await.unwrap().duplicate
    };
    assert!(!probe().await);
    until("the end of the duplicate window", async || {
        (!probe().await).then_some(())
    })
    .await;
    for event in &chain[..2] {
        assert_eq!(late.publish(event).await, Err(PublishError::Overtaken));
    }
    let (last, mut again) = one.take_over(ACCOUNT).await.unwrap();
    assert_eq!(last.unwrap().sequence, 2);
    again.publish(&chain[2]).await.unwrap();
    stream
        .purge()
        .filter(format!("{PREFIX}.probe"))
        .await
        .unwrap();
    let info = stream.get_info().await.unwrap();
    assert_eq!(info.state.messages, 3);
}
