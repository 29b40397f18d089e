use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::body::to_bytes;
use actix_web::rt::System;
use actix_web::test::{self, TestRequest};
use actix_web::web::Data;
use actix_web::{App, http::StatusCode};
use rerun_contract::Fixture;
use rerun_contract::Snapshot;
use rerun_contract::fixture::ACCOUNT;
use rerun_contract::memory::MemoryStore;
use rerun_core::generation::GenerationError;
use rerun_core::ports::{Clock, IdGenerator, MessageGenerator, TemplateChecker};
use rerun_core::usecases::{Engine, Settings};
use rerun_generate::TemplateGenerator;
use rerun_http::{AppState, Intake, Limits, RateLimit, Readiness};
use rerun_metrics::Metrics;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::guard::{GOOD, GUARD};

/// Lines after these are left out: a short story that breaks a promise is worth more than a long.
const MOST_LINES: usize = 16;
/// Small, so that it is reached.
const MAX_BODY_BYTES: u64 = 1_000;

struct World {
    fixture: Fixture<MemoryStore>,
    templates: TemplateGenerator,
    state: Data<AppState>,
}

impl World {
    fn new() -> Self {
        let mut fixture = Fixture::new(MemoryStore::new());
        let clock: Arc<dyn Clock> = fixture.clock.clone();
        let ids: Arc<dyn IdGenerator> = fixture.ids.clone();
        let checker: Arc<dyn TemplateChecker> = Arc::new(TemplateGenerator::default());
        let settings = Settings::default();
        fixture.engine = Engine::builder_over(fixture.store.clone())
            .clock(clock.clone())
            .ids(ids.clone())
            .templates(checker)
            .settings(settings)
            .build();
        let state = Data::new(AppState {
            engine: fixture.engine.clone(),
            health: fixture.store.clone(),
            authenticator: Arc::new(GUARD.clone()),
            ids,
            limits: Limits {
                max_body_bytes: MAX_BODY_BYTES,
                max_import_bytes: MAX_BODY_BYTES,
                ..Limits::default()
            },
            intake: Intake::default(),
            rate_limit: RateLimit::OFF,
            metrics: Metrics::default(),
            traces: None,
            wake: Arc::new(|| ()),
            waiters: rerun_http::Waiters::default(),
            readiness: Readiness::default(),
        });
        Self {
            fixture,
            templates: TemplateGenerator::default(),
            state,
        }
    }

    /// Generates all that is due with the real generator: a template that was taken can be filled.
    async fn generate(&self) {
        let generation = &self.fixture.engine.generation;
        loop {
            let leased = self.fixture.lease(100).await;
            if leased.tasks.is_empty() {
                return;
            }
            let mut results = Vec::with_capacity(leased.tasks.len());
            for task in &leased.tasks {
                let filled = self.templates.fill(task);
                filled.expect("a template that was taken is filled");
                let made = self.templates.generate(task).await;
                results.push(generation.result_of(task, made));
            }
            generation.settle(leased.lease, results).await.unwrap();
        }
    }

    async fn snapshot(&self) -> Snapshot {
        self.fixture.check().await;
        self.fixture.snapshot(ACCOUNT).await
    }
}

/// A body in which `$7` stands for the seventh id that was made.
fn with_ids(body: &str) -> String {
    let mut parts = body.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let ends = part.find(|c: char| !c.is_ascii_digit());
        let (number, rest) = part.split_at(ends.unwrap_or(part.len()));
        if let Ok(number) = number.parse::<u16>() {
            let made = 0x0195_5000_0000_7000_8000_0000_0000_0000 + u128::from(number);
            text += &Uuid::from_u128(made).to_string();
        } else {
            text.push('$');
            text += number;
        }
        text += rest;
    }
    text
}

struct Answer {
    status: StatusCode,
    text: String,
}

