//! The command `rerun-http`.

use std::process::ExitCode;

// Rows become many small strings, on one thread, which another frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    rerun_http::cli::run(&arguments, std::env::vars_os().collect())
}
