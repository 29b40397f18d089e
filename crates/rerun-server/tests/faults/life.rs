//! How servers start together, and how they end under load.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, RunQueryDsl};
use serde_json::json;

use crate::api::{Api, Reply};
use crate::tell;
use crate::wait::{LIMIT, until};
use crate::world::{Server, Store, World};
use crate::writers::Writers;

/// Somebody who keeps everybody else from writing, until [`Blockade::end`].
pub(crate) struct Blockade(PgConnection);

impl Blockade {
    pub(crate) fn of(world: &World) -> Self {
        let mut connection = PgConnection::establish(&world.url()).unwrap();
        let begin = "BEGIN; LOCK TABLE customer_groups IN SHARE ROW EXCLUSIVE MODE";
        connection.batch_execute(begin).unwrap();
        Self(connection)
    }

    pub(crate) fn end(mut self) {
        self.0.batch_execute("ROLLBACK").unwrap();
    }
}

async fn start_together(store: Store, count: usize) {
    let world = World::with(store, &[]);
    let starting: Vec<_> = (0..count).map(|_| world.start_server(1)).collect();
    let mut servers = Vec::new();
    for process in starting {
        servers.push(Server::of(process).await);
    }
    for server in &servers {
        let api = Api::new(&world, server);
        let ready = api.ready().await;
        assert!(
            matches!(ready, Reply::Answer { status: 200, .. }),
            "{ready:?}"
        );
        api.post("customer-group/create", json!({ "name": "g" }))
            .await;
    }
    let api = Api::new(&world, &servers[0]);
    let groups = api
        .pages("customer-group/list", json!({}), "customer_groups")
        .await;
    assert_eq!(groups.len(), count);
    for server in servers {
        assert_eq!(server.process.terminate().await, Some(0));
    }
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_servers_start_together_on_an_empty_postgres() {
    start_together(Store::postgres(), 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_servers_start_together_on_a_file_that_is_not_there_yet() {
    start_together(Store::Sqlite, 4).await;
}

async fn ends_under_load(store: Store) {
    let world = World::with(store, &[("RERUN_SHUTDOWN_DRAIN_SECONDS", "1")]);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let writers = Writers::start(&api, 4);
    writers.until_acknowledged(40).await;
    server.process.tell_to_end();
    until("a server that is not ready", async || {
        api.ready().await.is_unavailable().then_some(())
    })
    .await;
    // It says that it is about to go, and works on.
    let cut = writers.so_far().broken;
    writers.until_acknowledged(20).await;
    assert_eq!(cut, 0, "a request was cut off before the server ended");
    assert_eq!(server.process.ended().await, Some(0));

    let server = world.serve(0).await;
    api.moved_to(&server);
    writers.until_acknowledged(20).await;
    let written = writers.stop().await;
    tell(&format!(
        "{} writes acknowledged, {} not answered while no server was there",
        written.acknowledged(),
        written.broken
    ));
    written.check(&api, 0).await;
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_under_load_loses_no_acknowledged_write_on_sqlite() {
    ends_under_load(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_under_load_loses_no_acknowledged_write_on_postgres() {
    ends_under_load(Store::postgres()).await;
}

/// A write that the server has and that waits for a lock.
pub(crate) async fn in_flight(api: &Api, url: &str) -> tokio::task::JoinHandle<Reply> {
    let api = api.clone();
    let request = tokio::spawn(async move {
        let body = json!({ "name": "in flight" }).to_string();
        api.send("customer-group/create", "application/json", body)
            .await
    });
    until("a write that waits", async || {
        somebody_waits(url).then_some(())
    })
    .await;
    request
}

#[derive(diesel::QueryableByName)]
struct Waiting {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    waiting: i64,
}

/// Whether somebody waits for a lock.
fn somebody_waits(url: &str) -> bool {
    let mut connection = PgConnection::establish(url).unwrap();
    let query = diesel::sql_query(
        "SELECT count(*) AS waiting FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock'",
    );
    let found: Waiting = query.get_result(&mut connection).unwrap();
    found.waiting > 0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_answered_before_the_end() {
    let world = World::with(Store::postgres(), &[]);
    let mut server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let url = world.url();
    let blockade = Blockade::of(&world);
    let request = in_flight(&api, &url).await;
    server.process.tell_to_end();
    server.process.says("graceful worker shutdown").await;
    assert!(server.process.runs());
    blockade.end();
    match request.await.unwrap() {
        Reply::Answer { status: 200, .. } => {}
        reply @ (Reply::Answer { .. } | Reply::Broken) => panic!("{reply:?}"),
    }
    assert_eq!(server.process.ended().await, Some(0));
    let server = world.serve(0).await;
    api.moved_to(&server);
    let groups = api
        .pages("customer-group/list", json!({}), "customer_groups")
        .await;
    assert_eq!(groups.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once_and_what_was_in_flight_is_not_written() {
    let world = World::with(
        Store::postgres(),
        &[("RERUN_STATEMENT_TIMEOUT_SECONDS", "600")],
    );
    let mut server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let url = world.url();
    let blockade = Blockade::of(&world);
    let request = in_flight(&api, &url).await;
    server.process.tell_to_end();
    // At once: it is the same one.
    server.process.tell_to_end();
    server.process.says("graceful worker shutdown").await;
    assert!(server.process.runs());
    let mut process = server.process;
    until("the end after a second signal", async || {
        process.tell_to_end();
        (!process.runs()).then_some(())
    })
    .await;
    assert_eq!(process.ended().await, Some(1));
    assert!(matches!(request.await.unwrap(), Reply::Broken));
    blockade.end();
    let server = world.serve(0).await;
    api.moved_to(&server);
    let groups = api
        .pages("customer-group/list", json!({}), "customer_groups")
        .await;
    assert_eq!(groups.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_about_to_end_sends_its_clients_away() {
    let world = World::with(Store::Sqlite, &[("RERUN_SHUTDOWN_DRAIN_SECONDS", "60")]);
    let mut server = world.serve(0).await;
    let head = |line: &mut BufReader<TcpStream>| {
        line.get_mut()
            .write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(line.read_line(&mut head).unwrap(), 0, "{head}");
        }
        let mut body = [0; "{\"status\":\"live\"}".len()];
        std::io::Read::read_exact(line, &mut body).unwrap();
        head.to_lowercase()
    };
    let stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut line = BufReader::new(stream);
    assert!(!head(&mut line).contains("connection: close"));
    server.process.tell_to_end();
    server.process.says("ending").await;
    let said = head(&mut line);
    assert!(said.starts_with("http/1.1 200"), "{said}");
    assert!(said.contains("connection: close"), "{said}");
    assert_eq!(line.read_line(&mut String::new()).unwrap(), 0);
    // The drain would last a minute.
    let mut process = server.process;
    until("the end after a second signal", async || {
        process.tell_to_end();
        (!process.runs()).then_some(())
    })
    .await;
    assert_eq!(process.ended().await, Some(1));
}
