use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::HarnessError;

/// Reads a process id, line by line as it changes (0: none). The end of its input is the end of
/// this process, however that came about, even by SIGKILL: the kernel closes the pipe. Then it ends
/// that process at once, waits for it (with a bound: where nobody reaps orphans, an ended process
/// stays visible), and removes the folder.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
process=0
while read -r line; do process=$line; done
if [ "$process" -gt 0 ] && kill -QUIT "$process"; then
    tries=0
    while [ "$tries" -lt 100 ] && kill -0 "$process"; do
        sleep 0.1
        tries=$((tries + 1))
    done
fi
rm -rf -- "$1"
"#;

/// A process that outlives this one by a moment, to clean up after it.
///
/// It does what `Drop` cannot: a cluster in a `static` is never dropped, nor is anything when the
/// process is killed. A parent-death signal would end the server too, but is sent when the
/// *thread* that started it ends, exists on Linux alone, and leaves the folder.
#[derive(Debug)]
pub(crate) struct Watchdog {
    process: Child,
}

impl Watchdog {
    /// Watches over `folder`, and over no process yet.
    pub(crate) fn start(folder: &Path) -> Result<Self, HarnessError> {
        let process = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of what a terminal or a job runner sends to this process's group.
            .process_group(0)
            .spawn()
            .map_err(HarnessError::io("start the watchdog"))?;
        Ok(Self { process })
    }

    /// Tells which process uses the folder now.
    pub(crate) fn watch(&mut self, pid: Option<u32>) -> Result<(), HarnessError> {
        let Some(input) = &mut self.process.stdin else {
            return Ok(());
        };
        writeln!(input, "{}", pid.unwrap_or(0)).map_err(HarnessError::io("tell the watchdog"))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // A watchdog that somebody ended is no reason to fail: the cluster cleans up as well.
        let _ = self.process.wait();
    }
}
