//! What is measured.

mod bulk;
mod initiate;
mod process;
mod reads;

pub(crate) use bulk::import_by_server;
pub(crate) use initiate::{Rerun, pair};
pub(crate) use reads::{history_turns, many_runs};

use crate::Outcome;
use crate::bench::Bench;

/// How many connections ask at once where it is a rate that is measured.
pub(crate) const CONNECTIONS: usize = 16;

/// A row of the table.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) goal: &'static str,
}

const fn work(name: &'static str, about: &'static str, goal: &'static str) -> Work {
    Work { name, about, goal }
}

/// Every row, in the order of the table.
pub(crate) const WORKS: &[Work] = &[
    work(
        "history",
        "history of 20 runs, 16 connections",
        "4,000/s, p99 15 ms, CPU 2.2 ×",
    ),
    work(
        "messages",
        "page of 50 messages, 16 connections",
        "4,000/s, p99 15 ms, CPU 2.5 ×",
    ),
    work(
        "messages-100k-first",
        "first page of 100 of 100,000 messages",
        "2,500/s",
    ),
    work(
        "messages-100k-deep",
        "deep page of 100 of 100,000 messages",
        "2,500/s, 1.1 × of the first",
    ),
    work("history-deep", "deep page of 50 of 10,000 runs", "3,000/s"),
    work(
        "messages-1k-accounts",
        "page of 50 messages of 1,000 accounts in turn",
        "",
    ),
    work(
        "initiate-50-c1",
        "initiate, 50 segments, 1 connection",
        "2.2 ms",
    ),
    work(
        "initiate-50-c16",
        "initiate, 50 segments, 16 connections, 16 accounts",
        "600/s",
    ),
    work(
        "initiate-50-c16-account",
        "initiate, 50 segments, 16 connections, 1 account",
        "",
    ),
    work(
        "initiate-50-1k-accounts",
        "initiate, 50 segments, 16 connections, 1,000 accounts",
        "",
    ),
    work(
        "initiate-1k-kept",
        "initiate, 1,000 segments of 100,000, kept counts",
        "22 ms",
    ),
    work(
        "initiate-1k-first",
        "initiate, 1,000 segments of 100,000, first time",
        "60 ms",
    ),
    work(
        "initiate-10k-kept",
        "initiate, 10,000 segments of 20,000, kept counts",
        "140 ms",
    ),
    work(
        "initiate-10k-first",
        "initiate, 10,000 segments of 20,000, first time",
        "",
    ),
    work(
        "initiate-10k-1m-kept",
        "initiate, 10,000 segments of 1,000,000, kept counts",
        "145 ms",
    ),
    work(
        "initiate-10k-1m-first",
        "initiate, 10,000 segments of 1,000,000, first time",
        "450 ms",
    ),
    work(
        "preview-10k-1m",
        "preview, first page, 10,000 segments of 1,000,000",
        "30 ms",
    ),
    work(
        "import-1m",
        "import of 1,000,000 rows, as rows",
        "8 s, 64 MB",
    ),
    work(
        "generate-10k",
        "generation of 10,000 messages, as messages",
        "20,000/s",
    ),
    work(
        "export-100k",
        "export of 100,000 messages, as messages",
        "100,000/s, 64 MB",
    ),
    work("memory-idle", "the server's memory, idle", "40 MB"),
    work(
        "memory-loaded",
        "the server's memory, after a mixed load",
        "80 MB, not growing",
    ),
    work(
        "cold-start",
        "start of the server, schema in place",
        "100 ms",
    ),
];

pub(crate) fn find(name: &str) -> Option<&'static Work> {
    WORKS.iter().find(|work| work.name == name)
}

pub(crate) fn about(name: &str) -> String {
    find(name).map_or(name, |work| work.about).to_owned()
}

/// Works that start from the same state, and so are measured together.
type Family = (&'static [&'static str], fn(&mut Bench<'_>) -> Outcome<()>);

const FAMILIES: &[Family] = &[
    (&["cold-start"], process::cold_start),
    (&["history"], reads::history),
    (&["messages"], reads::messages),
    (&["initiate-50-c1", "initiate-50-c16"], initiate::small),
    (&["initiate-50-c16-account"], initiate::one_account),
    (
        &["messages-1k-accounts", "initiate-50-1k-accounts"],
        initiate::many_accounts,
    ),
    (&["initiate-1k-kept", "initiate-1k-first"], initiate::medium),
    (
        &["initiate-10k-kept", "initiate-10k-first"],
        initiate::large,
    ),
    (&["generate-10k"], bulk::generate),
    (&["history-deep"], reads::history_deep),
    (
        &["messages-100k-first", "messages-100k-deep", "export-100k"],
        reads::messages_100k,
    ),
    (
        &[
            "initiate-10k-1m-kept",
            "initiate-10k-1m-first",
            "preview-10k-1m",
        ],
        initiate::huge,
    ),
    (&["import-1m"], bulk::import),
    (&["memory-idle", "memory-loaded"], process::memory),
];

/// Measures what the options choose.
pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    for (names, run) in FAMILIES {
        if names.iter().any(|name| bench.wants(name)) {
            run(bench)?;
        }
    }
    bench.sort(|row| WORKS.iter().position(|work| work.name == row.name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_work_is_in_one_family() {
        let mut named: Vec<&str> = FAMILIES
            .iter()
            .flat_map(|(names, _)| names.iter().copied())
            .collect();
        let mut works: Vec<&str> = WORKS.iter().map(|work| work.name).collect();
        named.sort_unstable();
        works.sort_unstable();
        assert_eq!(named, works);
    }
}
