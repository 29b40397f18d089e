//! Benchmarks of the campaign rerun engine.
//!
//! `cargo run --release -p rerun-bench` starts the real server on a throw-away PostgreSQL, fills it
//! through the public API, and drives it over HTTP. In the same run it times the same work, done
//! with bare SQL on the same database: prepared statements, the fewest round trips, no HTTP. That
//! is the floor. Compare the ratios of server and floor: absolute figures depend on the machine.

mod api;
mod bench;
mod catalogue;
mod compare;
mod cpu;
mod database;
mod figures;
mod floor;
mod growth;
mod http;
mod listener;
mod load;
mod machine;
mod options;
mod pgwire;
mod plot;
mod report;
mod run;
mod seed;
mod server;
mod text;
mod works;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::options::Options;

/// Whatever went wrong: a benchmark that cannot go on ends.
type Failure = Box<dyn Error + Send + Sync>;
type Outcome<T> = Result<T, Failure>;

fn main() -> ExitCode {
    let options = Options::parse();
    match run::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            progress(&format!("rerun-bench: {failure}"));
            let mut cause = failure.source();
            while let Some(next) = cause {
                progress(&format!("  because: {next}"));
                cause = next.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// Prints a result.
fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Says what is going on, apart from the results.
fn progress(text: &str) {
    // Nobody reads it when this fails, and the measuring goes on.
    let _unread = writeln!(io::stderr().lock(), "{text}");
}
