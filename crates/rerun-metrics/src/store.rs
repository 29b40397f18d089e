//! What the store tells when somebody asks: its queue and its connections.

use std::sync::Arc;
use std::time::Duration;

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use rerun_core::Timestamp;
use rerun_core::error::{StoreError, chain};
use rerun_core::ports::{
    Backlog, Clock, DeliveryBacklog, DeliveryGauge, EventCursors, PoolGauge, PoolUsage, QueueGauge,
    ScheduleGauge, Waits,
};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// How long an answer of the store is good for at least, however often somebody asks.
const FRESH: Duration = Duration::from_secs(5);

/// How many times as long as it took to give is it good for: a long queue takes a while to count,
/// and no more than a hundredth of a connection is spent on that.
const FRESH_FOR_ITS_TIME: u32 = 100;

/// How long somebody who asks waits for the store.
const PATIENCE: Duration = Duration::from_secs(1);

/// What waits in a store.
#[derive(Clone, Copy)]
struct Waiting {
    messages: Backlog,
    deliveries: DeliveryBacklog,
    schedule_due_since: Option<Timestamp>,
    /// Where events are published.
    unpublished: Option<Unpublished>,
}

/// Since when events wait for publication; `None` when none does.
#[derive(Clone, Copy)]
struct Unpublished {
    since: Option<Timestamp>,
}

/// The stream that events are published in, and where its places are kept.
pub struct PublishedIn {
    /// The name of the stream.
    pub stream: String,
    /// The places of accounts in it.
    pub cursors: Arc<dyn EventCursors>,
}

/// What the store says, and when it did.
type Answer = (Result<Waiting, StoreError>, Instant);

/// A store under watch.
pub(super) struct Watched {
    pools: Arc<dyn PoolGauge>,
    queue: Arc<dyn QueueGauge>,
    deliveries: Arc<dyn DeliveryGauge>,
    schedules: Arc<dyn ScheduleGauge>,
    published: Option<Arc<PublishedIn>>,
    clock: Arc<dyn Clock>,
    reading: Mutex<Reading>,
}

#[derive(Default)]
struct Reading {
    /// Until when the answer is good.
    until: Option<Instant>,
    answer: Option<Waiting>,
    /// A question that the store has not answered yet. There is no second one beside it: a store
    /// that hangs would soon have no connection left for anybody.
    asked: Option<(Instant, JoinHandle<Answer>)>,
}

impl Watched {
    pub(super) fn new(
        pools: Arc<dyn PoolGauge>,
        queue: Arc<dyn QueueGauge>,
        deliveries: Arc<dyn DeliveryGauge>,
        schedules: Arc<dyn ScheduleGauge>,
        published: Option<PublishedIn>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            pools,
            queue,
            deliveries,
            schedules,
            published: published.map(Arc::new),
            clock,
            reading: Mutex::default(),
        }
    }

    /// What waits; `None` when the store did not say in time.
    async fn backlog(&self) -> Option<Waiting> {
        let mut reading = self.reading.lock().await;
        if reading.until.is_some_and(|until| Instant::now() < until) {
            return reading.answer;
        }
        let (since, asked) = reading.asked.get_or_insert_with(|| {
            let (queue, now) = (Arc::clone(&self.queue), self.clock.now());
            let deliveries = Arc::clone(&self.deliveries);
            let schedules = Arc::clone(&self.schedules);
            let published = self.published.clone();
            let waiting = async move {
                let unpublished = match published {
                    None => None,
                    Some(of) => Some(Unpublished {
                        since: of.cursors.unpublished_since(&of.stream).await?,
                    }),
                };
                Ok(Waiting {
                    messages: queue.backlog(now).await?,
                    deliveries: deliveries.delivery_backlog(now).await?,
                    schedule_due_since: schedules.schedule_due_since(now).await?,
                    unpublished,
                })
            };
            let asked = tokio::spawn(async move { (waiting.await, Instant::now()) });
            (Instant::now(), asked)
        });
        let (since, answer) = (*since, timeout(PATIENCE, asked).await);
        let mut fresh = FRESH;
        reading.answer = match answer {
            Ok(answer) => {
                reading.asked = None;
                let (answer, at) = answer.unwrap_or_else(|panicked| {
                    (Err(StoreError::Backend(panicked.into())), Instant::now())
                });
                fresh = fresh.max((at - since) * FRESH_FOR_ITS_TIME);
                answer.inspect_err(tell).ok()
            }
            Err(_elapsed) => None,
        };
        reading.until = Some(Instant::now() + fresh);
        reading.answer
    }

    pub(super) async fn families(&self) -> Vec<MetricFamily> {
        let backlog = self.backlog().await;
        let mut families = pools(&self.pools.pools());
        families.push(family(
            "rerun_database_up",
            "1 if the last query of the queue succeeded, else 0.",
            MetricType::GAUGE,
            vec![gauge(&[], if backlog.is_some() { 1.0 } else { 0.0 })],
        ));
        if let Some(waiting) = backlog {
            let now = self.clock.now();
            families.extend(queue(waiting.messages, now));
            families.extend(deliveries(waiting, now));
            families.push(family(
                "rerun_schedule_overdue_seconds",
                "How long the oldest due schedule has been due, in seconds; 0 if none is due.",
                MetricType::GAUGE,
                vec![gauge(&[], age(waiting.schedule_due_since, now))],
            ));
        }
        families
    }
}

