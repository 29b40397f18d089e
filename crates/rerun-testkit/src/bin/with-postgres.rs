//! `with-postgres -- <command> [arguments]`: runs a command with a throw-away PostgreSQL server.
//!
//! The command finds the server's URL in `RERUN_TEST_DATABASE_URL`. If that variable is set already,
//! it stays as it is and no server is started. Exits as the command does: with its code, or with 128
//! plus the number of the signal that ended it.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};

use rerun_testkit::{BoxError, PgCluster, SERVER_VARIABLE};

/// As a shell has it: the command could not be run at all.
const CANNOT_RUN: u8 = 127;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    run(&arguments).unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "with-postgres: {error}");
        ExitCode::from(CANNOT_RUN)
    })
}

fn run(arguments: &[OsString]) -> Result<ExitCode, BoxError> {
    let after_dashes = match arguments {
        [first, rest @ ..] if first == "--" => rest,
        all => all,
    };
    let [program, rest @ ..] = after_dashes else {
        return Err("usage: with-postgres -- <command> [arguments]".into());
    };
    let mut command = Command::new(program);
    command.args(rest);
    let named = env::var_os(SERVER_VARIABLE).is_some_and(|url| !url.is_empty());
    let cluster = if named {
        None
    } else {
        Some(PgCluster::start()?)
    };
    if let Some(cluster) = &cluster {
        command.env(SERVER_VARIABLE, cluster.url("postgres"));
    }
    let status = command
        .status()
        .map_err(|error| format!("cannot run {}: {error}", program.to_string_lossy()))?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(
        code.and_then(|code| u8::try_from(code).ok())
            .unwrap_or(u8::MAX),
    ))
}
