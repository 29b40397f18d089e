//! Tables for people.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use crate::figures::{Figures, Row};
use crate::plot::Panel;
use crate::works;

/// A number with as many digits as say something.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        medium if medium >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, format!(".{fraction}")),
        None => (text.as_str(), String::new()),
    };
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left.is_multiple_of(3) && grouped != "-" {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + &fraction
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(String::new, number)
}

/// A table without lines: the first column to the left, numbers to the right.
pub(crate) fn aligned(header: &[&str], rows: Vec<Vec<String>>, texts: usize) -> String {
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row.into_iter().map(Cell::new));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        let number = index > 0 && index + texts < header.len();
        if number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

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
            works::find(&row.name)
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
                let at = |series: &crate::plot::Series| optional(series.at(x));
                std::iter::once(number(x))
                    .chain(panel.series.iter().map(at))
                    .collect()
            });
            format!("{}\n{}\n", panel.title, aligned(&header, rows.collect(), 0))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        for (value, text) in [
            (0.0, "0.00"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1_234.5, "1,234"),
            (1_234_567.0, "1,234,567"),
            (-123_456.0, "-123,456"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
