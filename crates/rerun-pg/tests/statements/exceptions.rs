use super::rules::Rule::{self, Account, Function, Insert, Lock};

/// Which rule, a part of the statement, and why the statement breaks the rule.
pub(crate) const EXCEPTIONS: &[(Rule, &str, &str)] = &[
    (
        Account,
        "WITH RECURSIVE accounts AS ( (SELECT account_id FROM generation_tasks",
        ACCOUNTS,
    ),
    (
        Account,
        "WITH RECURSIVE accounts AS ( (SELECT account_id FROM webhook_deliveries",
        ACCOUNTS,
    ),
    (
        Account,
        "SELECT DISTINCT account_id FROM changed_groups",
        ACCOUNTS,
    ),
    (
        Account,
        "SELECT DISTINCT account_id AS id FROM customer_groups",
        ACCOUNTS,
    ),
    (
        Account,
        "SELECT DISTINCT account_id AS id FROM deleted_campaigns",
        ACCOUNTS,
    ),
    (
        Account,
        "SELECT DISTINCT w.account_id FROM webhooks w",
        ACCOUNTS,
    ),
    (
        Account,
        "SELECT h.account_id FROM audit_heads h WHERE h.account_id",
        ACCOUNTS,
    ),
    (
        Account,
        "SELECT account_id FROM audit_heads UNION SELECT account_id FROM audit_entries",
        ACCOUNTS,
    ),
    (
        Account,
        "SELECT account_id, seq FROM audit_heads WHERE account_id = ANY(?)",
        "It looks at several accounts at once, to find those with new events.",
    ),
    (
        Account,
        "FROM (SELECT count(*) FROM (SELECT FROM audit_heads LIMIT 1) AS one) AS schema",
        "It checks that the table is there.",
    ),
    (
        Account,
        "FROM (SELECT 1 FROM generation_tasks LIMIT",
        METRIC,
    ),
    (
        Account,
        "SELECT due_at FROM schedules WHERE due_at <= ? ORDER BY due_at LIMIT 1",
        METRIC,
    ),
    (
        Account,
        "SELECT min(e.created_at) FROM audit_heads h",
        METRIC,
    ),
    (
        Account,
        "UPDATE generation_tasks SET due_at = ?, set_at = ? WHERE lease_id = ?",
        LEASE,
    ),
    (
        Account,
        "UPDATE generation_tasks SET lease_id = NULL, due_at = ?, set_at = NULL WHERE lease_id = ?",
        LEASE,
    ),
    (
        Account,
        "UPDATE webhook_deliveries SET due_at = ?, set_at = ? WHERE lease_id = ?",
        LEASE,
    ),
    (
        Account,
        "UPDATE webhook_deliveries SET lease_id = NULL, due_at = ?, set_at = NULL, attempts = attempts - 1",
        LEASE,
    ),
    (
        Account,
        "DELETE FROM idempotency_keys WHERE created_at < ?",
        SWEEP,
    ),
    (
        Account,
        "DELETE FROM webhook_attempts WHERE (account_id, webhook_id, seq, no) IN",
        SWEEP,
    ),
    (
        Account,
        "DELETE FROM webhook_deliveries WHERE (account_id, webhook_id, seq) IN",
        SWEEP,
    ),
    (
        Account,
        "DELETE FROM webhooks WHERE deleted_at IS NOT NULL",
        SWEEP,
    ),
    (
        Account,
        "UPDATE schedules SET lease_until = ? WHERE ctid = ANY(ARRAY(",
        SCHEDULES,
    ),
    (
        Lock,
        "UPDATE schedules SET lease_until = ? WHERE ctid = ANY(ARRAY(",
        SCHEDULES,
    ),
    (
        Account,
        "WITH due AS MATERIALIZED (SELECT ctid AS place",
        PLACES,
    ),
    (Account, "WITH results AS (SELECT * FROM unnest(", PLACES),
    (Insert, "WITH results AS (SELECT * FROM unnest(", PLACES),
    (Function, "WITH results AS (SELECT * FROM unnest(", PLACES),
    (Account, "UPDATE messages m SET error = r.error", PLACES),
    (Function, "UPDATE messages m SET error = r.error", PLACES),
    (
        Account,
        "UPDATE generation_tasks t SET lease_id = NULL, due_at = r.at",
        PLACES,
    ),
    (
        Function,
        "UPDATE generation_tasks t SET lease_id = NULL, due_at = r.at",
        PLACES,
    ),
    (Account, "WITH spelled AS (SELECT m.place", PLACES),
    (
        Function,
        "FROM unnest(?::uuid[]) WITH ORDINALITY AS r(id, nth)",
        KEYS,
    ),
    (
        Function,
        "FROM unnest(?::uuid[]) WITH ORDINALITY AS w(id, place)",
        KEYS,
    ),
    (
        Function,
        "FROM unnest(?::uuid[]) AS w(id) CROSS JOIN LATERAL (SELECT campaign_id, (suggestion::json",
        KEYS,
    ),
    (
        Function,
        "(SELECT DISTINCT unnest(?::bytea[]) AS key) k",
        KEYS,
    ),
    (Function, "SELECT ?, ?, p.no, p.key, gs.attributes", KEYS),
    (
        Function,
        "SELECT ?, p.id, m.campaign_id, ?, m.segment_no",
        KEYS,
    ),
    (Function, "UPDATE segments s SET key = p.key", KEYS),
    (
        Insert,
        "merged AS ( INSERT INTO customers AS c",
        "An import counts in the database what it did: its rows may be a million.",
    ),
];

const ACCOUNTS: &str =
    "It finds the accounts that have work. What does the work is for one account.";
const METRIC: &str = "A metric is over all accounts.";
const LEASE: &str = "A lease is not tied to an account, and has an index of its own.";
const SWEEP: &str = "In the background, what is old goes in all accounts, by an index on its age.";
const SCHEDULES: &str = "Servers share the due schedules of all accounts in one statement. A statement for each \
     account would give two servers the same ones.";
const PLACES: &str = "Rows are found once and then by their places alone (ADR 61). With the account as well, a \
     planner with wrong statistics reads all of the account's rows.";
const KEYS: &str = "Each row is looked up by its key (ADR 61). With `= ANY`, a planner with wrong \
     statistics reads all of the account's rows.";

/// An exception that is about no statement any more would let the next one through.
#[test]
fn every_exception_is_about_a_statement_of_the_store() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![crates.join("src"), crates.join("../rerun-diesel/src")];
    let mut sources = String::new();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("a folder of sources") {
            let path = entry.expect("a source").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).expect("a source");
                // As the compiler joins the lines of a text.
                let lines = text.split("\\\n").map(str::trim_start);
                sources.extend(lines);
            }
        }
    }
    let sources = super::plain(&sources);
    for (_, part, reason) in EXCEPTIONS {
        assert!(sources.contains(part), "no statement has: {part}");
        assert!(reason.ends_with('.'), "no reason for: {part}");
    }
}
