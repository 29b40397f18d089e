//! Compares a run of the benchmark with an earlier run.

use serde::{Deserialize, Serialize};

use crate::figures::{Figures, Row};
use crate::machine::Machine;
use crate::plot::Panel;
use crate::text::{aligned, number};

/// What a run found, as it is written to a file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
    #[serde(default)]
    pub(crate) growth: Vec<Panel>,
}

/// What changed since an earlier run, for the works that both have.
pub(crate) fn table(earlier: &Results, now: &Results) -> String {
    let header = [
        "compared",
        "per second",
        "",
        "p50 ms",
        "",
        "CPU µs",
        "",
        "time ×",
        "",
        "CPU ×",
        "",
        "MB",
        "",
    ];
    let rows = now.rows.iter().filter_map(|row| {
        let before = earlier.rows.iter().find(|before| before.name == row.name)?;
        Some(cells(before, row))
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let machine = if earlier.machine == now.machine {
        ""
    } else {
        "Another machine, database or setting: only ratios to the floor compare.\n"
    };
    format!("{machine}{}", aligned(&header, rows, 0))
}

fn cells(before: &Row, now: &Row) -> Vec<String> {
    let of = |row: &Row, value: fn(&Figures) -> Option<f64>| row.server.as_ref().and_then(value);
    let pairs = [
        (
            of(before, |figures| Some(figures.per_second)),
            of(now, |figures| Some(figures.per_second)),
        ),
        (
            of(before, |figures| Some(figures.p50_ms)),
            of(now, |figures| Some(figures.p50_ms)),
        ),
        (of(before, Figures::cpu_us), of(now, Figures::cpu_us)),
        (before.time_ratio(), now.time_ratio()),
        (before.cpu_ratio(), now.cpu_ratio()),
        (before.memory_mb, now.memory_mb),
    ];
    std::iter::once(now.work.clone())
        .chain(pairs.into_iter().flat_map(change))
        .collect()
}

fn change((before, now): (Option<f64>, Option<f64>)) -> [String; 2] {
    match (before, now) {
        (Some(before), Some(now)) => [
            format!("{} → {}", number(before), number(now)),
            format!("{:+.0} %", (now / before - 1.0) * 100.0),
        ],
        _ => [String::new(), String::new()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_its_share() {
        assert_eq!(change((Some(200.0), Some(300.0))), ["200 → 300", "+50 %"]);
        assert_eq!(change((None, Some(1.0))), ["", ""]);
    }
}
