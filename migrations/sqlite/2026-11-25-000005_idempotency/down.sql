CREATE TABLE idempotency_keys_of_endpoints (
    account_id BLOB NOT NULL,
    endpoint TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    response TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, endpoint, key)
) STRICT;

INSERT INTO idempotency_keys_of_endpoints
    (account_id, endpoint, key, fingerprint, response, created_at)
SELECT account_id, endpoint, key, fingerprint, response, created_at FROM idempotency_keys;

DROP TABLE idempotency_keys;
ALTER TABLE idempotency_keys_of_endpoints RENAME TO idempotency_keys;
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);
