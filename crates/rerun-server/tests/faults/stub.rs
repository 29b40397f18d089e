//! A language model that answers after a moment with what it was asked about, and remembers every
//! call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use actix_web::web::{Data, Json, Path, post};
use actix_web::{App, HttpServer};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::wait::LIMIT;

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The process that made it.
    pub(crate) caller: String,
    /// The `no` of the segment that it was about.
    pub(crate) segment: String,
}

struct State {
    latency: Duration,
    calls: watch::Sender<Vec<Call>>,
    held: watch::Sender<bool>,
}

/// It ends with the test's process.
pub(crate) struct Stub {
    state: Arc<State>,
    port: u16,
}

impl Stub {
    pub(crate) fn start(latency: Duration) -> Self {
        let state = Arc::new(State {
            latency,
            calls: watch::Sender::new(Vec::new()),
            held: watch::Sender::new(false),
        });
        let data = Data::from(Arc::clone(&state));
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let path = "/{caller}/v1/chat/completions";
                let server = HttpServer::new(move || {
                    let route = post().to(complete);
                    App::new().app_data(data.clone()).route(path, route)
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
        Self { state, port }
    }

    /// Where this process is to call it.
    pub(crate) fn base_url(&self, caller: &str) -> String {
        format!("http://127.0.0.1:{}/{caller}/v1", self.port)
    }

    /// Every call since it last forgot them, in their order.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state.calls.borrow().clone()
    }

    pub(crate) fn forget(&self) {
        self.state.calls.send_replace(Vec::new());
    }

    /// Leaves calls without an answer until it is released.
    pub(crate) fn hold(&self) {
        self.state.held.send_replace(true);
    }

    pub(crate) fn release(&self) {
        self.state.held.send_replace(false);
    }

    /// Waits for calls.
    pub(crate) async fn until(&self, what: &str, seen: impl FnMut(&Vec<Call>) -> bool) {
        let mut calls = self.state.calls.subscribe();
        let waited = tokio::time::timeout(LIMIT, calls.wait_for(seen)).await;
        assert!(waited.is_ok(), "waited in vain for {what}");
    }
}

async fn complete(state: Data<State>, caller: Path<String>, request: Json<Value>) -> Json<Value> {
    let document = request["messages"][1]["content"].as_str().unwrap();
    let document: Value = serde_json::from_str(document).unwrap();
    let segment = &document["segment"];
    let call = Call {
        caller: caller.into_inner(),
        segment: segment["no"].as_str().unwrap().to_owned(),
    };
    state.calls.send_modify(|calls| calls.push(call));
    let mut held = state.held.subscribe();
    held.wait_for(|held| !held).await.unwrap();
    tokio::time::sleep(state.latency).await;
    let content = content(segment).to_string();
    Json(json!({
        "choices": [{ "message": { "role": "assistant", "content": content }, "finish_reason": "stop" }],
    }))
}

/// What it writes for a segment with these values.
pub(crate) fn content(segment: &Value) -> Value {
    let value = |name: &str| segment[name].as_str().unwrap_or("nobody").to_owned();
    let (no, city) = (value("no"), value("city"));
    json!({ "subject": format!("For {no}"), "body": format!("{city}: {no}") })
}

/// How often each segment was called for.
pub(crate) fn by_segment(calls: &[Call]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call.segment.as_str()).or_default() += 1;
    }
    counts
}

/// The segments that were called for more than once.
pub(crate) fn repeated(calls: &[Call]) -> BTreeSet<&str> {
    let counts = by_segment(calls).into_iter();
    counts
        .filter(|(_, calls)| *calls > 1)
        .map(|(segment, _)| segment)
        .collect()
}
