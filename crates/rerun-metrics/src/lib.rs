#![doc = include_str!("../README.md")]

mod deliveries;
mod previews;
mod reused;
mod schedules;
mod store;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};
use rerun_core::delivery::Outcome;
use rerun_core::error::Cause;
use rerun_core::generation::{FailureKind, Saved, Settled, Usage};
use rerun_core::ports::{Clock, DeliveryGauge, PoolGauge, QueueGauge, ScheduleGauge};
use rerun_core::run::SegmentCounts;
use rerun_core::schedule;
use rerun_core::usecases::{Decided, Fired, PreviewedGroup, RunStarted};

use deliveries::Deliveries;
use previews::Previews;
use reused::Reused;
use schedules::Firings;
pub use store::PublishedIn;
use store::Watched;

/// Of answers: from the quickest read to the largest import that a client waits for.
const REQUEST_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Of generator calls: a template takes microseconds, a language model seconds.
const CALL_SECONDS: &[f64] = &[
    0.0001, 0.001, 0.01, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// How a generator call can go.
const CALL_RESULTS: [&str; 3] = ["ok", "error", "put_off"];

/// What can become of the result of a generator call.
const OUTCOMES: [&str; 5] = [
    "stored",
    "failed_attempt",
    "put_off",
    "given_up",
    "lease_lost",
];

const fn call_result(result: Result<(), FailureKind>) -> &'static str {
    let [ok, error, put_off] = CALL_RESULTS;
    match result {
        Ok(()) => ok,
        Err(FailureKind::Attempt | FailureKind::Final) => error,
        Err(FailureKind::PutOff(_)) => put_off,
    }
}

/// Every metric of the process. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    requests_in_flight: IntGauge,
    reruns: IntCounterVec,
    segments: IntCounterVec,
    reused: Reused,
    deliveries: Deliveries,
    firings: Firings,
    previews: Previews,
    results: IntCounterVec,
    tokens: IntCounterVec,
    call_seconds: HistogramVec,
    calls_in_flight: IntGauge,
    watched: OnceLock<Watched>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    /// All at zero, and without a store.
    fn default() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "names and labels are literals, which the tests of this module register"
        )]
        let families = Families::new().expect("names and labels that Prometheus takes");
        Self(Arc::new(families))
    }
}

