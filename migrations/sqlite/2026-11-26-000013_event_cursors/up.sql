-- How far each account's log is published in a stream of a message broker. Whoever publishes for the
-- account holds the lease until `leased_until`. If `leased_at` is later than now, the clock was set
-- back, and the lease counts no more.
CREATE TABLE event_cursors (
    account_id BLOB NOT NULL,
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL CHECK (seq >= 0),
    lease_id BLOB,
    leased_at INTEGER,
    leased_until INTEGER,
    PRIMARY KEY (account_id, stream),
    FOREIGN KEY (account_id) REFERENCES audit_heads (account_id),
    CHECK ((lease_id IS NULL) = (leased_at IS NULL)),
    CHECK ((lease_id IS NULL) = (leased_until IS NULL))
) STRICT, WITHOUT ROWID;
