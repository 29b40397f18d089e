//! The server that is measured, as a process of its own.

use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::api::{API_CODE, JWT_SECRET};
use crate::{Failure, Outcome, http};

const START_LIMIT: Duration = Duration::from_secs(30);
const START_POLL: Duration = Duration::from_millis(1);
const ANNOUNCED: &str = "listening on http://";

/// How to start a server.
pub(crate) struct Launcher {
    program: PathBuf,
    database_url: String,
    settings: Vec<(String, String)>,
    folder: TempDir,
}

/// A server that is running. It is ended when dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
    /// From the start of the process to the first request that was answered.
    pub(crate) started_in: Duration,
}

impl Launcher {
    /// # Errors
    /// When the server has not been built.
    pub(crate) fn new(database_url: String, settings: Vec<(String, String)>) -> Outcome<Self> {
        let program = env::current_exe()?.with_file_name("rerun-http");
        if !program.is_file() {
            let profile = if cfg!(debug_assertions) {
                ""
            } else {
                "--release "
            };
            return Err(format!(
                "there is no {}: build the server first, with cargo build {profile}-p rerun-server",
                program.display()
            )
            .into());
        }
        Ok(Self {
            program,
            database_url,
            settings,
            folder: tempfile::Builder::new().prefix("rerun-bench-").tempdir()?,
        })
    }

    /// Starts a server with some more settings, and waits until it is ready.
    pub(crate) fn start(&self, more: &[(&str, &str)]) -> Outcome<Server> {
        let log_path = self.folder.path().join("server.log");
        let log = File::create(&log_path)?;
        let mut command = Command::new(&self.program);
        for (name, _) in env::vars_os() {
            // What the surroundings set is meant for some other server.
            if name.to_string_lossy().starts_with("RERUN_") {
                command.env_remove(name);
            }
        }
        command
            .arg("serve")
            .current_dir(self.folder.path())
            .env("RERUN_BIND", "127.0.0.1:0")
            .env("RERUN_DATABASE_URL", &self.database_url)
            .env("RERUN_JWT_SECRET", JWT_SECRET)
            .env("RERUN_API_CODE", API_CODE)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let begun = Instant::now();
        let mut process = command.spawn()?;
        while begun.elapsed() < START_LIMIT {
            let text = fs::read_to_string(&log_path)?;
            if let Some(status) = process.try_wait()? {
                return Err(format!("the server ended ({status}): {text}").into());
            }
            if let Some(address) = announced(&text)
                && http::answers(address, "/health/ready")
            {
                return Ok(Server {
                    process,
                    address,
                    started_in: begun.elapsed(),
                });
            }
            thread::sleep(START_POLL);
        }
        process.kill()?;
        process.wait()?;
        Err(Failure::from("the server did not become ready"))
    }
}

/// The address in the line that says where the server listens.
fn announced(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once(ANNOUNCED)?;
    // Without its end the line may still be being written.
    let (rest, _) = rest.split_once('\n')?;
    rest.split_whitespace().next()?.parse().ok()
}

impl Server {
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first, so that it gives its leases back; one that is gone already is fine.
        let _gone = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ended = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_when_its_line_is_whole() {
        let line = "2026-01-01T00:00:00Z  INFO rerun_http: listening on http://127.0.0.1:4321";
        assert_eq!(announced(line), None);
        let expected = "127.0.0.1:4321".parse().unwrap();
        assert_eq!(announced(&format!("x\n{line}\ny")), Some(expected));
    }
}