impl Families {
    fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let add = |metric: Box<dyn prometheus::core::Collector>| registry.register(metric);
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            add(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        let seconds = |name: &str, help: &str, labels: &[&str], bounds: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
            let histogram = HistogramVec::new(options, labels)?;
            add(Box::new(histogram.clone()))?;
            prometheus::Result::Ok(histogram)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            add(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let families = Self {
            requests: counter(
                "rerun_http_requests_total",
                "Requests that got a response.",
                &["route", "method", "status"],
            )?,
            request_seconds: seconds(
                "rerun_http_request_duration_seconds",
                "Time from the headers of a request to the headers of its response, in seconds.",
                &["route", "method"],
                REQUEST_SECONDS,
            )?,
            requests_in_flight: gauge(
                "rerun_http_requests_in_flight",
                "Requests that wait for a response now, including the one for this page.",
            )?,
            reruns: counter(
                "rerun_reruns_total",
                "Requests to start a rerun, by their result: initiated, replayed (the response of \
                 an earlier request with the same idempotency key), or the code of the error. \
                 Reruns that schedules started count as initiated too.",
                &["result"],
            )?,
            segments: counter(
                "rerun_rerun_segments_total",
                "Segments of the reruns that were initiated: matched segments reuse a message, \
                 new segments need one.",
                &["outcome"],
            )?,
            reused: Reused::register(&registry)?,
            deliveries: Deliveries::register(&registry)?,
            firings: Firings::register(&registry)?,
            previews: Previews::register(&registry)?,
            results: counter(
                "rerun_generation_results_total",
                "Results of generator calls: stored, failed_attempt (the call is retried), \
                 put_off (the call is retried and does not count as an attempt), given_up, or \
                 lease_lost (the result came after a cancellation or after the end of the lease).",
                &["outcome"],
            )?,
            tokens: counter(
                "rerun_generation_tokens_total",
                "Tokens that language models reported for generator calls, including failed calls.",
                &["kind"],
            )?,
            call_seconds: seconds(
                "rerun_generation_call_duration_seconds",
                "Duration of generator calls in seconds.",
                &["result"],
                CALL_SECONDS,
            )?,
            calls_in_flight: gauge(
                "rerun_generation_calls_in_flight",
                "Generator calls that are running now.",
            )?,
            watched: OnceLock::new(),
            registry: registry.clone(),
        };
        register_process(&registry)?;
        // A rate has no first value to grow from unless the counter is there at zero.
        for outcome in OUTCOMES {
            families.results.with_label_values(&[outcome]);
        }
        for result in CALL_RESULTS {
            families.call_seconds.with_label_values(&[result]);
        }
        for kind in ["prompt", "completion"] {
            families.tokens.with_label_values(&[kind]);
        }
        for outcome in ["matched", "new"] {
            families.segments.with_label_values(&[outcome]);
        }
        families.reruns.with_label_values(&["initiated"]);
        Ok(families)
    }
}

/// What tells of the process: its version, and on Linux its memory, processor time and open files.
fn register_process(registry: &Registry) -> prometheus::Result<()> {
    let build = Opts::new(
        "rerun_build_info",
        "Always 1; the label is the version of the server.",
    )
    .const_label("version", env!("CARGO_PKG_VERSION"));
    let build = IntGauge::with_opts(build)?;
    build.set(1);
    registry.register(Box::new(build))?;
    #[cfg(target_os = "linux")]
    registry.register(Box::new(
        prometheus::process_collector::ProcessCollector::for_self(),
    ))?;
    Ok(())
}

/// Methods by their own name as far as HTTP defines them: a client may send any word.
fn method_label(method: &str) -> &str {
    match method {
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "PATCH" | "OPTIONS" => method,
        _ => "other",
    }
}

/// Something that goes on while this lives.
pub struct InFlight(IntGauge);

impl InFlight {
    fn begin(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Tells from now on what waits in this store, for a stream too if events are published in one, and
    /// how its connections are used. The first store that is given stays.
    pub fn watch(
        &self,
        pools: Arc<dyn PoolGauge>,
        queue: Arc<dyn QueueGauge>,
        deliveries: Arc<dyn DeliveryGauge>,
        schedules: Arc<dyn ScheduleGauge>,
        published: Option<PublishedIn>,
        clock: Arc<dyn Clock>,
    ) {
        let watched = Watched::new(pools, queue, deliveries, schedules, published, clock);
        let _others = self.0.watched.set(watched);
    }

    /// A request has come in.
    #[must_use]
    pub fn request(&self) -> InFlight {
        InFlight::begin(&self.0.requests_in_flight)
    }

    /// A request was answered. `route` is a pattern of this program, never a path.
    pub fn answered(&self, route: &str, method: &str, status: u16, took: Duration) {
        let method = method_label(method);
        self.0
            .requests
            .with_label_values(&[route, method, &status.to_string()])
            .inc();
        self.0
            .request_seconds
            .with_label_values(&[route, method])
            .observe(took.as_secs_f64());
    }

    /// A rerun was initiated.
    pub fn rerun_initiated(&self, segments: SegmentCounts, saved: Saved) {
        self.rerun_came_to("initiated");
        self.0.reused.count(saved);
        for (outcome, number) in [("matched", segments.matched), ("new", segments.new)] {
            self.0
                .segments
                .with_label_values(&[outcome])
                .inc_by(number.into());
        }
    }

    /// A call for a rerun got the answer of an earlier one, or was refused with this code.
    pub fn rerun_came_to(&self, result: &'static str) {
        self.0.reruns.with_label_values(&[result]).inc();
    }

    /// A time of a schedule was decided.
    pub fn schedule_fired(&self, fired: &Fired) {
        self.0.firings.late(fired.late_millis);
        self.0.firings.missed(fired.missed);
        self.schedule_decided(fired.firing.outcome, fired.run.as_ref());
    }

    /// A person triggered a schedule.
    pub fn schedule_triggered(&self, decided: &Decided) {
        self.schedule_decided(decided.firing.outcome, decided.run.as_ref());
    }

    fn schedule_decided(&self, outcome: schedule::Outcome, run: Option<&RunStarted>) {
        self.0.firings.count(outcome);
        if let Some(run) = run {
            self.rerun_initiated(run.segments, run.saved);
        }
    }

    /// An attempt to deliver an event is over.
    pub fn delivery_attempted(&self, outcome: &Outcome) {
        self.0.deliveries.count(outcome);
    }

    /// The campaigns of a group were previewed after an import.
    pub fn group_previewed(&self, previewed: &PreviewedGroup) {
        self.0.previews.count(previewed);
    }

    /// Events were published in a stream.
    pub fn events_published(&self, events: u64) {
        self.0.deliveries.published(events);
    }

    /// Events could not be published in a stream.
    pub fn publication_failed(&self) {
        self.0.deliveries.publication_failed();
    }

    /// A generator call begins.
    pub fn call_began(&self) {
        self.0.calls_in_flight.inc();
    }

    /// A generator call is over, whether it returned or was dropped.
    pub fn call_ended(&self) {
        self.0.calls_in_flight.dec();
    }

    /// A generator call returned after this time.
    pub fn call_returned(&self, result: Result<(), FailureKind>, took: Duration) {
        self.0
            .call_seconds
            .with_label_values(&[call_result(result)])
            .observe(took.as_secs_f64());
    }

    /// A language model reported what a call used.
    pub fn tokens_used(&self, usage: &Usage) {
        for (kind, tokens) in [
            ("prompt", usage.prompt_tokens),
            ("completion", usage.completion_tokens),
        ] {
            self.0
                .tokens
                .with_label_values(&[kind])
                .inc_by(tokens.into());
        }
    }

    /// Of `results` under one lease these were stored. Those that count nowhere came too late.
    pub fn settled(&self, results: usize, settled: Settled) {
        let Settled {
            generated,
            retried,
            put_off,
            failed,
        } = settled;
        let stored = [generated, retried, put_off, failed].map(u64::from);
        let stored: u64 = stored.into_iter().sum();
        let lost = u64::try_from(results)
            .unwrap_or(u64::MAX)
            .saturating_sub(stored);
        for (outcome, number) in [
            ("stored", generated.into()),
            ("failed_attempt", retried.into()),
            ("put_off", put_off.into()),
            ("given_up", failed.into()),
            ("lease_lost", lost),
        ] {
            self.0.results.with_label_values(&[outcome]).inc_by(number);
        }
    }

    /// All of it in Prometheus' text format. What the store does not tell in time is left out.
    ///
    /// # Errors
    /// When a name or a label is not as Prometheus wants it.
    pub async fn text(&self) -> Result<String, Cause> {
        let mut families = match self.0.watched.get() {
            Some(watched) => watched.families().await,
            None => Vec::new(),
        };
        families.extend(self.0.registry.gather());
        families.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(TextEncoder::new().encode_to_string(&families)?)
    }
}

#[cfg(test)]
mod tests {
    use rerun_core::delivery::{Response, SendError};
    use rerun_core::generation::TokenCounts;