fn tell(error: &StoreError) {
    let error = chain(error);
    tracing::warn!(error, "what waits in the database could not be counted");
}

/// How long something has been due in seconds; 0 if nothing is due.
fn age(due_since: Option<Timestamp>, now: Timestamp) -> f64 {
    let age = due_since.and_then(|since| (now - since).to_std().ok());
    age.unwrap_or_default().as_secs_f64()
}

fn deliveries(waiting: Waiting, now: Timestamp) -> [MetricFamily; 3] {
    let backlog = waiting.deliveries;
    let mut lags = vec![gauge(&[("sink", "webhook")], age(backlog.due_since, now))];
    if let Some(Unpublished { since }) = waiting.unpublished {
        lags.push(gauge(&[("sink", "nats")], age(since, now)));
    }
    [
        family(
            "rerun_event_lag_seconds",
            "How long the oldest waiting event has waited, in seconds; 0 if none waits. For a \
             webhook: since its delivery was due. For NATS: since the event was written.",
            MetricType::GAUGE,
            lags,
        ),
        family(
            "rerun_webhook_pending",
            "Deliveries to webhooks that wait for an attempt, counted up to a million.",
            MetricType::GAUGE,
            vec![gauge(&[], float(backlog.pending))],
        ),
        family(
            "rerun_webhooks_disabled",
            "Webhooks that are disabled.",
            MetricType::GAUGE,
            vec![gauge(&[], float(backlog.disabled))],
        ),
    ]
}

fn queue(backlog: Backlog, now: Timestamp) -> [MetricFamily; 2] {
    [
        family(
            "rerun_generation_queue_messages",
            "Messages that wait for generation or are being generated, counted up to a million.",
            MetricType::GAUGE,
            vec![gauge(&[], float(backlog.messages))],
        ),
        family(
            "rerun_generation_queue_oldest_due_seconds",
            "How long the oldest due message has been due, in seconds; 0 if none is due.",
            MetricType::GAUGE,
            vec![gauge(&[], age(backlog.due_since, now))],
        ),
    ]
}

