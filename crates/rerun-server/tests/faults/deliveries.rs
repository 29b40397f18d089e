//! Events on their way to webhooks, with dispatchers that are killed and receivers that misbehave.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use actix_web::web::{Bytes, Data, Path, post};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use rerun_contract::fixture::{ACCOUNT, caller};
use rerun_core::Actor;
use rerun_core::ids::WebhookId;
use rerun_core::usecases::{Engine, EventQuery, NewWebhook, Settings};
use rerun_core::webhook::{DisabledReason, WebhookProgress};
use rerun_deliver::{AllowedNetworks, TargetRules};
use rerun_server::config::{Database, DatabaseUrl, Webhooks};
use rerun_server::store::{Services, StorePorts, migrate};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::api::Api;
use crate::process::{Process, rerun};
use crate::wait::until;
use crate::world::{Store, World};
use crate::{chance, number, tell};

const SECRET: &str = "what the secrets of webhooks come from";

/// A delivery as a receiver got it.
#[derive(Debug, Clone)]
struct Got {
    receiver: String,
    id: String,
    sequence: i64,
    event: String,
    at: Instant,
    status: u16,
}

/// Receivers, each with a name that says how it responds. They end with the test's process.
struct Receivers {
    got: Arc<watch::Sender<Vec<Got>>>,
    port: u16,
}

async fn receive(
    got: Data<watch::Sender<Vec<Got>>>,
    name: Path<String>,
    request: HttpRequest,
    body: Bytes,
) -> HttpResponse {
    let event: Value = serde_json::from_slice(&body).unwrap();
    let id = request.headers().get("webhook-id").unwrap();
    let id = id.to_str().unwrap().to_owned();
    assert_eq!(event["id"], id.as_str());
    let is_new = || {
        let got = got.borrow();
        let mut own = got.iter().filter(|one| one.receiver == *name);
        own.all(|one| one.id != id)
    };
    let status = match name.as_str() {
        "gone" => 410,
        // Every event is refused once.
        "fussy" if is_new() => 503,
        _ => 200,
    };
    got.send_modify(|all| {
        all.push(Got {
            receiver: name.to_string(),
            id,
            sequence: event["sequence"].as_i64().unwrap(),
            event: event["type"].as_str().unwrap().to_owned(),
            at: Instant::now(),
            status,
        });
    });
    if name.as_str() == "hanging" {
        std::future::pending::<()>().await;
    }
    HttpResponse::build(status.try_into().unwrap()).finish()
}

impl Receivers {
    fn start() -> Self {
        let got: Arc<watch::Sender<Vec<Got>>> = Arc::new(watch::Sender::new(Vec::new()));
        let data = Data::from(Arc::clone(&got));
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(data.clone())
                        .route("/{name}", post().to(receive))
                })
                .workers(1)
                .disable_signals()
                .bind(("127.0.0.1", 0))
                .unwrap();
                tell.send(server.addrs()[0].port()).unwrap();
                server.run().await.unwrap();
            });
        });
        let port = told.recv().unwrap();
        Self { got, port }
    }

    fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    /// What this receiver got, in its order.
    fn got(&self, name: &str) -> Vec<Got> {
        let got = self.got.borrow();
        got.iter()
            .filter(|one| one.receiver == name)
            .cloned()
            .collect()
    }

    /// The numbers of the events that a receiver has accepted.
    fn accepted(&self, name: &str) -> BTreeSet<i64> {
        let got = self.got.borrow();
        let own = got.iter().filter(|one| one.receiver == name);
        let accepted = own.filter(|one| one.status == 200);
        accepted.map(|one| one.sequence).collect()
    }

    /// Waits until a receiver has accepted the events with these numbers. There may be many of them: the
    /// wait ends when no more come.
    async fn has(&self, name: &str, sequences: &BTreeSet<i64>) {
        let mut accepted = self.accepted(name);
        while !sequences.is_subset(&accepted) {
            accepted = until("more events at a receiver", async || {
                let now = self.accepted(name);
                (now.len() > accepted.len()).then_some(now)
            })
            .await;
        }
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
    let webhooks = Webhooks {
        secret: Some(SECRET.into()),
        rules: TargetRules {
            allow_http: true,
            allow_networks: AllowedNetworks::parse("127.0.0.1").unwrap(),
        },
        ..Webhooks::default()
    };
    let services = Services::with_webhooks(&webhooks).unwrap();
    StorePorts::open(&Database::new(url, 4), &services, Settings::default())
        .unwrap()
        .engine
}

async fn dispatcher(world: &World, timeout_seconds: &str) -> Process {
    dispatcher_with(world, timeout_seconds, &[]).await
}

