//! Processor time and memory of processes, as Linux reports them. On other systems both are unknown.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use crate::Outcome;
use crate::figures::{Cpu, Timed, Turn};

/// Reads the processor time of a server and its database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    /// The server's process.
    pub(crate) server: u32,
    /// The process whose children serve the database's connections, when it is on this machine.
    pub(crate) postmaster: Option<u32>,
}

struct Reading {
    /// By thread: those that have ended cannot be asked any more.
    server: Option<HashMap<u32, Duration>>,
    database: Option<Duration>,
}

impl Meter {
    /// Does something and answers what it cost.
    pub(crate) fn turn(&self, work: impl FnOnce() -> Outcome<Timed>) -> Outcome<Turn> {
        let before = self.read();
        let timed = work()?;
        let after = self.read();
        let server = before.server.zip(after.server).map(|(before, after)| {
            let used = |(thread, now): (u32, Duration)| {
                now.saturating_sub(before.get(&thread).copied().unwrap_or_default())
            };
            after.into_iter().map(used).sum()
        });
        let database = before
            .database
            .zip(after.database)
            .map(|(before, after)| after.saturating_sub(before));
        Ok(Turn {
            timed,
            cpu: Cpu { server, database },
        })
    }

    fn read(&self) -> Reading {
        Reading {
            server: threads(self.server),
            database: self.postmaster.and_then(family),
        }
    }
}

/// The processor time of each thread of a process.
fn threads(process: u32) -> Option<HashMap<u32, Duration>> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let times: HashMap<u32, Duration> = threads
        .flatten()
        .filter_map(|thread| {
            let id = thread.file_name().to_str()?.parse().ok()?;
            Some((id, run_time(&format!("/proc/{process}/task/{id}"))?))
        })
        .collect();
    (!times.is_empty()).then_some(times)
}

/// The time on a processor, to the nanosecond; that of `stat` has a resolution of 10 ms.
fn run_time(folder: &str) -> Option<Duration> {
    let text = fs::read_to_string(format!("{folder}/schedstat")).ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// The processor time of a process of one thread and of its children, those that have ended
/// included.
fn family(parent: u32) -> Option<Duration> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let living: Duration = children
        .split_whitespace()
        .filter_map(|child| run_time(&format!("/proc/{child}")))
        .sum();
    Some(run_time(&format!("/proc/{parent}"))? + living + ended_children(parent)?)
}

fn ended_children(parent: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{parent}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after it begin with the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(
        (ticks(16)? + ticks(17)?) * 1000 / per_second,
    ))
}

/// The parent of a process that is one of PostgreSQL's.
pub(crate) fn postmaster_of(backend: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{backend}/stat")).ok()?;
    let (name, fields) = stat.rsplit_once(')')?;
    name.contains("postgres")
        .then(|| fields.split_whitespace().nth(1)?.parse().ok())
        .flatten()
}

/// A line of a process's status in kB, as MB.
fn memory(process: u32, line: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))?;
    let kilobytes: u32 = line.split_whitespace().next()?.parse().ok()?;
    Some(f64::from(kilobytes) / 1024.0)
}

/// The memory that a process has now, in MB.
pub(crate) fn memory_now(process: u32) -> Option<f64> {
    memory(process, "VmRSS")
}

/// The most memory that a process had since [`forget_peak`], in MB.
pub(crate) fn memory_peak(process: u32) -> Option<f64> {
    memory(process, "VmHWM")
}

/// Makes the memory that a process has now its peak.
pub(crate) fn forget_peak(process: u32) {
    // Where it cannot be done the peak is that of the process's life, which is no less true.
    let _kept = fs::write(format!("/proc/{process}/clear_refs"), "5");
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_memory_and_processor_time() {
        let this = std::process::id();
        assert!(memory_now(this).unwrap() > 0.5);
        assert!(memory_peak(this).unwrap() >= memory_now(this).unwrap() / 2.0);
        assert!(!threads(this).unwrap().is_empty());
        assert!(family(this).is_some());
        assert_eq!(postmaster_of(this), None);
    }
}