/// A refusal has the form that all have.
fn check_refusal(answer: &Answer, line: &str) {
    let Answer { status, text } = answer;
    let body: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{line}: {text}"));
    assert_eq!(body["status"], status.as_u16(), "{line}");
    for name in ["code", "message", "request_id"] {
        assert!(body[name].is_string(), "{line}: {name} in {text}");
    }
    assert_eq!(
        body["code"] == "missing_required_fields",
        body["fields"].is_array(),
        "{line}: {text}"
    );
}

fn check_answer(answer: &Answer, line: &str, before: &Snapshot, after: &Snapshot) {
    let Answer { status, text } = answer;
    assert!(!status.is_server_error(), "{line}: {status} {text}");
    if !status.is_success() {
        check_refusal(answer, line);
        before.assert_same(after, line);
    } else if !line.starts_with("campaign/messages/export")
        && !line.starts_with("campaign/recipients/export")
    {
        let body: Result<Value, _> = serde_json::from_str(text);
        assert!(body.is_ok_and(|body| body.is_object()), "{line}: {text}");
    }
    // A change is one entry of the audit log, and without an entry nothing has changed.
    match after.entries.len() - before.entries.len() {
        0 => before.assert_same(after, line),
        entries => assert_eq!(entries, 1, "{line}"),
    }
}

async fn story(lines: impl Iterator<Item = &str>) {
    let world = World::new();
    let app = App::new().configure(rerun_http::configure(world.state.clone()));
    let app = test::init_service(app).await;
    let mut before = world.snapshot().await;
    for line in lines {
        if line == "generate" {
            world.generate().await;
            before = world.snapshot().await;
            continue;
        }
        if line == "fail" {
            let leased = world.fixture.lease(1).await;
            let failure = |_: &_| Err(GenerationError::new("it was to fail"));
            world.fixture.settle(&leased, failure).await;
            world.fixture.seconds_later(60);
            before = world.snapshot().await;
            continue;
        }
        let (path, body) = line.split_once(' ').unwrap_or((line, ""));
        let import = path == "customer-group/import";
        let mut body = with_ids(body);
        let mut uri = format!("/v1/{path}");
        if import {
            let (group, file) = body.split_once(' ').unwrap_or((&body, ""));
            let visible = group.bytes().all(|byte| byte.is_ascii_graphic());
            if visible && !group.contains(['#', '<', '>', '"', '\\', '^', '`', '{', '|', '}']) {
                uri = format!("{uri}?customer_group_id={group}");
            }
            body = file.replace('|', "\n");
        }
        let mut request = TestRequest::post();
        let known = rerun_wire::ENDPOINTS
            .iter()
            .any(|known| known.path.strip_prefix("/v1/") == Some(path));
        if !known {
            continue;
        }
        // Without an id of its own a request would take one of those that are counted.
        request = request.uri(&uri).set_payload(body.clone());
        request = request.insert_header(("x-request-id", "fuzz"));
        for (name, value) in &*GOOD {
            request = request.insert_header((*name, value.clone()));
        }
        if import {
            request = request.insert_header(("content-type", "text/csv"));
        }
        let answer = test::call_service(&app, request.to_request()).await;
        let status = answer.status();
        let bytes = to_bytes(answer.into_body()).await;
        let bytes = bytes.unwrap_or_else(|error| panic!("{line}: {error}"));
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let answer = Answer { status, text };
        let after = world.snapshot().await;
        check_answer(&answer, line, &before, &after);
        if !import {
            let object: Result<BTreeMap<String, Box<RawValue>>, _> = serde_json::from_str(&body);
            assert!(
                object.is_ok() || answer.status.is_client_error(),
                "{line}: taken though it is no object"
            );
        }
        before = after;
    }
}

/// No request makes the server fail, and none that is refused changes anything.
///
/// The input is a story, a line for each request: the path after `/v1/`, a space, and the body,
/// in which `$7` stands for the seventh id that was made. For an import the group's id stands
/// before the body, and bars for its line ends. The line `generate` has all messages generated
/// that wait for it, and `fail` has an attempt at one fail.
pub fn requests(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    thread_local! {
        static SYSTEM: actix_web::rt::SystemRunner = System::new();
    }
    SYSTEM.with(|system| system.block_on(story(text.lines().take(MOST_LINES))));
}