async fn dispatcher_with(
    world: &World,
    timeout_seconds: &str,
    environment: &[(&str, &str)],
) -> Process {
    let folder = tempfile::tempdir().unwrap();
    let mut command = rerun(folder.path(), &["dispatch"]);
    command
        .env("RERUN_DATABASE_URL", world.url())
        .env("RERUN_WEBHOOK_SECRET", SECRET)
        .env("RERUN_WEBHOOK_ALLOW_HTTP", "true")
        .env("RERUN_WEBHOOK_ALLOW_NETS", "127.0.0.1")
        .env("RERUN_WEBHOOK_TIMEOUT_SECONDS", timeout_seconds)
        .env("RERUN_WEBHOOK_CONCURRENCY", "8")
        .envs(environment.iter().copied());
    let mut process = Process::start("dispatcher", command);
    process.says("delivering events").await;
    process
}

async fn webhook(engine: &Engine, url: String, ordered: bool) -> WebhookId {
    let new = NewWebhook {
        url,
        ordered,
        ..NewWebhook::default()
    };
    let created = engine.webhooks.create(&caller(), new, None).await.unwrap();
    created.outcome.webhook.webhook.id
}

async fn found(engine: &Engine, id: WebhookId) -> WebhookProgress {
    engine.webhooks.get(&caller(), id).await.unwrap()
}

/// Makes so many events; returns the number of the newest.
async fn events(engine: &Engine, number: usize) -> i64 {
    for place in 0..number {
        let name = format!("Group {place}");
        engine.groups.create(&caller(), &name, None).await.unwrap();
    }
    head(engine).await
}

async fn head(engine: &Engine) -> i64 {
    let system = Actor::system(ACCOUNT);
    let page = engine.events.list(&system, &EventQuery::default()).await;
    page.unwrap().head_sequence
}

/// The ids of the account's events by their numbers.
async fn ids_of(engine: &Engine) -> BTreeMap<i64, String> {
    let system = Actor::system(ACCOUNT);
    let mut query = EventQuery::default();
    let mut all = BTreeMap::new();
    loop {
        let page = engine.events.list(&system, &query).await.unwrap();
        if page.events.is_empty() {
            return all;
        }
        query.after_sequence = page.next_sequence;
        let events = page.events.iter();
        all.extend(events.map(|event| (event.sequence, event.id.to_string())));
    }
}

/// Ends the leases of a dispatcher that was killed; returns how many it had.
fn end_leases(world: &World) -> usize {
    world.execute(
        "UPDATE webhook_deliveries SET due_at = set_at \
         WHERE lease_id IS NOT NULL AND due_at > set_at",
    )
}