    use super::*;

    async fn sample(metrics: &Metrics, start: &str) -> Option<String> {
        let text = metrics.text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(start));
        line.map(|value| value.trim().to_owned())
    }

    #[tokio::test]
    async fn results_that_were_not_stored_came_too_late() {
        let metrics = Metrics::default();
        let settled = Settled {
            generated: 4,
            retried: 3,
            put_off: 5,
            failed: 2,
        };
        metrics.settled(15, settled);
        metrics.settled(1, Settled::default());
        for (outcome, number) in [
            ("stored", "4"),
            ("failed_attempt", "3"),
            ("put_off", "5"),
            ("given_up", "2"),
            ("lease_lost", "2"),
        ] {
            let start = format!("rerun_generation_results_total{{outcome=\"{outcome}\"}}");
            assert_eq!(sample(&metrics, &start).await.as_deref(), Some(number));
        }
    }

    #[tokio::test]
    async fn tokens_are_summed_by_kind() {
        let metrics = Metrics::default();
        let usage = Usage {
            prompt_tokens: 7,
            completion_tokens: 2,
            model: None,
        };
        metrics.tokens_used(&usage);
        metrics.tokens_used(&usage);
        for (kind, number) in [("prompt", "14"), ("completion", "4")] {
            let start = format!("rerun_generation_tokens_total{{kind=\"{kind}\"}}");
            assert_eq!(sample(&metrics, &start).await.as_deref(), Some(number));
        }
    }

