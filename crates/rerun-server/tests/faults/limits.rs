//! Clients that send too much, too slowly or not at all, and work that takes too long.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use serde_json::{Value, json};

use crate::api::{Api, Reply};
use crate::life::{Blockade, in_flight};
use crate::tell;
use crate::wait::{LIMIT, until};
use crate::world::{API_CODE, Server, Store, World};

/// Connections of an attack.
const SLOW: usize = 300;

/// A connection on which every byte is the test's own.
struct Line(TcpStream);

impl Line {
    fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(stream)
    }

    fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// The head of a POST with a body of `length` bytes.
    fn post(&mut self, api: &Api, path: &str, media_type: &str, length: usize) {
        let context = json!({ "api_access": true, "api_code": API_CODE });
        let token = api.token();
        self.send(&format!(
            "POST /v1/{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             x-auth-context: {context}\r\nx-ip: 192.0.2.1\r\ncontent-type: {media_type}\r\n\
             content-length: {length}\r\n\r\n"
        ));
    }

    /// Everything that comes until the server has closed the connection.
    fn until_closed(&mut self) -> String {
        let mut all = Vec::new();
        // A reset closes it, too; only silence does not.
        if let Err(error) = self.0.read_to_end(&mut all) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        String::from_utf8(all).unwrap()
    }

    /// The answer's status and JSON, on a connection that the server closes after it.
    fn answer(&mut self) -> (u16, Value) {
        let all = self.until_closed();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }
}

async fn groups(api: &Api) -> Vec<Value> {
    api.pages("customer-group/list", json!({}), "customer_groups")
        .await
}