async fn survives_kills(place: Store) {
    let kills = number("RERUN_TEST_KILLS").unwrap_or(4);
    let mut chance = chance();
    let receivers = Receivers::start();
    let world = World::new(place, Duration::ZERO, 60);
    let engine = engine(&world);
    let one = webhook(&engine, receivers.url("one"), false).await;
    let first = head(&engine).await + 1;
    webhook(&engine, receivers.url("ordered"), true).await;
    let begun = Instant::now();
    let mut process = Some(dispatcher(&world, "1").await);
    let (mut at_work, mut held) = (0, 0);
    for kill in 1..=kills {
        let before = receivers.got.borrow().len();
        let more = chance.usize(1..=20);
        let wait = Duration::from_micros(chance.u64(0..5_000));
        let mut got = receivers.got.subscribe();
        let writing = events(&engine, 25);
        let killing = async {
            let some = got.wait_for(|all| all.len() >= before + more);
            // A lease of the dispatcher before may have to end first.
            let _late = tokio::time::timeout(Duration::from_secs(3), some).await;
            // The moment is what is tested.
            tokio::time::sleep(wait).await;
            process.take().unwrap().kill();
            // Nobody waits for the end of a lease, but for that of the last.
            let leases = if kill < kills { end_leases(&world) } else { 0 };
            held += leases;
            at_work += usize::from(leases > 0);
            process = Some(dispatcher(&world, "1").await);
        };
        tokio::join!(writing, killing);
    }
    let last = head(&engine).await;
    receivers.has("one", &(first..=last).collect()).await;
    receivers
        .has("ordered", &(first + 1..=last).collect())
        .await;
    let took = begun.elapsed().as_secs_f64();
    let expected = ids_of(&engine).await;
    let mut seen = BTreeSet::new();
    let mut again = 0;
    for got in receivers.got.borrow().iter() {
        assert_eq!(Some(&got.id), expected.get(&got.sequence), "{got:?}");
        again += usize::from(!seen.insert((got.receiver.clone(), got.sequence)));
    }
    let mut order: Vec<i64> = receivers
        .got("ordered")
        .iter()
        .map(|one| one.sequence)
        .collect();
    assert!(order.is_sorted(), "{order:?}");
    order.dedup();
    tell(&format!(
        "{kills} kills, {at_work} of them with {held} deliveries on their way, {} events to 2 receivers, \
         {again} deliveries again, {took:.1} s",
        expected.len()
    ));
    until("the end of all deliveries", async || {
        let webhook = found(&engine, one).await;
        (webhook.pending == 0 && webhook.delivered_sequence == last).then_some(())
    })
    .await;
    assert_eq!(process.unwrap().terminate().await, Some(0));
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_when_dispatchers_are_killed_on_sqlite() {
    survives_kills(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_when_dispatchers_are_killed_on_postgres() {
    survives_kills(Store::postgres()).await;
}

async fn receivers_misbehave(place: Store) {
    let receivers = Receivers::start();
    let world = World::new(place, Duration::ZERO, 60);
    let engine = engine(&world);
    let hanging = webhook(&engine, receivers.url("hanging"), false).await;
    let gone = webhook(&engine, receivers.url("gone"), false).await;
    webhook(&engine, receivers.url("fussy"), true).await;
    // Hundreds of events wait for the receiver that hangs.
    let last = events(&engine, 300).await;
    webhook(&engine, receivers.url("good"), false).await;
    let process = dispatcher(&world, "60").await;
    until("the receiver that hangs", async || {
        (!receivers.got("hanging").is_empty()).then_some(())
    })
    .await;
    let gone = until("the webhook that is gone", async || {
        let webhook = found(&engine, gone).await.webhook;
        webhook.disabled.is_some().then_some(webhook)
    })
    .await;
    assert_eq!(gone.disabled, Some(DisabledReason::Gone));

    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let (begun, new) = (Instant::now(), events(&engine, 1).await);
        receivers.has("good", &BTreeSet::from([new])).await;
        let got = receivers.got("good");
        let at = got.iter().find(|one| one.sequence == new).unwrap().at;
        slowest = slowest.max(at - begun);
    }
    tell(&format!(
        "a delivery beside one that hangs took {slowest:?} at most"
    ));
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let waits = found(&engine, hanging).await;
    assert!(waits.pending >= 300, "{waits:?}");
    let told = receivers.got("good");
    assert!(
        told.iter().any(|one| one.event == "webhook.disabled"),
        "{told:?}"
    );

    // Each event was refused once and came again at once, before the next.
    receivers.has("fussy", &BTreeSet::from([last])).await;
    let fussy = receivers.got("fussy");
    let order: Vec<i64> = fussy.iter().map(|one| one.sequence).collect();
    assert!(order.is_sorted(), "{order:?}");
    for pair in fussy.chunks_exact(2) {
        let [refused, accepted] = pair else {
            unreachable!()
        };
        assert_eq!((refused.status, accepted.status), (503, 200));
        assert_eq!(refused.id, accepted.id);
    }

    // Two attempts hang when the process is told to end. They are given back.
    assert_eq!(process.terminate().await, Some(0));
    let before = receivers.got("hanging").len();
    let process = dispatcher(&world, "60").await;
    until("attempts that were given back", async || {
        (receivers.got("hanging").len() > before).then_some(())
    })
    .await;
    process.kill();
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_misbehave_disturb_no_others_on_sqlite() {
    receivers_misbehave(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_misbehave_disturb_no_others_on_postgres() {
    receivers_misbehave(Store::postgres()).await;
}

/// Neither what secrets come from nor the secrets are in the log of a server that sends deliveries, however
/// much it logs.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_a_webhook_is_logged() {
    let receivers = Receivers::start();
    let settings = [
        ("RERUN_LOG", "trace"),
        ("RERUN_WEBHOOK_SECRET", SECRET),
        ("RERUN_WEBHOOK_ALLOW_HTTP", "true"),
        ("RERUN_WEBHOOK_ALLOW_NETS", "127.0.0.1"),
    ];
    let world = World::with(Store::Sqlite, &settings);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let made = json!({ "url": receivers.url("one") });
    let made = api.post("webhook/create", made).await;
    let this = json!({ "webhook_id": made["id"] });
    let rotated = api.post("webhook/rotate-secret", this.clone()).await;
    let tested = api.post("webhook/test", this).await;
    assert_eq!(tested["delivered"], true);
    // The webhook, its other secret, and what happens then.
    api.post("customer-group/create", json!({ "name": "new" }))
        .await;
    receivers.has("one", &BTreeSet::from([2, 3])).await;
    let log = &server.process;
    log.logs(&["an attempt ended", "status=200"]).await;
    for secret in [&made, &rotated].map(|shown| shown["secret"].as_str().unwrap()) {
        let secret = secret.strip_prefix("whsec_").unwrap();
        assert_eq!(log.lines_with(secret), 0);
    }
    assert_eq!(log.lines_with("whsec_") + log.lines_with(SECRET), 0);
    assert_eq!(server.process.terminate().await, Some(0));
}

/// A proxy would look names up by itself, and could connect to any address.
#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_is_used() {
    let receivers = Receivers::start();
    let world = World::new(Store::Sqlite, Duration::ZERO, 60);
    let engine = engine(&world);
    webhook(&engine, receivers.url("one"), false).await;
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let variables = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    let environment = variables.map(|name| (name, url.as_str()));
    let process = dispatcher_with(&world, "2", &environment).await;
    let last = events(&engine, 3).await;
    let new = (last - 2..=last).collect();
    let delivered = receivers.has("one", &new);
    let asked = until("the proxy or the events", async || {
        proxy.accept().is_ok().then_some(())
    });
    tokio::select! {
        () = delivered => {}
        () = asked => panic!("the dispatcher asks a proxy"),
    }
    assert_eq!(process.terminate().await, Some(0));
}
