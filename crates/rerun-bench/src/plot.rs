//! A plot with logarithmic axes, as SVG.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::text::number;

/// One diagram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Panel {
    pub(crate) title: String,
    /// What is on the horizontal axis; on the vertical one are milliseconds.
    pub(crate) x: String,
    pub(crate) series: Vec<Series>,
}

/// One line of a diagram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Series {
    pub(crate) fn at(&self, x: f64) -> Option<f64> {
        self.points
            .iter()
            .find(|point| point.0.total_cmp(&x).is_eq())
            .map(|point| point.1)
    }
}

impl Panel {
    /// Where the lines have points.
    pub(crate) fn xs(&self) -> Vec<f64> {
        let mut xs: Vec<f64> = self.points().map(|point| point.0).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        xs
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.series
            .iter()
            .flat_map(|series| series.points.iter().copied())
    }
}

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 92.0;
const LINE: f64 = 15.0;
const COLOURS: [&str; 4] = ["#2563eb", "#9ca3af", "#d97706", "#059669"];

/// A logarithmic axis over whole powers of ten.
struct Axis {
    /// The exponents of its ends.
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let exponents: Vec<f64> = values
            .filter(|value| *value > 0.0)
            .map(f64::log10)
            .collect();
        let from = exponents.iter().copied().fold(f64::INFINITY, f64::min);
        let to = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // A little room, for powers that are not quite what they should be.
        let from = (from + 1e-9).floor();
        Self {
            from,
            to: (to - 1e-9).ceil().max(from + 1.0),
            start,
            end,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - self.from) / (self.to - self.from);
        self.start + share * (self.end - self.start)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let next = |exponent: &f64| Some(exponent + 1.0).filter(|next| *next <= self.to);
        std::iter::successors(Some(self.from), next).map(|exponent| 10_f64.powf(exponent))
    }
}

/// The diagrams, side by side.
pub(crate) fn svg(panels: &[Panel]) -> String {
    let mut drawn = String::new();
    let mut left = 0.0;
    for panel in panels {
        drawn.push_str(&diagram(panel, left));
        left += WIDTH;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {left} {HEIGHT}\" \
         width=\"{left}\" height=\"{HEIGHT}\" font-family=\"system-ui, sans-serif\" \
         font-size=\"11\" fill=\"#111827\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{drawn}</svg>\n"
    )
}

fn diagram(panel: &Panel, left: f64) -> String {
    let (x_start, x_end) = (left + LEFT, left + WIDTH - RIGHT);
    let (y_start, y_end) = (HEIGHT - BOTTOM, TOP);
    let xs = Axis::over(panel.points().map(|point| point.0), x_start, x_end);
    let ys = Axis::over(panel.points().map(|point| point.1), y_start, y_end);
    let mut svg = String::new();
    text(
        &mut svg,
        (x_start, 20.0),
        "start",
        "font-weight=\"600\"",
        &panel.title,
    );
    for tick in ys.ticks() {
        let y = ys.place(tick);
        line(&mut svg, (x_start, y), (x_end, y));
        let label = format!("{} ms", short(tick));
        text(&mut svg, (x_start - 6.0, y + 4.0), "end", "", &label);
    }
    for tick in xs.ticks() {
        let x = xs.place(tick);
        line(&mut svg, (x, y_start), (x, y_end));
        text(&mut svg, (x, y_start + 16.0), "middle", "", &short(tick));
    }
    let middle = f64::midpoint(x_start, x_end);
    text(&mut svg, (middle, y_start + 32.0), "middle", "", &panel.x);
    let mut below = y_start + 50.0;
    for (series, colour) in panel.series.iter().zip(COLOURS.iter().cycle()) {
        let places: Vec<(f64, f64)> = series
            .points
            .iter()
            .map(|(x, y)| (xs.place(*x), ys.place(*y)))
            .collect();
        let path: Vec<String> = places
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (x, y) in places {
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
            );
        }
        let _ = writeln!(
            svg,
            "<rect x=\"{x_start:.1}\" y=\"{:.1}\" width=\"12\" height=\"3\" fill=\"{colour}\"/>",
            below - 5.0
        );
        text(&mut svg, (x_start + 18.0, below), "start", "", &series.name);
        below += LINE;
    }
    svg
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#e5e7eb\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, more: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{text}</text>"
    );
}

/// A power of ten as a label.
fn short(value: f64) -> String {
    if value >= 1e6 {
        format!("{:.0}M", value / 1e6)
    } else if value >= 1e4 {
        format!("{:.0}k", value / 1e3)
    } else if value >= 1.0 {
        number(value.round())
            .trim_end_matches(".00")
            .trim_end_matches(".0")
            .to_owned()
    } else {
        format!("{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel() -> Panel {
        Panel {
            title: "Time <of> it".to_owned(),
            x: "segments".to_owned(),
            series: vec![Series {
                name: "server".to_owned(),
                points: vec![(1_000.0, 4.0), (10_000.0, 41.0), (100_000.0, 420.0)],
            }],
        }
    }

    #[test]
    fn axes_end_at_powers_of_ten() {
        let axis = Axis::over([4.0, 420.0].into_iter(), 0.0, 300.0);
        let ticks: Vec<String> = axis.ticks().map(short).collect();
        assert_eq!(ticks, ["1", "10", "100", "1,000"]);
        assert!((axis.place(10.0) - 100.0).abs() < 1e-6);
        let single = Axis::over([10.0].into_iter(), 0.0, 1.0);
        assert_eq!(single.ticks().count(), 2);
    }

    #[test]
    fn labels_are_short() {
        for (value, label) in [
            (0.1, "0.1"),
            (1.0, "1"),
            (10.0, "10"),
            (1_000.0, "1,000"),
            (10_000.0, "10k"),
            (1e6, "1M"),
        ] {
            assert_eq!(short(value), label);
        }
    }

    #[test]
    fn every_line_is_drawn_and_texts_are_escaped() {
        let svg = svg(&[panel(), panel()]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 6);
        assert!(svg.contains("Time &lt;of> it") && svg.ends_with("</svg>\n"));
    }
}
