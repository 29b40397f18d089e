use super::rules::Rule::{self, Account, Function, Insert};

/// Which rule, a part of the statement, and why the statement breaks the rule.
pub(crate) const EXCEPTIONS: &[(Rule, &str, &str)] = &[
    (
        Account,
        "(SELECT DISTINCT account_id FROM runs WHERE completed_at IS NULL",
        ACCOUNTS,
    ),
    (
        Account,
        "(SELECT DISTINCT account_id FROM webhooks WHERE deleted_at IS NULL",
        ACCOUNTS,
    ),
    (
        Account,
        "SELECT min(since) AS since, account_id, count(*) AS schedules FROM ( SELECT s.account_id, s.",
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
        "SELECT DISTINCT deleted_campaigns.account_id FROM deleted_campaigns",
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
        "SELECT audit_heads.account_id, audit_heads.seq FROM audit_heads WHERE (audit_heads.account_id = ANY(?))",
        "It looks at several accounts at once, to find those with new events.",
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
        "DELETE FROM idempotency_keys WHERE (idempotency_keys.created_at < ?)",
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
        "UPDATE schedules l SET lease_until = ? WHERE l.ctid = ANY(ARRAY(",
        PLACES,
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
const PLACES: &str = "Rows are found once and then by their places alone (ADR 61). With the account as well, a \
     planner with wrong statistics reads all of the account's rows.";
const KEYS: &str = "Each row is looked up by its key (ADR 61). With `= ANY`, a planner with wrong \
     statistics reads all of the account's rows.";
