//! Describes the machine that the figures are from.

use std::fs;
use std::thread;

use serde::{Deserialize, Serialize};

/// The machine and the software that was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) system: String,
    pub(crate) database: String,
}

impl Machine {
    pub(crate) fn this(database: String) -> Self {
        Self {
            processor: line("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory: line("/proc/meminfo", "MemTotal").unwrap_or_else(unknown),
            system: fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
                |_unreadable| unknown(),
                |release| format!("Linux {}", release.trim()),
            ),
            database,
        }
    }

    pub(crate) fn sentence(&self) -> String {
        let Self {
            processor,
            cores,
            memory,
            system,
            database,
        } = self;
        format!("{processor}, {cores} cores, {memory}, {system}; {database}")
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn line(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.split_once(':'))?;
    Some(line.1.trim().to_owned())
}
