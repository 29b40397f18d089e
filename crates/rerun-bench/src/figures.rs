//! What was measured, and how samples become figures.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Processor time that was used in some span of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    pub(crate) server: Option<Duration>,
    pub(crate) database: Option<Duration>,
}

/// What a load did in a turn.
#[derive(Debug, Default)]
pub(crate) struct Timed {
    /// How long each operation took.
    pub(crate) latencies: Vec<Duration>,
    /// How long all of them took.
    pub(crate) wall: Duration,
}

impl Timed {
    pub(crate) fn once(elapsed: Duration) -> Self {
        Self {
            latencies: vec![elapsed],
            wall: elapsed,
        }
    }
}

/// A turn and what it cost.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) timed: Timed,
    pub(crate) cpu: Cpu,
}

/// The figures of some work: medians of its turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Operations a second, or rows where the work is about rows.
    pub(crate) per_second: f64,
    /// Milliseconds.
    pub(crate) p50_ms: f64,
    /// Milliseconds.
    pub(crate) p99_ms: f64,
    /// Microseconds of processor time of the server for each operation.
    pub(crate) server_cpu_us: Option<f64>,
    /// The same of the database's processes.
    pub(crate) database_cpu_us: Option<f64>,
    /// How many operations were measured.
    pub(crate) operations: usize,
}

impl Figures {
    /// Of turns whose operations are each worth `weight` (rows, for instance).
    pub(crate) fn of(turns: &[Turn], weight: u32) -> Self {
        let all: Vec<Duration> = turns
            .iter()
            .flat_map(|turn| turn.timed.latencies.iter().copied())
            .collect();
        // A turn of a few operations has no percentiles of its own.
        let pooled = turns.iter().any(|turn| turn.timed.latencies.len() < 100);
        let percentile = |permille| {
            if pooled {
                millis(at(&sorted(&all), permille))
            } else {
                median(
                    turns
                        .iter()
                        .map(|turn| millis(at(&sorted(&turn.timed.latencies), permille))),
                )
            }
        };
        let each = |cpu: fn(&Cpu) -> Option<Duration>| {
            let costs: Option<Vec<f64>> = turns
                .iter()
                .map(|turn| {
                    Some(cpu(&turn.cpu)?.as_secs_f64() * 1e6 / float(turn.timed.latencies.len()))
                })
                .collect();
            costs.map(median)
        };
        Self {
            per_second: median(turns.iter().map(|turn| {
                f64::from(weight) * float(turn.timed.latencies.len())
                    / turn.timed.wall.as_secs_f64()
            })),
            p50_ms: percentile(500),
            p99_ms: percentile(990),
            server_cpu_us: each(|cpu| cpu.server),
            database_cpu_us: each(|cpu| cpu.database),
            operations: all.len(),
        }
    }

    /// Microseconds of processor time of server and database.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        let both = [self.server_cpu_us, self.database_cpu_us];
        let known: Vec<f64> = both.into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.iter().sum())
    }
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Its short name, as `--only` takes it.
    pub(crate) name: String,
    /// What was done.
    pub(crate) work: String,
    /// Through the server.
    pub(crate) server: Option<Figures>,
    /// As bare SQL.
    pub(crate) floor: Option<Figures>,
    /// The most memory that the server had meanwhile, in MB.
    pub(crate) memory_mb: Option<f64>,
    /// What there is to say besides.
    pub(crate) note: Option<String>,
}

impl Row {
    /// How many times the floor's median time it takes.
    pub(crate) fn time_ratio(&self) -> Option<f64> {
        Some(self.server.as_ref()?.p50_ms / self.floor.as_ref()?.p50_ms)
    }

    /// How many times the floor's processor time it takes.
    pub(crate) fn cpu_ratio(&self) -> Option<f64> {
        Some(self.server.as_ref()?.cpu_us()? / self.floor.as_ref()?.database_cpu_us?)
    }
}

pub(crate) fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn sorted(durations: &[Duration]) -> Vec<Duration> {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted
}

fn at(sorted: &[Duration], permille: usize) -> Duration {
    let last = sorted.len().saturating_sub(1);
    // Rounded up, so that the 99th percentile of a few is the worst of them.
    let index = (last * permille).div_ceil(1000);
    sorted.get(index).copied().unwrap_or_default()
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.as_slice() {
        [] => f64::NAN,
        values if values.len().is_multiple_of(2) => {
            let pair = values.get(middle - 1).zip(values.get(middle));
            pair.map_or(f64::NAN, |(low, high)| f64::midpoint(*low, *high))
        }
        values => values.get(middle).copied().unwrap_or(f64::NAN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(latencies: &[u64], wall: u64, server: u64) -> Turn {
        Turn {
            timed: Timed {
                latencies: latencies
                    .iter()
                    .map(|ms| Duration::from_millis(*ms))
                    .collect(),
                wall: Duration::from_millis(wall),
            },
            cpu: Cpu {
                server: Some(Duration::from_millis(server)),
                database: None,
            },
        }
    }

    #[test]
    fn few_operations_are_taken_together() {
        let turns = [turn(&[10], 10, 4), turn(&[30], 30, 6), turn(&[20], 20, 5)];
        let figures = Figures::of(&turns, 2);
        assert_eq!(figures.operations, 3);
        assert!((figures.per_second - 100.0).abs() < 1e-9);
        assert!((figures.p50_ms - 20.0).abs() < 1e-9);
        assert!((figures.p99_ms - 30.0).abs() < 1e-9);
        assert_eq!(figures.server_cpu_us, Some(5_000.0));
        assert_eq!(figures.database_cpu_us, None);
    }

    #[test]
    fn many_operations_have_percentiles_for_each_turn() {
        let calm: Vec<u64> = (1..=100).collect();
        let rough: Vec<u64> = (101..=200).collect();
        let turns = [
            turn(&calm, 100, 1),
            turn(&calm, 100, 1),
            turn(&rough, 100, 1),
        ];
        let figures = Figures::of(&turns, 1);
        assert!((figures.p50_ms - 51.0).abs() < 1e-9);
        assert!((figures.p99_ms - 100.0).abs() < 1e-9);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median([]).is_nan());
    }
}
