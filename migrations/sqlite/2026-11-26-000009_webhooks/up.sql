-- Where other systems want their events to be sent. Their secrets are derived from the number, and
-- stored nowhere. `cursor_seq` is how far the webhook is in its account's log. A deleted webhook
-- keeps its row until nothing refers to it.
CREATE TABLE webhooks (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL,
    url TEXT NOT NULL,
    types TEXT,
    campaign_id BLOB,
    description TEXT,
    ordered INTEGER NOT NULL CHECK (ordered IN (0, 1)),
    disabled_reason TEXT CHECK (disabled_reason IN ('requested', 'gone', 'failing')),
    failing_since INTEGER,
    secret_number INTEGER NOT NULL CHECK (secret_number >= 1),
    previous_secret_until INTEGER,
    cursor_seq INTEGER NOT NULL CHECK (cursor_seq >= 0),
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    PRIMARY KEY (account_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX webhooks_by_creation ON webhooks (account_id, created_at, id)
    WHERE deleted_at IS NULL;
CREATE INDEX webhooks_to_sweep ON webhooks (account_id, id) WHERE deleted_at IS NOT NULL;

-- An event on its way to a webhook: the entry of the log is the event. What waits has a due time,
-- unless its webhook is disabled. `attempts` are those since it was queued, `tried` all of them.
-- `set_at` is when the due time was set, null for what was due at once: if that time is later than
-- now, the clock was set back.
CREATE TABLE webhook_deliveries (
    account_id BLOB NOT NULL,
    webhook_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    replayed INTEGER NOT NULL CHECK (replayed IN (0, 1)),
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    tried INTEGER NOT NULL DEFAULT 0 CHECK (tried >= attempts),
    due_at INTEGER,
    set_at INTEGER,
    lease_id BLOB,
    ended_at INTEGER,
    PRIMARY KEY (account_id, webhook_id, seq),
    FOREIGN KEY (account_id, webhook_id) REFERENCES webhooks (account_id, id),
    FOREIGN KEY (account_id, seq) REFERENCES audit_entries (account_id, seq),
    CHECK (state = 'pending' OR (due_at IS NULL AND lease_id IS NULL AND ended_at IS NOT NULL)),
    CHECK (lease_id IS NULL OR due_at IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_deliveries_by_state
    ON webhook_deliveries (account_id, webhook_id, state, seq);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (account_id, due_at)
    WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_due_of_one
    ON webhook_deliveries (account_id, webhook_id, due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_by_setting
    ON webhook_deliveries (account_id, coalesce(set_at, due_at)) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_by_lease ON webhook_deliveries (lease_id)
    WHERE lease_id IS NOT NULL;
CREATE INDEX webhook_deliveries_on_their_way ON webhook_deliveries (account_id, webhook_id)
    WHERE lease_id IS NOT NULL;
CREATE INDEX webhook_deliveries_by_end ON webhook_deliveries (ended_at)
    WHERE ended_at IS NOT NULL;

-- How each attempt at a delivery ended.
CREATE TABLE webhook_attempts (
    account_id BLOB NOT NULL,
    webhook_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    no INTEGER NOT NULL CHECK (no >= 1),
    at INTEGER NOT NULL,
    status INTEGER,
    duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
    error TEXT,
    PRIMARY KEY (account_id, webhook_id, seq, no),
    FOREIGN KEY (account_id, webhook_id, seq)
        REFERENCES webhook_deliveries (account_id, webhook_id, seq) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_attempts_by_time ON webhook_attempts (at);