async fn create(api: &Api) -> Reply {
    let body = json!({ "name": "g" }).to_string();
    api.send("customer-group/create", "application/json", body)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_finish_their_headers_stop_nobody_and_are_sent_away() {
    let settings = [("RERUN_HEADER_TIMEOUT_SECONDS", "2")];
    let world = World::with(Store::Sqlite, &settings);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let mut slow: Vec<Line> = (0..SLOW).map(|_| Line::open(&server)).collect();
    for line in &mut slow {
        line.send("POST /v1/campaign/list HTTP/1.1\r\nhost: x\r\nx-a: ");
    }
    let asked = Instant::now();
    for _ in 0..20 {
        assert!(matches!(
            create(&api).await,
            Reply::Answer { status: 200, .. }
        ));
    }
    tell(&format!(
        "20 writes beside {SLOW} slow clients: {:?}",
        asked.elapsed()
    ));
    for line in &mut slow {
        let said = line.until_closed();
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 408"),
            "{said}"
        );
    }
    assert_eq!(server.process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_have_a_bound() {
    let world = World::with(Store::Sqlite, &[]);
    let server = world.serve(0).await;
    for line_length in [64, 1 << 20] {
        let mut line = Line::open(&server);
        line.send("GET /health/live HTTP/1.1\r\nhost: x\r\n");
        let header = format!("x-h: {}\r\n", "h".repeat(line_length));
        let mut sent = 0;
        // More than is ever taken in; the server hangs up before that.
        while sent < 64 << 20 && line.0.write_all(header.as_bytes()).is_ok() {
            sent += header.len();
        }
        assert!(sent < 64 << 20, "the server took {sent} bytes of headers");
    }
    let api = Api::new(&world, &server);
    assert!(matches!(
        create(&api).await,
        Reply::Answer { status: 200, .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_stalls_is_dropped_and_holds_up_nobody() {
    let world = World::with(Store::Sqlite, &[("RERUN_BODY_TIMEOUT_SECONDS", "2")]);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let group = api
        .post("customer-group/create", json!({ "name": "g" }))
        .await;
    let group = group["id"].as_str().unwrap().to_owned();
    let mut line = Line::open(&server);
    let path = format!("customer-group/import?customer_group_id={group}");
    line.post(&api, &path, "text/csv", 1_000_000);
    line.send("customer_ref,country\nc-1,DE\nc-2,FR\n");
    // While it stalls, others write, and import into the same group.
    assert!(matches!(
        create(&api).await,
        Reply::Answer { status: 200, .. }
    ));
    let imported = api.import(&group, "customer_ref\nc-9\n".to_owned()).await;
    assert_eq!(imported["total"], 1);
    let (status, body) = line.answer();
    assert_eq!((status, &body["code"]), (400, &json!("invalid_request")));
    let said = body["message"].as_str().unwrap();
    assert!(said.contains("nothing came for 2 s"), "{said}");
    let group = api
        .post("customer-group/get", json!({ "customer_group_id": group }))
        .await;
    assert_eq!(group["customer_count"], 1);
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles_in_is_not_waited_for_for_ever() {
    let settings = [
        ("RERUN_REQUEST_TIMEOUT_SECONDS", "1"),
        ("RERUN_IMPORT_TIMEOUT_SECONDS", "1"),
    ];
    let world = World::with(Store::Sqlite, &settings);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let group = api
        .post("customer-group/create", json!({ "name": "g" }))
        .await;
    let import = format!(
        "customer-group/import?customer_group_id={}",
        group["id"].as_str().unwrap()
    );
    for (path, media_type) in [
        ("customer-group/create", "application/json"),
        (import.as_str(), "text/csv"),
    ] {
        let mut line = Line::open(&server);
        line.post(&api, path, media_type, 1_000_000);
        let mut trickle = line.0.try_clone().unwrap();
        let trickling = std::thread::spawn(move || {
            let started = Instant::now();
            // The server hangs up; the pause is the client's slowness.
            while trickle.write_all(b" ").is_ok() && started.elapsed() < LIMIT {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let started = Instant::now();
        let mut said = [0; 12];
        line.0.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"HTTP/1.1 503", "{path}");
        assert!(started.elapsed() < LIMIT / 3, "{:?}", started.elapsed());
        drop(line);
        trickling.join().unwrap();
    }
    assert_eq!(groups(&api).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_taken_back() {
    let settings = [
        ("RERUN_STATEMENT_TIMEOUT_SECONDS", "1"),
        ("RERUN_REQUEST_TIMEOUT_SECONDS", "1"),
    ];
    let world = World::with(Store::postgres(), &settings);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let mut other = PgConnection::establish(&world.url()).unwrap();
    // Waits in the middle of the transaction, when the group has been written.
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
                $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$; \
                CREATE TRIGGER slow AFTER INSERT ON customer_groups \
                FOR EACH ROW EXECUTE FUNCTION slow()";
    other.batch_execute(slow).unwrap();
    let asked = Instant::now();
    let reply = create(&api).await;
    assert!(reply.is_unavailable(), "{reply:?}");
    assert!(asked.elapsed() < LIMIT / 3, "{:?}", asked.elapsed());
    other
        .batch_execute("DROP TRIGGER slow ON customer_groups")
        .unwrap();
    assert_eq!(groups(&api).await.len(), 0);

    let lock = "BEGIN; LOCK TABLE customer_groups IN SHARE ROW EXCLUSIVE MODE";
    other.batch_execute(lock).unwrap();
    let reply = create(&api).await;
    assert!(reply.is_unavailable(), "{reply:?}");
    other.batch_execute("ROLLBACK").unwrap();
    assert!(matches!(
        create(&api).await,
        Reply::Answer { status: 200, .. }
    ));
    assert_eq!(groups(&api).await.len(), 1);
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_used_up_answers_that_it_is() {
    let settings = [
        ("RERUN_DATABASE_POOL_SIZE", "1"),
        ("RERUN_DATABASE_ACQUIRE_TIMEOUT_SECONDS", "1"),
    ];
    let world = World::with(Store::postgres(), &settings);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let blockade = Blockade::of(&world);
    let holding = in_flight(&api, &world.url()).await;
    let asked = Instant::now();
    let second = create(&api).await;
    assert!(second.is_unavailable(), "{second:?}");
    assert!(asked.elapsed() < LIMIT / 10, "{:?}", asked.elapsed());
    blockade.end();
    let first = holding.await.unwrap();
    assert!(
        matches!(first, Reply::Answer { status: 200, .. }),
        "{first:?}"
    );
    assert_eq!(groups(&api).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_sends_too_much_is_told_when_to_come_back() {
    let world = World::with(Store::Sqlite, &[("RERUN_RATE_LIMIT_PER_SECOND", "3")]);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let mut refused = 0;
    for _ in 0..20 {
        match create(&api).await {
            Reply::Answer { status: 200, .. } => {}
            Reply::Answer {
                status: 429,
                retry_after,
                body,
            } => {
                assert_eq!(retry_after.as_deref(), Some("1"));
                assert_eq!(body["code"], "rate_limited");
                refused += 1;
            }
            reply @ (Reply::Answer { .. } | Reply::Broken) => panic!("{reply:?}"),
        }
    }
    assert!(refused > 0);
    assert!(matches!(
        api.ready().await,
        Reply::Answer { status: 200, .. }
    ));
    let listed = until("the end of the wait", async || {
        let list = api.send("customer-group/list", "application/json", "{}".to_owned());
        match list.await {
            Reply::Answer {
                status: 200, body, ..
            } => Some(body),
            Reply::Answer { .. } | Reply::Broken => None,
        }
    });
    let groups = listed.await["customer_groups"].as_array().unwrap().len();
    assert_eq!(groups, 20 - refused);
}

/// Unfinished bodies of an attack, each of 1 MiB that came and 1 MiB that does not.
#[cfg(target_os = "linux")]
const UNFINISHED: usize = 200;

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn unfinished_bodies_take_no_more_than_their_budget() {
    let budget: u64 = 32 << 20;
    let settings = [
        ("RERUN_MAX_INFLIGHT_BODY_BYTES", "33554432"),
        // Longer than the test: only the budget refuses.
        ("RERUN_BODY_TIMEOUT_SECONDS", "600"),
        ("RERUN_REQUEST_TIMEOUT_SECONDS", "600"),
    ];
    let world = World::with(Store::Sqlite, &settings);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let stranger = api.stranger(&world);
    assert!(matches!(
        create(&api).await,
        Reply::Answer { status: 200, .. }
    ));
    let before = server.process.peak_memory();
    let half = vec![b' '; 1 << 20];
    let mut refused = 0;
    let mut open = Vec::new();
    for _ in 0..UNFINISHED {
        let mut line = Line::open(&server);
        line.post(&api, "customer-group/create", "application/json", 2 << 20);
        // The server may have closed the connection by now.
        let _sent = line.0.write_all(&half);
        open.push(line);
    }
    // What finds no room is refused; another account has some.
    until("a refused body", async || {
        for line in &mut open {
            let wait = Some(Duration::from_millis(1));
            line.0.set_read_timeout(wait).unwrap();
            let mut said = [0; 12];
            match line.0.read_exact(&mut said) {
                Ok(()) => {
                    assert_eq!(&said, b"HTTP/1.1 503");
                    refused += 1;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => refused += 1,
                Err(_silent) => {}
            }
        }
        (refused > 0).then_some(())
    })
    .await;
    assert!(matches!(
        create(&stranger).await,
        Reply::Answer { status: 200, .. }
    ));
    let grown = server.process.peak_memory() - before;
    tell(&format!(
        "{refused} of {UNFINISHED} bodies refused, {} MiB more memory",
        grown >> 20
    ));
    // Each connection has buffers besides; without the budget it would hold 1 MiB.
    let buffers = u64::try_from(UNFINISHED).unwrap() * (384 << 10);
    assert!(grown < budget + buffers, "{} MiB", grown >> 20);
    drop(open);
    until("room again", async || {
        matches!(create(&api).await, Reply::Answer { status: 200, .. }).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dripping_imports_leave_places_for_others() {
    let world = World::with(Store::Sqlite, &[("RERUN_BODY_TIMEOUT_SECONDS", "600")]);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let stranger = api.stranger(&world);
    let import = async |api: &Api| {
        let group = api
            .post("customer-group/create", json!({ "name": "g" }))
            .await;
        let id = group["id"].as_str().unwrap();
        format!("customer-group/import?customer_group_id={id}")
    };
    let path = import(&api).await;
    let others = import(&stranger).await;
    let csv = || "customer_ref\na\n".to_owned();
    let drip = || {
        let mut line = Line::open(&server);
        line.post(&api, &path, "text/csv", 1_000_000);
        // The server may have closed the connection by now.
        let _sent = line.0.write_all(b"customer_ref\n");
        line
    };
    let mut dripping: Vec<Line> = (0..40).map(|_| drip()).collect();
    until("no place", async || {
        let reply = api.send(&path, "text/csv", csv()).await;
        if reply.is_unavailable() {
            return Some(());
        }
        // While it had a place, one of the dripping imports may have been refused.
        dripping.push(drip());
        None
    })
    .await;
    let reply = stranger.send(&others, "text/csv", csv()).await;
    assert!(
        matches!(reply, Reply::Answer { status: 200, .. }),
        "{reply:?}"
    );
    // What is not an import goes on.
    assert!(matches!(
        create(&api).await,
        Reply::Answer { status: 200, .. }
    ));
    drop(dripping);
    until("a place again", async || {
        let reply = api.send(&path, "text/csv", csv()).await;
        matches!(reply, Reply::Answer { status: 200, .. }).then_some(())
    })
    .await;
}
