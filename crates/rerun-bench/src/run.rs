//! One run of the benchmark.

use std::fs::{self, File};
use std::io::BufWriter;

use crate::bench::Bench;
use crate::catalogue::WORKS;
use crate::compare::{self, Results};
use crate::machine::Machine;
use crate::options::Options;
use crate::{Failure, Outcome, growth, plot, report, say, works};

/// Runs what the options say.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    if options.list {
        for work in WORKS {
            say(&format!("{:<26}{}", work.name, work.about))?;
        }
        return Ok(());
    }
    if !WORKS.iter().any(|work| options.wants(work.name)) {
        return Err(Failure::from(
            "--only names nothing that can be measured: see --list",
        ));
    }
    // Read before hours are spent on what it is to be compared with.
    let earlier = options
        .compare
        .as_ref()
        .map(|path| -> Outcome<Results> { Ok(serde_json::from_slice(&fs::read(path)?)?) })
        .transpose()?;
    let mut bench = Bench::start(options)?;
    let mut results = Results {
        machine: Machine::this(bench.database().to_owned()),
        rows: Vec::new(),
        growth: Vec::new(),
    };
    say(&results.machine.sentence())?;
    if let Some(path) = &options.growth {
        results.growth = growth::measure(&mut bench)?;
        fs::write(path, plot::svg(&results.growth))?;
        say(&report::growth(&results.growth))?;
    } else {
        works::run(&mut bench)?;
        results.rows = bench.take_rows();
        say(&report::table(&results.rows))?;
    }
    if let Some(path) = &options.json {
        serde_json::to_writer_pretty(BufWriter::new(File::create(path)?), &results)?;
    }
    if let Some(earlier) = earlier {
        say(&compare::table(&earlier, &results))?;
    }
    Ok(())
}
