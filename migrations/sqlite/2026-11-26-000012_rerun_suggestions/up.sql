-- Whether an event says when an import makes a rerun worthwhile, and what the last such event was
-- about: a hash of the segments that came and went. Null when nothing would change.
ALTER TABLE campaigns ADD COLUMN suggest_reruns INTEGER NOT NULL DEFAULT 1
    CHECK (suggest_reruns IN (0, 1));
ALTER TABLE campaigns ADD COLUMN suggested BLOB CHECK (length(suggested) = 32);

-- Groups that imports changed, until the reruns of the campaigns that have them were previewed.
-- Each import counts up `imports` and moves `due_at`, but not beyond `latest_at`. A preview that
-- somebody is at work on has a lease.
CREATE TABLE changed_groups (
    account_id BLOB NOT NULL,
    group_id BLOB NOT NULL,
    imports INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    latest_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    lease_id BLOB,
    lease_until INTEGER,
    PRIMARY KEY (account_id, group_id),
    FOREIGN KEY (account_id, group_id) REFERENCES customer_groups (account_id, id),
    CHECK ((lease_id IS NULL) = (lease_until IS NULL))
) STRICT, WITHOUT ROWID;
