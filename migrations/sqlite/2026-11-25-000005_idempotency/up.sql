-- A key belongs to its account, whatever the endpoint. A kept response has ids, numbers and names,
-- never texts of messages.
CREATE TABLE idempotency_keys_of_accounts (
    account_id BLOB NOT NULL,
    endpoint TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    response TEXT NOT NULL CHECK (length(CAST(response AS BLOB)) <= 16384),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, key)
) STRICT;

-- Where two endpoints were given one key, the newer response stays.
INSERT OR REPLACE INTO idempotency_keys_of_accounts
    (account_id, endpoint, key, fingerprint, response, created_at)
SELECT account_id, endpoint, key, fingerprint, response, created_at FROM idempotency_keys
ORDER BY created_at, endpoint;

DROP TABLE idempotency_keys;
ALTER TABLE idempotency_keys_of_accounts RENAME TO idempotency_keys;
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);
