//! `/metrics`, and what is said about it elsewhere.

use std::collections::BTreeSet;
use std::time::Duration;

use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Api, Exposition, Headers, SPRING, SUMMER, Server, Store, on_both_stores};

on_both_stores!(
    metrics_need_no_headers_and_are_well_formed,
    requests_are_counted_by_route_method_and_status,
    reruns_and_generation_are_counted,
    firings_of_schedules_are_counted,
    the_queue_is_measured,
    connections_are_counted,
    labels_stay_few_whatever_clients_send,
    a_scrape_outlives_the_database,
    the_documentation_lists_what_there_is,
    dashboard_and_alerts_ask_for_what_there_is,
);

const INITIATE: &str = "/v1/campaign/rerun/initiate";

async fn scrape(api: &Api) -> Exposition {
    let answer = api.get("/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    Exposition::read(&answer.text)
}

async fn metrics_need_no_headers_and_are_well_formed(server: &Server) {
    let api = server.account();
    let answer = api.get("/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let metrics = Exposition::read(&answer.text);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert!((metrics.value("rerun_build_info", &version) - 1.0).abs() < f64::EPSILON);
    assert!(metrics.value("process_resident_memory_bytes", &[]) > 1e6);
    assert!(metrics.value("process_start_time_seconds", &[]) > 1.7e9);
    assert!(metrics.value("process_open_fds", &[]) > 3.0);
    let head = api
        .send(Method::HEAD, "/metrics", &Headers(Vec::new()), "")
        .await;
    assert_eq!((head.status, &*head.text), (200, ""));
}

#[expect(clippy::float_cmp, reason = "counts are whole numbers")]
async fn requests_are_counted_by_route_method_and_status(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    api.draft(&group).await;
    api.post("campaign/list", json!({ "limit": "x" })).await;
    let bare = Headers(Vec::new());
    api.send(Method::POST, "/v1/campaign/list?a=b", &bare, "{}")
        .await;
    api.send(Method::DELETE, "/v1/campaign/list", &bare, "")
        .await;
    let metrics = scrape(&api).await;
    let count = |route, method, status| {
        let labels = [("route", route), ("method", method), ("status", status)];
        metrics.value("rerun_http_requests_total", &labels)
    };
    assert_eq!(count("/v1/campaign/create", "POST", "200"), 1.0);
    assert_eq!(count("/v1/campaign/list", "POST", "400"), 1.0);
    assert_eq!(count("/v1/campaign/list", "POST", "403"), 1.0);
    assert_eq!(count("/v1/campaign/list", "DELETE", "405"), 1.0);
    let of_list = [("route", "/v1/campaign/list"), ("method", "POST")];
    let name = "rerun_http_request_duration_seconds";
    assert_eq!(metrics.value(&format!("{name}_count"), &of_list), 2.0);
    assert!(metrics.value(&format!("{name}_sum"), &of_list) > 0.0);
    assert_eq!(metrics.value("rerun_http_requests_in_flight", &[]), 1.0);
    assert_eq!(count("/metrics", "GET", "200"), 0.0, "not answered yet");
    let again = scrape(&api).await;
    let labels = [("route", "/metrics"), ("method", "GET"), ("status", "200")];
    assert_eq!(again.value("rerun_http_requests_total", &labels), 1.0);
}

#[expect(clippy::float_cmp, reason = "counts are whole numbers")]
async fn reruns_and_generation_are_counted(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let group = api.group("Summer", SUMMER).await;
    let body = json!({ "campaign_id": campaign, "new_customer_group_id": group });
    for _ in 0..2 {
        api.keyed("key", "campaign/rerun/initiate", body.clone())
            .await
            .ok();
    }
    assert_eq!(api.initiate(&campaign, &group).await.status, 400);
    assert_eq!(api.initiate("nobody", &group).await.status, 404);
    server.fail_for(&["ES"]);
    assert_eq!(server.generate(&api, &campaign).await, "Generation failed");
    let metrics = scrape(&api).await;
    for (result, number) in [
        ("initiated", 1.0),
        ("replayed", 1.0),
        ("campaign_not_published", 1.0),
        ("campaign_not_found", 1.0),
    ] {
        let labels = [("result", result)];
        assert_eq!(
            metrics.value("rerun_reruns_total", &labels),
            number,
            "{result}"
        );
    }
    for outcome in ["matched", "new"] {
        let labels = [("outcome", outcome)];
        let name = "rerun_rerun_segments_total";
        assert_eq!(metrics.value(name, &labels), 2.0, "{outcome}");
    }
    assert_eq!(metrics.value("rerun_reuse_messages_total", &[]), 2.0);
    assert_eq!(metrics.value("rerun_reuse_customers_total", &[]), 2.0);
    for kind in ["prompt", "completion"] {
        let labels = [("kind", kind)];
        assert_eq!(metrics.value("rerun_reuse_tokens_total", &labels), 0.0);
    }
    // Three of the launch, and one of the two that were new; the other was tried twice.
    for (outcome, number) in [
        ("stored", 4.0),
        ("failed_attempt", 1.0),
        ("given_up", 1.0),
        ("lease_lost", 0.0),
    ] {
        let labels = [("outcome", outcome)];
        let name = "rerun_generation_results_total";
        assert_eq!(metrics.value(name, &labels), number, "{outcome}");
    }
    let calls = "rerun_generation_call_duration_seconds_count";
    assert_eq!(metrics.value(calls, &[("result", "ok")]), 4.0);
    assert_eq!(metrics.value(calls, &[("result", "error")]), 2.0);
    assert_eq!(metrics.value("rerun_generation_calls_in_flight", &[]), 0.0);
    let labels = [("route", INITIATE), ("method", "POST"), ("status", "200")];
    assert_eq!(metrics.value("rerun_http_requests_total", &labels), 2.0);
}

#[expect(clippy::float_cmp, reason = "counts are whole numbers")]
async fn firings_of_schedules_are_counted(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let id = api.schedule(&campaign, json!({ "when": "always" })).await;
    let this = json!({ "schedule_id": id });
    for _ in 0..2 {
        api.keyed("key", "schedule/trigger", this.clone())
            .await
            .ok();
    }
    // Three times pass; the last of them is made up for.
    server.clock.advance(Duration::from_hours(3 * 24));
    assert_eq!(server.fire().await, 1);
    let metrics = scrape(&api).await;
    for (outcome, number) in [
        ("started", 1.0),
        ("skipped_overlap", 1.0),
        ("missed", 2.0),
        ("refused", 0.0),
    ] {
        let labels = [("outcome", outcome)];
        let name = "rerun_schedule_firings_total";
        assert_eq!(metrics.value(name, &labels), number, "{outcome}");
    }
    let lateness = "rerun_schedule_lateness_seconds_count";
    assert_eq!(metrics.value(lateness, &[]), 1.0, "a trigger is never late");
    let initiated = [("result", "initiated")];
    assert_eq!(metrics.value("rerun_reruns_total", &initiated), 1.0);
    let reused = metrics.value("rerun_reuse_messages_total", &[]);
    assert_eq!(reused, 3.0, "as when a person starts it");
}

#[expect(clippy::float_cmp, reason = "counts are whole numbers")]
async fn the_queue_is_measured(server: &Server) {
    let (one, other) = (server.account(), server.account());
    one.launched().await;
    other.launched().await;
    server.clock.advance(Duration::from_secs(90));
    let metrics = scrape(&one).await;
    assert_eq!(metrics.value("rerun_database_up", &[]), 1.0);
    assert_eq!(metrics.value("rerun_generation_queue_messages", &[]), 6.0);
    let oldest = metrics.value("rerun_generation_queue_oldest_due_seconds", &[]);
    assert!((90.0..150.0).contains(&oldest), "{oldest}");
}

#[expect(clippy::float_cmp, reason = "counts are whole numbers")]
async fn connections_are_counted(server: &Server) {
    let api = server.account();
    let pool = |name: &'static str| [("pool", name)];
    let pools: &[_] = match server.store() {
        Store::Sqlite => &[("read", 8.0), ("write", 1.0), ("import", 4.0)],
        Store::Postgres => &[("all", 8.0), ("import", 4.0)],
    };
    let before = scrape(&api).await;
    api.group("Spring", SPRING).await;
    api.ok("campaign/list", json!({})).await;
    let after = scrape(&api).await;
    for (name, size) in pools {
        let value = |metrics: &Exposition, metric| metrics.value(metric, &pool(name));
        assert_eq!(value(&after, "rerun_database_connections_max"), *size);
        assert_eq!(value(&after, "rerun_database_jobs_waiting"), 0.0);
        assert_eq!(value(&after, "rerun_database_wait_timeouts_total"), 0.0);
        let jobs = "rerun_database_wait_seconds_count";
        assert!(value(&after, jobs) > value(&before, jobs), "{name}");
        let state = |state| {
            let labels = [("pool", *name), ("state", state)];
            after.value("rerun_database_connections", &labels)
        };
        assert_eq!(state("in_use"), 0.0, "{name}");
        assert!((1.0..=*size).contains(&state("idle")), "{name}");
    }
}

async fn labels_stay_few_whatever_clients_send(server: &Server) {
    let known = server.account();
    known.ok("campaign/list", json!({})).await;
    let before = scrape(&known).await.series();
    let mut accounts = Vec::new();
    for number in 0..60 {
        let api = server.account();
        let word = format!("{:x}", fastrand::u64(..));
        let method = match number % 4 {
            0 => Method::GET,
            1 => Method::POST,
            2 => Method::PUT,
            _ => Method::from_bytes(format!("M{word}").as_bytes()).unwrap(),
        };
        for path in [
            format!("/{word}"),
            format!("/v1/campaign/{word}"),
            format!("/v1/campaign/get/{word}?{word}={word}"),
            format!("/metrics/{word}"),
            format!("/v1/campaign/list?{word}"),
        ] {
            api.send(method.clone(), &path, &api.headers(), "{}").await;
        }
        api.ok("campaign/list", json!({})).await;
        accounts.push(api.account);
    }
    let text = known.get("/metrics").await.text;
    for account in accounts {
        assert!(!text.contains(&account), "an account is told apart");
    }
    let metrics = Exposition::read(&text);
    let name = "rerun_http_requests_total";
    let paths: BTreeSet<&str> = rerun_wire::ENDPOINTS.iter().map(|e| e.path).collect();
    for route in metrics.values_of(name, "route") {
        assert!(route == "none" || paths.contains(route.as_str()), "{route}");
    }
    let methods = metrics.values_of(name, "method");
    let methods: Vec<&str> = methods.iter().map(String::as_str).collect();
    assert_eq!(methods, ["GET", "POST", "PUT", "other"]);
    // Two routes, four methods, a few statuses, and the buckets of a histogram for each route
    // and method: hundreds at most, however many requests there were.
    let more = metrics.series() - before;
    assert!(more < 200, "{more} new series");
    let calls = metrics.value(
        name,
        &[("route", "none"), ("method", "other"), ("status", "404")],
    );
    assert!(calls > 50.0, "{calls}");
}

#[expect(clippy::float_cmp, reason = "counts are whole numbers")]
async fn a_scrape_outlives_the_database(server: &Server) {
    let api = server.account();
    let outage = match server.store() {
        Store::Sqlite => {
            let gone = "ALTER TABLE generation_tasks RENAME TO gone";
            server.database.execute(gone);
            None
        }
        Store::Postgres => Some(server.database.outage()),
    };
    let metrics = scrape(&api).await;
    assert_eq!(metrics.value("rerun_database_up", &[]), 0.0);
    assert!(!metrics.0.contains_key("rerun_generation_queue_messages"));
    assert!(metrics.0.contains_key("rerun_http_requests_total"));
    if let Some(outage) = outage {
        outage.end();
    }
}

/// The table of metrics: name, type, labels.
async fn the_documentation_lists_what_there_is(server: &Server) {
    let text = include_str!("../../../../docs/observability.md");
    let row = Regex::new(r"(?m)^\| `([a-z_]+)` \| (counter|gauge|histogram) \|([^|]*)\|").unwrap();
    let label = Regex::new("`([a-z_]+)`").unwrap();
    let mut listed = BTreeSet::new();
    for row in row.captures_iter(text) {
        let labels: BTreeSet<_> = label
            .captures_iter(&row[3])
            .map(|c| c[1].to_owned())
            .collect();
        listed.insert((row[1].to_owned(), row[2].to_owned(), labels));
    }
    let metrics = scrape(&server.account()).await;
    let there = metrics.0.iter().map(|(name, family)| {
        let labels = family.labels().into_iter().map(str::to_owned).collect();
        (name.clone(), family.kind.clone(), labels)
    });
    assert_eq!(listed, there.collect());
}

fn names_in(query: &str) -> Vec<String> {
    let name = Regex::new(r"\b(?:rerun|process)_[a-z_]+\b").unwrap();
    name.find_iter(query)
        .map(|name| name.as_str().to_owned())
        .collect()
}

fn expressions(of: &Value, all: &mut Vec<String>) {
    match of {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let (Value::String(query), "expr") = (value, name.as_str()) {
                    all.push(query.clone());
                } else {
                    expressions(value, all);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, all)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

async fn dashboard_and_alerts_ask_for_what_there_is(server: &Server) {
    let metrics = scrape(&server.account()).await;
    let dashboard = include_str!("../../../../docs/grafana/rerun.json");
    let mut queries = Vec::new();
    expressions(&serde_json::from_str(dashboard).unwrap(), &mut queries);
    let mut shown = BTreeSet::new();
    for name in queries.iter().flat_map(|query| names_in(query)) {
        let family = metrics.family_of(&name);
        shown.insert(family.unwrap_or_else(|| panic!("{name}: not there")));
    }
    let own = metrics.0.keys().filter(|name| name.starts_with("rerun_"));
    for name in own {
        assert!(shown.contains(name.as_str()), "{name} is not shown");
    }
    let alerts = include_str!("../../../../docs/grafana/alerts.yml");
    let asked: Vec<String> = alerts
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(names_in)
        .collect();
    assert!(asked.len() > 5, "{asked:?}");
    for name in asked {
        assert!(metrics.family_of(&name).is_some(), "{name}: not there");
    }
}
