//! The command `rerun-http`.

use std::process::ExitCode;

// Rows become many small strings on one thread, which another frees. This allocator is
// quick at it, and gives the memory back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    rerun_server::cli::run(&arguments, std::env::vars_os().collect())
}