    #[tokio::test]
    async fn what_reuse_saved_is_summed() {
        let metrics = Metrics::default();
        let segments = SegmentCounts {
            total: 5,
            matched: 3,
            new: 2,
        };
        let saved = Saved {
            messages: 3,
            customers: 70,
            tokens: TokenCounts {
                prompt_tokens: 21,
                completion_tokens: 6,
            },
        };
        metrics.rerun_initiated(segments, saved);
        metrics.rerun_initiated(segments, saved);
        for (start, number) in [
            ("rerun_reuse_messages_total ", "6"),
            ("rerun_reuse_customers_total ", "140"),
            ("rerun_reuse_tokens_total{kind=\"prompt\"}", "42"),
            ("rerun_reuse_tokens_total{kind=\"completion\"}", "12"),
        ] {
            assert_eq!(sample(&metrics, start).await.as_deref(), Some(number));
        }
    }

    #[tokio::test]
    async fn attempts_at_deliveries_are_counted_by_their_outcome() {
        let metrics = Metrics::default();
        let responded = |status| {
            Ok(Response {
                status,
                retry_after: None,
            })
        };
        for response in [
            responded(200),
            responded(204),
            responded(302),
            responded(410),
            responded(500),
            Err(SendError::TimedOut),
        ] {
            metrics.delivery_attempted(&Outcome {
                response,
                duration: Duration::from_millis(20),
            });
        }
        for (outcome, number) in [
            ("delivered", "2"),
            ("refused", "3"),
            ("timed_out", "1"),
            ("tls", "0"),
        ] {
            let start = format!("rerun_webhook_attempts_total{{outcome=\"{outcome}\"}}");
            assert_eq!(sample(&metrics, &start).await.as_deref(), Some(number));
        }
        let count = sample(&metrics, "rerun_webhook_attempt_duration_seconds_count").await;
        assert_eq!(count.as_deref(), Some("6"));
        metrics.events_published(7);
        metrics.publication_failed();
        for (name, number) in [
            ("rerun_events_published_total ", "7"),
            ("rerun_event_publication_failures_total ", "1"),
        ] {
            assert_eq!(sample(&metrics, name).await.as_deref(), Some(number));
        }
    }

    #[tokio::test]
    async fn what_goes_on_is_counted_until_it_is_dropped() {
        let metrics = Metrics::default();
        let request = metrics.request();
        metrics.call_began();
        let _other = metrics.request();
        let requests = "rerun_http_requests_in_flight ";
        let calls = "rerun_generation_calls_in_flight ";
        assert_eq!(sample(&metrics, requests).await.as_deref(), Some("2"));
        assert_eq!(sample(&metrics, calls).await.as_deref(), Some("1"));
        drop(request);
        metrics.call_ended();
        assert_eq!(sample(&metrics, requests).await.as_deref(), Some("1"));
        assert_eq!(sample(&metrics, calls).await.as_deref(), Some("0"));
    }

    #[tokio::test]
    async fn invented_methods_are_one_label() {
        let metrics = Metrics::default();
        for word in ["BREW", "PROPFIND", "get"] {
            metrics.answered("none", word, 404, Duration::ZERO);
        }
        let start = "rerun_http_requests_total{method=\"other\",route=\"none\",status=\"404\"}";
        assert_eq!(sample(&metrics, start).await.as_deref(), Some("3"));
    }
}
