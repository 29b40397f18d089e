//! Tables for people.

use crate::catalogue;
use crate::figures::{Figures, Row};
use crate::plot::{Panel, Series};
use crate::text::{aligned, number, optional};

pub(crate) fn table(rows: &[Row]) -> String {
    let header = [
        "work",
        "per second",
        "p50 ms",
        "p99 ms",
        "server µs",
        "database µs",
        "floor/s",
        "floor p50",
        "floor µs",
        "time ×",
        "CPU ×",
        "MB",
        "to reach",
    ];
    let of = |figures: Option<&Figures>, value: fn(&Figures) -> Option<f64>| {
        optional(figures.and_then(value))
    };
    let cells = |row: &Row| {
        let (server, floor) = (row.server.as_ref(), row.floor.as_ref());
        vec![
            row.work.clone(),
            of(server, |figures| Some(figures.per_second)),
            of(server, |figures| Some(figures.p50_ms)),
            of(server, |figures| Some(figures.p99_ms)),
            of(server, |figures| figures.server_cpu_us),
            of(server, |figures| figures.database_cpu_us),
            of(floor, |figures| Some(figures.per_second)),
            of(floor, |figures| Some(figures.p50_ms)),
            of(floor, |figures| figures.database_cpu_us),
            optional(row.time_ratio()),
            optional(row.cpu_ratio()),
            optional(row.memory_mb),
            catalogue::find(&row.name)
                .map_or("", |work| work.goal)
                .to_owned(),
        ]
    };
    let mut text = aligned(&header, rows.iter().map(cells).collect(), 1);
    for row in rows {
        if let Some(note) = &row.note {
            text = format!("{text}\n{}: {note}", row.work);
        }
    }
    text
}

/// A row in one line.
pub(crate) fn line(row: &Row) -> String {
    let figures = |what: &str, figures: Option<&Figures>| match figures {
        Some(Figures {
            per_second,
            p50_ms,
            p99_ms,
            server_cpu_us,
            database_cpu_us,
            ..
        }) => format!(
            "; {what} {}/s, p50 {} ms, p99 {} ms, CPU µs {} in the server, {} in the database",
            number(*per_second),
            number(*p50_ms),
            number(*p99_ms),
            optional(*server_cpu_us),
            optional(*database_cpu_us),
        ),
        None => String::new(),
    };
    format!(
        "{}{}{}; time × {}, CPU × {}; {} MB",
        row.name,
        figures("server", row.server.as_ref()),
        figures("floor", row.floor.as_ref()),
        optional(row.time_ratio()),
        optional(row.cpu_ratio()),
        optional(row.memory_mb),
    )
}

pub(crate) fn growth(panels: &[Panel]) -> String {
    panels
        .iter()
        .map(|panel| {
            let mut header = vec![panel.x.as_str()];
            header.extend(panel.series.iter().map(|series| series.name.as_str()));
            let rows = panel.xs().into_iter().map(|x| {
                let at = |series: &Series| optional(series.at(x));
                std::iter::once(number(x))
                    .chain(panel.series.iter().map(at))
                    .collect()
            });
            format!("{}\n{}\n", panel.title, aligned(&header, rows.collect(), 0))
        })
        .collect::<Vec<_>>()
        .join("\n")
}
