//! Traces, sent to a collector on this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::{Value, json};

use super::{Client, Running, folder, rerun, serve_with, with_secrets};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

struct Batch {
    path: String,
    content_type: String,
    request: ExportTraceServiceRequest,
}

/// Takes batches until the test ends.
fn collector() -> (SocketAddr, Receiver<Batch>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, batches) = channel();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut stream = BufReader::new(connection.unwrap());
                while let Some(batch) = batch(&mut stream) {
                    let _test_has_ended = sender.send(batch);
                    let ok = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\
                              content-length: 0\r\n\r\n";
                    stream.get_mut().write_all(ok.as_bytes()).unwrap();
                }
            });
        }
    });
    (address, batches)
}

fn batch(stream: &mut BufReader<TcpStream>) -> Option<Batch> {
    let mut line = String::new();
    if stream.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1).unwrap().to_owned();
    let (mut length, mut content_type) = (0, String::new());
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim().split_once(": ") else {
            break;
        };
        match &*name.to_lowercase() {
            "content-length" => length = value.parse().unwrap(),
            "content-type" => value.clone_into(&mut content_type),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Some(Batch {
        path,
        content_type,
        request: ExportTraceServiceRequest::decode(&*body).unwrap(),
    })
}

fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|pair| pair.key == name)?;
    let value = found.value.as_ref()?.value.as_ref()?;
    if let AnyValue::StringValue(text) = value {
        Some(text.clone())
    } else if let AnyValue::IntValue(number) = value {
        Some(number.to_string())
    } else {
        None
    }
}

fn spans(batches: &[Batch]) -> Vec<&Span> {
    let resources = batches.iter().flat_map(|b| &b.request.resource_spans);
    let scopes = resources.flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).collect()
}

/// A campaign with one message to generate; answers its id.
async fn launched(client: &Client) -> Value {
    let group = client.group("g", "customer_ref,country\n1,DE\n").await;
    let campaign = json!({
        "name": "c",
        "customer_group_id": group,
        "segment_by": ["country"],
        "template": { "subject": "s", "body": "b" },
    });
    let campaign = client.post("campaign/create", campaign).await["id"].clone();
    let this = json!({ "campaign_id": campaign });
    client.post("campaign/launch", this).await;
    campaign
}

#[cfg(unix)]
#[tokio::test]
async fn a_request_is_traced_as_part_of_its_callers_trace() {
    let folder = folder();
    let (collector, batches) = collector();
    let endpoint = format!("http://{collector}");
    let settings = [
        ("RERUN_OTLP_ENDPOINT", endpoint.as_str()),
        ("RERUN_OTLP_SERVICE_NAME", "campaigns"),
    ];
    let (server, address) = serve_with(folder.path(), &settings);
    let client = Client::new(folder.path(), &address);
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let list = client.request("campaign/list?secret=hunter2", "application/json");
    let list = list.header("traceparent", traceparent).body("{}");
    assert_eq!(list.send().await.unwrap().status(), 200);
    let ready = format!("http://{address}/health/ready");
    assert_eq!(reqwest::get(ready).await.unwrap().status(), 200);
    let campaign = launched(&client).await;
    let this = json!({ "campaign_id": campaign });
    while client.post("campaign/get", this.clone()).await["status"] == "Processing" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What has not been sent by now is sent at the end.
    assert_eq!(server.terminate(), Some(0));

    let batches: Vec<Batch> = batches.try_iter().collect();
    assert!(!batches.is_empty());
    for batch in &batches {
        assert_eq!(batch.path, "/v1/traces");
        assert_eq!(batch.content_type, "application/x-protobuf");
        for resource in &batch.request.resource_spans {
            let about = &resource.resource.as_ref().unwrap().attributes;
            let name = attribute(about, "service.name");
            assert_eq!(name.as_deref(), Some("campaigns"));
        }
    }
    let spans = spans(&batches);
    let named = |name: &str| {
        let found: Vec<&Span> = spans.iter().copied().filter(|s| s.name == name).collect();
        found
    };

    let [list] = named("POST /v1/campaign/list")[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(hex::encode(&list.trace_id), TRACE);
    assert_eq!(hex::encode(&list.parent_span_id), PARENT);
    assert_eq!(list.kind(), SpanKind::Server);
    let said = |name| attribute(&list.attributes, name);
    assert_eq!(said("http.response.status_code").as_deref(), Some("200"));
    assert!(said("account_id").is_some() && said("request_id").is_some());
    let within = |span: &Span| spans.iter().any(|s| s.parent_span_id == span.span_id);
    assert!(within(list), "the database is a part of it");

    let [launch] = named("POST /v1/campaign/launch")[..] else {
        panic!("{spans:?}")
    };
    assert!(launch.parent_span_id.is_empty(), "a trace of its own");
    let id = campaign.as_str().map(str::to_owned);
    assert_eq!(attribute(&launch.attributes, "campaign_id"), id);
    let [generate] = named("generate")[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(attribute(&generate.attributes, "campaign_id"), id);
    let [settle] = named("settle")[..] else {
        panic!("{spans:?}")
    };
    assert!(within(settle));
    for span in &spans {
        assert_ne!(span.name, "probe");
        let alone = span.parent_span_id.is_empty();
        assert!(!(alone && span.name == "database"), "what is it part of?");
        assert!(!format!("{span:?}").contains("hunter2"));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_collector_that_is_away_or_hangs_holds_nobody_up() {
    // Takes connections, answers nothing.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let away = gone.local_addr().unwrap();
    drop(gone);
    for collector in [hanging.local_addr().unwrap(), away] {
        let folder = folder();
        let endpoint = format!("http://{collector}");
        let settings = [
            ("RERUN_OTLP_ENDPOINT", endpoint.as_str()),
            // Nobody reads the log meanwhile, and a pipe holds little.
            ("RERUN_LOG", "warn,rerun_server::cli=info"),
        ];
        let (server, address) = serve_with(folder.path(), &settings);
        let client = Client::new(folder.path(), &address);
        let begun = Instant::now();
        for _ in 0..200 {
            client.post("campaign/list", json!({})).await;
        }
        let each = begun.elapsed() / 200;
        assert!(each < Duration::from_millis(100), "{each:?} for a request");
        let begun = Instant::now();
        assert_eq!(server.terminate(), Some(0));
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(8), "{took:?} to end");
    }
}

#[test]
fn a_collector_must_be_named_by_a_url() {
    let folder = folder();
    let output = with_secrets(rerun(folder.path(), &["serve"]))
        .env("RERUN_OTLP_ENDPOINT", "localhost:4318")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("RERUN_OTLP_ENDPOINT must start with http"),
        "{said}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_worker_sends_traces_too() {
    let folder = folder();
    let (collector, batches) = collector();
    let (server, address) = serve_with(folder.path(), &[("RERUN_WORKERS", "0")]);
    let client = Client::new(folder.path(), &address);
    let campaign = launched(&client).await;
    let mut worker = rerun(
        folder.path(),
        &["worker", "--log", "info,rerun_generate=debug"],
    );
    worker.env("RERUN_OTLP_ENDPOINT", format!("http://{collector}"));
    let mut worker = Running::start(worker);
    worker.says("stored results");
    assert_eq!(worker.terminate(), Some(0));
    drop(server);
    let batches: Vec<Batch> = batches.try_iter().collect();
    let spans = spans(&batches);
    let generate = spans.iter().find(|span| span.name == "generate").unwrap();
    let about = attribute(&generate.attributes, "campaign_id");
    assert_eq!(about.as_deref(), campaign.as_str());
}