fn pools(pools: &[(&'static str, PoolUsage)]) -> Vec<MetricFamily> {
    let each = |metric: &dyn Fn(&'static str, &PoolUsage) -> Vec<Metric>| {
        pools
            .iter()
            .flat_map(|(pool, usage)| metric(pool, usage))
            .collect::<Vec<_>>()
    };
    vec![
        family(
            "rerun_database_connections",
            "Open database connections, by their state: in_use or idle.",
            MetricType::GAUGE,
            each(&|pool, usage| {
                let state = |name, number: u32| {
                    gauge(&[("pool", pool), ("state", name)], f64::from(number))
                };
                vec![state("idle", usage.idle), state("in_use", usage.in_use)]
            }),
        ),
        family(
            "rerun_database_connections_max",
            "The maximum number of open database connections.",
            MetricType::GAUGE,
            each(&|pool, usage| vec![gauge(&[("pool", pool)], f64::from(usage.size))]),
        ),
        family(
            "rerun_database_jobs_waiting",
            "Jobs that wait for a database connection.",
            MetricType::GAUGE,
            each(&|pool, usage| vec![gauge(&[("pool", pool)], float(usage.waiting))]),
        ),
        family(
            "rerun_database_wait_seconds",
            "Time that jobs waited for a database connection, in seconds.",
            MetricType::HISTOGRAM,
            each(&|pool, usage| vec![histogram(&[("pool", pool)], &usage.waits)]),
        ),
        family(
            "rerun_database_wait_timeouts_total",
            "Jobs that were given up because no database connection became free in time.",
            MetricType::COUNTER,
            each(&|pool, usage| {
                let mut counter = Counter::default();
                counter.set_value(float(usage.timeouts));
                let mut metric = labelled(&[("pool", pool)]);
                metric.set_counter(counter);
                vec![metric]
            }),
        ),
    ]
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}

fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled(labels);
    metric.set_gauge(gauge);
    metric
}

fn histogram(labels: &[(&str, &str)], waits: &Waits) -> Metric {
    let mut so_far = 0;
    let buckets = Waits::BOUNDS.iter().zip(waits.jobs).map(|(bound, jobs)| {
        so_far += jobs;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound.as_secs_f64());
        bucket.set_cumulative_count(so_far);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(waits.jobs.iter().sum());
    histogram.set_sample_sum(Duration::from_micros(waits.total_micros).as_secs_f64());
    let mut metric = labelled(labels);
    metric.set_histogram(histogram);
    metric
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "every number of Prometheus is a float"
)]
const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use rerun_core::ports::{MockClock, MockEventCursors};

    use super::*;

    struct NoPools;

    impl PoolGauge for NoPools {
        fn pools(&self) -> Vec<(&'static str, PoolUsage)> {
            Vec::new()
        }
    }

    /// Answers after some time, or not at all.
    #[derive(Default)]
    struct Slow {
        takes: Duration,
        fails: bool,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl QueueGauge for Slow {
        async fn backlog(&self, now: Timestamp) -> Result<Backlog, StoreError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(self.takes).await;
            if self.fails {
                return Err(StoreError::Unavailable("away".into()));
            }
            Ok(Backlog {
                messages: 7,
                due_since: Some(now - Duration::from_secs(3)),
            })
        }
    }

    #[async_trait]
    impl DeliveryGauge for Slow {
        async fn delivery_backlog(&self, now: Timestamp) -> Result<DeliveryBacklog, StoreError> {
            Ok(DeliveryBacklog {
                pending: 5,
                due_since: Some(now - Duration::from_secs(9)),
                disabled: 2,
            })
        }
    }

    #[async_trait]
    impl ScheduleGauge for Slow {
        async fn schedule_due_since(
            &self,
            now: Timestamp,
        ) -> Result<Option<Timestamp>, StoreError> {
            Ok(Some(now - Duration::from_secs(4)))
        }
    }

    fn published() -> PublishedIn {
        let mut cursors = MockEventCursors::new();
        cursors
            .expect_unpublished_since()
            .withf(|stream| stream == "all")
            .returning(|_| Ok(Some(Timestamp::UNIX_EPOCH - Duration::from_secs(4))));
        PublishedIn {
            stream: "all".into(),
            cursors: Arc::new(cursors),
        }
    }

    fn watched(slow: Slow) -> (Watched, Arc<Slow>) {
        let slow = Arc::new(slow);
        let mut clock = MockClock::new();
        clock.expect_now().returning(|| Timestamp::UNIX_EPOCH);
        let watched = Watched::new(
            Arc::new(NoPools),
            slow.clone(),
            slow.clone(),
            slow.clone(),
            Some(published()),
            Arc::new(clock),
        );
        (watched, slow)
    }

    fn value(families: &[MetricFamily], name: &str) -> Option<f64> {
        let family = families.iter().find(|family| family.name() == name)?;
        Some(family.get_metric()[0].get_gauge().get_value())
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_counted_once_in_a_while() {
        let (watched, slow) = watched(Slow::default());
        for _ in 0..10 {
            let families = watched.families().await;
            assert_eq!(value(&families, "rerun_database_up"), Some(1.0));
            let depth = value(&families, "rerun_generation_queue_messages");
            let age = value(&families, "rerun_generation_queue_oldest_due_seconds");
            assert_eq!((depth, age), (Some(7.0), Some(3.0)));
            let lag = value(&families, "rerun_event_lag_seconds");
            let pending = value(&families, "rerun_webhook_pending");
            let disabled = value(&families, "rerun_webhooks_disabled");
            assert_eq!((lag, pending, disabled), (Some(9.0), Some(5.0), Some(2.0)));
            let overdue = value(&families, "rerun_schedule_overdue_seconds");
            assert_eq!(overdue, Some(4.0));
            let lags = families
                .iter()
                .find(|f| f.name() == "rerun_event_lag_seconds");
            let of_nats = &lags.unwrap().get_metric()[1];
            assert_eq!(of_nats.get_label()[0].value(), "nats");
            assert!((of_nats.get_gauge().get_value() - 4.0).abs() < 0.001);
        }
        assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(FRESH).await;
        watched.families().await;
        assert_eq!(slow.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_takes_long_to_count_is_counted_less_often() {
        let (watched, slow) = watched(Slow {
            takes: Duration::from_millis(200),
            ..Slow::default()
        });
        watched.families().await;
        tokio::time::advance(Duration::from_millis(19_900)).await;
        watched.families().await;
        assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(Duration::from_millis(200)).await;
        watched.families().await;
        assert_eq!(slow.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_is_down_and_its_queue_unknown() {
        let (watched, _) = watched(Slow {
            fails: true,
            ..Slow::default()
        });
        let families = watched.families().await;
        assert_eq!(value(&families, "rerun_database_up"), Some(0.0));
        assert_eq!(value(&families, "rerun_generation_queue_messages"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_asked_one_question_and_holds_nobody_up() {
        let (watched, slow) = watched(Slow {
            takes: Duration::from_mins(1),
            ..Slow::default()
        });
        let begun = Instant::now();
        let families = watched.families().await;
        assert_eq!(value(&families, "rerun_database_up"), Some(0.0));
        assert_eq!(begun.elapsed(), PATIENCE);
        watched.families().await;
        assert_eq!(begun.elapsed(), PATIENCE, "the next does not wait at all");
        tokio::time::advance(FRESH).await;
        watched.families().await;
        assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(Duration::from_mins(1)).await;
        let families = watched.families().await;
        assert_eq!(value(&families, "rerun_database_up"), Some(1.0));
    }
}
