//! Processes of the binary.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::tell;
use crate::wait::until;

/// How much of a log a failed test shows, in lines.
const LOG_SHOWN: usize = 40;

/// The binary, without settings of the test's surroundings.
pub(crate) fn rerun(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rerun-http"));
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy().to_uppercase();
        // A proxy has no way to the stub.
        if name.starts_with("RERUN_") || name.ends_with("_PROXY") {
            command.env_remove(variable);
        }
    }
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// A process that is killed when the test ends without ending it.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub(crate) fn start(name: &str, mut command: Command) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stderr, log) = (child.stderr.take().unwrap(), Arc::default());
        let lines: Arc<Mutex<Vec<String>>> = Arc::clone(&log);
        // It ends with the process.
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// What follows `what` in the log, if it is there by now.
    pub(crate) fn said(&self, what: &str) -> Option<String> {
        let lines = self.log.lock().unwrap();
        let mut said = lines.iter().filter_map(|line| line.split_once(what));
        said.next().map(|(_, rest)| rest.to_owned())
    }

    /// Waits for a line of the log; answers what follows `what`.
    pub(crate) async fn says(&mut self, what: &str) -> String {
        until(what, async || {
            if let Some(said) = self.said(what) {
                return Some(said);
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended before it said {what}: {ended:?}");
            None
        })
        .await
    }

    /// Waits for an end by itself; answers the exit code and the last line of the log.
    pub(crate) async fn refused(mut self) -> (Option<i32>, String) {
        let code = until("the end of a process", async || {
            self.child.try_wait().unwrap()
        })
        .await;
        let last = until("its last words", async || {
            self.log.lock().unwrap().last().cloned()
        });
        (code.code(), last.await)
    }

    /// How many lines of the log contain `what`.
    pub(crate) fn lines_with(&self, what: &str) -> usize {
        let lines = self.log.lock().unwrap();
        lines.iter().filter(|line| line.contains(what)).count()
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL; the process is gone afterwards.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The line of the log that holds all of this.
    pub(crate) async fn logs(&self, what: &[&str]) -> String {
        until("a line of the log", async || {
            let lines = self.log.lock().unwrap();
            let mut lines = lines.iter();
            lines
                .find(|line| what.iter().all(|what| line.contains(what)))
                .cloned()
        })
        .await
    }

    /// The most memory that the process has held, in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak.unwrap().trim().trim_end_matches(" kB").trim();
        kibibytes.parse::<u64>().unwrap() << 10
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// SIGTERM, without waiting.
    pub(crate) fn tell_to_end(&self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
    }

    /// SIGTERM; answers the exit code.
    pub(crate) async fn terminate(self) -> Option<i32> {
        self.tell_to_end();
        self.ended().await
    }

    /// Waits for the end; answers the exit code.
    pub(crate) async fn ended(mut self) -> Option<i32> {
        let status = until("the end of a process", async || {
            self.child.try_wait().unwrap()
        })
        .await;
        status.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let lines = self.log.lock().unwrap();
            let shown = lines.len().saturating_sub(LOG_SHOWN);
            tell(&format!("{}:\n{}", self.name, lines[shown..].join("\n")));
        }
    }
}
