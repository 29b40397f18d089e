//! What can be measured, by name.

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
        "preview-10k-1m-rules",
        "preview with rules, 10,000 segments of 1,000,000, first time",
        "1.3 × of without rules",
    ),
    work(
        "initiate-10k-1m-rules",
        "initiate with rules, 10,000 segments of 1,000,000, first time",
        "1.3 × of without rules",
    ),
    work(
        "suggestions-1k-of-10k",
        "initiate, 1,000 new segments beside 10,000 approved",
        "150 ms more than without",
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
    work(
        "recipients-1m-100",
        "recipients of 1,000,000 customers in 100 segments, as rows",
        "200,000/s, flat memory",
    ),
    work(
        "recipients-1m-10k",
        "recipients of 1,000,000 customers in 10,000 segments, as rows",
        "200,000/s, flat memory",
    ),
    work(
        "reads-beside-deletions",
        "reads, 20 runs of 100,000 messages and 1,000,000 customers of another account being deleted",
        "p99 3 × of in quiet",
    ),
    work(
        "initiate-10k-webhooks",
        "initiate, 10,000 segments, 20 webhooks in the account",
        "1.02 × of without",
    ),
    work(
        "deliveries-beside-hanging",
        "event to a webhook, 10,000 pending at one of another account that hangs",
        "p99 1 s",
    ),
    work(
        "deliveries-beside-hanging-account",
        "event to a webhook, 10,000 pending at one of the same account that hangs",
        "p99 1 s",
    ),
    work(
        "queue-10-beside-100k",
        "run of 10 messages, 100,000 of another account queued",
        "2 × of alone",
    ),
    work(
        "queue-10-beside-100k-model",
        "the same, by a language model that takes 100 ms",
        "2 × of alone",
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
