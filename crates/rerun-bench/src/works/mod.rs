//! What is measured.

mod bulk;
mod deletions;
mod initiate;
mod process;
mod queue;
mod reads;
mod recipients;
mod reuse;
mod webhooks;

pub(crate) use bulk::import_by_server;
pub(crate) use initiate::{Rerun, pair};
pub(crate) use reads::{history_turns, many_runs};

use crate::Outcome;
use crate::bench::{Bench, Turns};
use crate::catalogue::WORKS;
use crate::figures::Turn;

/// How many connections ask at once where it is a rate that is measured.
pub(crate) const CONNECTIONS: usize = 16;

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
    (
        &["preview-10k-1m-rules", "initiate-10k-1m-rules"],
        reuse::with_rules,
    ),
    (&["suggestions-1k-of-10k"], reuse::suggestions),
    (
        &["recipients-1m-100", "recipients-1m-10k"],
        recipients::recipients,
    ),
    (&["import-1m"], bulk::import),
    (&["reads-beside-deletions"], deletions::deletions),
    (&["initiate-10k-webhooks"], webhooks::initiate),
    (
        &[
            "deliveries-beside-hanging",
            "deliveries-beside-hanging-account",
        ],
        webhooks::hanging,
    ),
    (
        &["queue-10-beside-100k", "queue-10-beside-100k-model"],
        queue::queue,
    ),
    (&["memory-idle", "memory-loaded"], process::memory),
];

/// Turns of a work that bare SQL does not do.
fn only_server(server: Vec<Turn>) -> Turns {
    Turns {
        server,
        ..Turns::default()
    }
}

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
