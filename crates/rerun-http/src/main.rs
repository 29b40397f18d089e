//! The command `rerun-http`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    rerun_http::cli::run(&arguments, std::env::vars_os().collect())
}
