//! Traces by OTLP: the parts of a request and of a worker's job, and how long each part took.
//!
//! A thread sends spans in batches, from a queue of bounded size. If the collector cannot be
//! reached, spans are lost, but requests are not affected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, TraceId, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SamplingResult, SdkTracerProvider, ShouldSample};
use rerun_http::{Completed, Traces};
use tracing::{Level, Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::registry::LookupSpan;

use crate::config::Otlp;

/// The longest that the collector may take for a batch, and the process for its last one.
const PATIENCE: Duration = Duration::from_secs(3);

/// The most spans that wait to be sent.
const QUEUE: usize = 8_192;

/// Whether this process sends traces; set once, at its start.
static ON: AtomicBool = AtomicBool::new(false);

/// What sends the spans of requests, if this process sends traces.
pub(crate) fn of_requests() -> Option<Arc<dyn Traces>> {
    ON.load(Ordering::Relaxed)
        .then(|| -> Arc<dyn Traces> { Arc::new(RequestTraces) })
}

/// Why traces could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("the exporter of traces could not be set up: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("the client that sends traces could not be set up: {0}")]
    Client(#[from] reqwest::Error),
}

/// Sends what is left when it is dropped, for which it waits a few seconds at most.
pub(crate) struct Sending(SdkTracerProvider);

impl Drop for Sending {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(PATIENCE) {
            let error = error.to_string();
            tracing::warn!(error, "the last traces could not be sent");
        }
    }
}

/// Only spans that belong to something are worth a trace: a worker asks for something to do
/// several times a second, and probes come as often.
#[derive(Debug, Clone)]
struct WorthATrace(Sampler);

impl ShouldSample for WorthATrace {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[opentelemetry::trace::Link],
    ) -> SamplingResult {
        let sampler = if matches!(name, "request" | "generate" | "settle") {
            &self.0
        } else {
            &Sampler::AlwaysOff
        };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}

/// Spans of this project, but for those of probes; no events, which the log has.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span()
        && metadata.target().starts_with("rerun_")
        && *metadata.level() <= Level::DEBUG
        && metadata.name() != "probe"
}

/// Begins to send traces; to be called on no runtime.
///
/// # Errors
/// [`SetupError`].
pub(crate) fn start<S>(otlp: &Otlp) -> Result<(impl Layer<S> + use<S>, Sending), SetupError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    // One client for all batches, with a time limit of its own.
    let client = reqwest::blocking::Client::builder()
        .timeout(PATIENCE)
        .build()?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(traces_url(otlp))
        .with_timeout(PATIENCE)
        .build()?;
    let batches = opentelemetry_sdk::trace::BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .build();
    let processor = opentelemetry_sdk::trace::BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches)
        .build();
    let ratio = Sampler::TraceIdRatioBased(otlp.sample_ratio);
    let resource = Resource::builder()
        .with_service_name(otlp.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(WorthATrace(ratio))))
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("rerun-http"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(FilterFn::new(is_traced).with_max_level_hint(LevelFilter::DEBUG));
    ON.store(true, Ordering::Relaxed);
    Ok((layer, Sending(provider)))
}

/// Where the traces go, as OTLP says: below the collector's base URL.
fn traces_url(otlp: &Otlp) -> String {
    format!("{}/v1/traces", otlp.endpoint.as_str().trim_end_matches('/'))
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// The spans of requests, when traces are sent.
struct RequestTraces;

impl Traces for RequestTraces {
    fn take_over(&self, span: &Span, headers: &HeaderMap) {
        let parent = TraceContextPropagator::new().extract(&Headers(headers));
        // An error says that nobody traces this span.
        let _untraced = span.set_parent(parent);
    }

    fn complete(&self, span: &Span, completed: &Completed<'_>) {
        let context = span.context();
        let traced = context.span();
        traced.update_name(format!("{} {}", completed.method, completed.route));
        traced.set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(completed.status.as_u16()),
        ));
        for (name, id) in completed.ids {
            traced.set_attribute(KeyValue::new(*name, id.clone()));
        }
        if completed.status.is_server_error() {
            traced.set_status(Status::error(""));
        }
    }
}
