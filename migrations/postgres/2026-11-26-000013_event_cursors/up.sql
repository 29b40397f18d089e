-- How far each account's log is published in a stream of a message broker. Whoever publishes for the
-- account holds the lease until `leased_until`. If `leased_at` is later than now, the clock was set
-- back, and the lease counts no more.
CREATE TABLE event_cursors (
    account_id uuid NOT NULL,
    stream text NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 0),
    lease_id uuid,
    leased_at timestamptz,
    leased_until timestamptz,
    PRIMARY KEY (account_id, stream),
    FOREIGN KEY (account_id) REFERENCES audit_heads (account_id),
    CHECK ((lease_id IS NULL) = (leased_at IS NULL)),
    CHECK ((lease_id IS NULL) = (leased_until IS NULL))
);

-- Without statistics of the account, one that is new is planned for like all others.
ALTER TABLE event_cursors ALTER COLUMN account_id SET STATISTICS 0;
