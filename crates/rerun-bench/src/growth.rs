//! How costs grow with sizes.

use crate::bench::{Bench, Turns};
use crate::figures::{Figures, Turn};
use crate::plot::{Panel, Series};
use crate::seed::Audience;
use crate::works::{self, Rerun};
use crate::{Outcome, progress};

const SERVER: &str = "server";
const FLOOR: &str = "bare SQL";

/// Measures every size, from the least to the largest.
pub(crate) fn measure(bench: &mut Bench<'_>) -> Outcome<Vec<Panel>> {
    Ok(vec![segments(bench)?, runs(bench)?, customers(bench)?])
}

fn sizes(bench: &Bench<'_>, whole: &[u32]) -> Vec<u32> {
    let mut sizes: Vec<u32> = whole.iter().map(|size| bench.options.size(*size)).collect();
    // Small ones may have shrunk to the same.
    sizes.dedup();
    sizes
}

fn panel(title: &str, x: &str, names: &[&str]) -> Panel {
    let series = |name: &&str| Series {
        name: (*name).to_owned(),
        points: Vec::new(),
    };
    Panel {
        title: title.to_owned(),
        x: x.to_owned(),
        series: names.iter().map(series).collect(),
    }
}

impl Panel {
    fn add(&mut self, name: &str, x: u32, turns: &[Turn]) {
        if turns.is_empty() {
            return;
        }
        let milliseconds = Figures::of(turns, 1).p50_ms;
        if let Some(series) = self.series.iter_mut().find(|series| series.name == name) {
            series.points.push((f64::from(x), milliseconds));
        }
    }

    fn add_both(&mut self, x: u32, turns: &Turns) {
        self.add(SERVER, x, &turns.server);
        self.add(FLOOR, x, &turns.floor);
    }
}

fn segments(bench: &mut Bench<'_>) -> Outcome<Panel> {
    let mut panel = panel(
        "Starting a rerun, every segment matched",
        "segments",
        &[SERVER, FLOOR],
    );
    for segments in sizes(bench, &[100, 1_000, 10_000, 100_000]) {
        progress(&format!("growth: {segments} segments"));
        let mut pair = works::pair(bench, Audience::of_segments(segments))?;
        let turns = pair.measure(bench, Rerun::Kept, 1, bench.options.rounds())?;
        panel.add_both(segments, &turns);
    }
    Ok(panel)
}

fn runs(bench: &mut Bench<'_>) -> Outcome<Panel> {
    let mut panel = panel(
        "A page of 50 runs from the middle of a history",
        "runs",
        &[SERVER, FLOOR],
    );
    for runs in sizes(bench, &[100, 1_000, 10_000]) {
        progress(&format!("growth: {runs} runs"));
        let account = bench.account()?;
        let subject = works::many_runs(&mut bench.api()?, &account, 1, runs)?;
        bench.settle()?;
        let turns = works::history_turns(bench, &subject, 1)?;
        panel.add_both(runs, &turns);
    }
    Ok(panel)
}

fn customers(bench: &mut Bench<'_>) -> Outcome<Panel> {
    const KEPT: &str = "starting a rerun, kept counts";
    const FIRST: &str = "starting a rerun, first time";
    const IMPORT: &str = "import";
    let mut panel = panel(
        "A group of 1,000 segments",
        "customers",
        &[IMPORT, FIRST, KEPT],
    );
    for customers in sizes(bench, &[1_000, 10_000, 100_000, 1_000_000]) {
        progress(&format!("growth: {customers} customers"));
        let audience = Audience {
            customers,
            segments: bench.options.size(1_000).min(customers),
        };
        let imports = imports(bench, audience)?;
        panel.add(IMPORT, customers, &imports);
        let mut pair = works::pair(bench, audience)?;
        for (name, how) in [(KEPT, Rerun::Kept), (FIRST, Rerun::First)] {
            let turns = pair.measure(bench, how, 1, bench.options.rounds())?;
            panel.add(name, customers, &turns.server);
        }
    }
    Ok(panel)
}

fn imports(bench: &mut Bench<'_>, audience: Audience) -> Outcome<Vec<Turn>> {
    let account = bench.account()?;
    let csv = audience.csv();
    (0..bench.options.rounds().min(3))
        .map(|_| works::import_by_server(bench, &account, &csv))
        .collect()
}
