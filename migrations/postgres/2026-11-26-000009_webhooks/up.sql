-- Where other systems want their events to be sent. Their secrets are derived from the number, and
-- stored nowhere. `cursor_seq` is how far the webhook is in its account's log. A deleted webhook
-- keeps its row until nothing refers to it.
CREATE TABLE webhooks (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    url text NOT NULL,
    types text,
    campaign_id uuid,
    description text,
    ordered boolean NOT NULL,
    disabled_reason text CHECK (disabled_reason IN ('requested', 'gone', 'failing')),
    failing_since timestamptz,
    secret_number integer NOT NULL CHECK (secret_number >= 1),
    previous_secret_until timestamptz,
    cursor_seq bigint NOT NULL CHECK (cursor_seq >= 0),
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (account_id, id)
);

CREATE INDEX webhooks_by_creation ON webhooks (account_id, created_at, id)
    WHERE deleted_at IS NULL;
CREATE INDEX webhooks_to_sweep ON webhooks (account_id, id) WHERE deleted_at IS NOT NULL;

-- An event on its way to a webhook: the entry of the log is the event. What waits has a due time,
-- unless its webhook is disabled. `attempts` are those since it was queued, `tried` all of them.
-- `set_at` is when the due time was set, null for what was due at once: if that time is later than
-- now, the clock was set back.
CREATE TABLE webhook_deliveries (
    account_id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    seq bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    replayed boolean NOT NULL,
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    tried integer NOT NULL DEFAULT 0 CHECK (tried >= attempts),
    due_at timestamptz,
    set_at timestamptz,
    lease_id uuid,
    ended_at timestamptz,
    PRIMARY KEY (account_id, webhook_id, seq),
    FOREIGN KEY (account_id, webhook_id) REFERENCES webhooks (account_id, id),
    FOREIGN KEY (account_id, seq) REFERENCES audit_entries (account_id, seq),
    CHECK (state = 'pending' OR (due_at IS NULL AND lease_id IS NULL AND ended_at IS NOT NULL)),
    CHECK (lease_id IS NULL OR due_at IS NOT NULL)
);

CREATE INDEX webhook_deliveries_by_state
    ON webhook_deliveries (account_id, webhook_id, state, seq);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (account_id, due_at)
    WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_due_of_one
    ON webhook_deliveries (account_id, webhook_id, due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_by_setting
    ON webhook_deliveries (account_id, (coalesce(set_at, due_at))) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_by_lease ON webhook_deliveries (lease_id)
    WHERE lease_id IS NOT NULL;
CREATE INDEX webhook_deliveries_on_their_way ON webhook_deliveries (account_id, webhook_id)
    WHERE lease_id IS NOT NULL;
CREATE INDEX webhook_deliveries_by_end ON webhook_deliveries (ended_at)
    WHERE ended_at IS NOT NULL;

-- How each attempt at a delivery ended.
CREATE TABLE webhook_attempts (
    account_id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    seq bigint NOT NULL,
    no integer NOT NULL CHECK (no >= 1),
    at timestamptz NOT NULL,
    status integer,
    duration_ms bigint NOT NULL CHECK (duration_ms >= 0),
    error text,
    PRIMARY KEY (account_id, webhook_id, seq, no),
    FOREIGN KEY (account_id, webhook_id, seq)
        REFERENCES webhook_deliveries (account_id, webhook_id, seq) ON DELETE CASCADE
);

CREATE INDEX webhook_attempts_by_time ON webhook_attempts (at);

-- Without statistics of the account, one that is new is planned for like all others.
ALTER TABLE webhooks ALTER COLUMN account_id SET STATISTICS 0;
ALTER TABLE webhook_deliveries ALTER COLUMN account_id SET STATISTICS 0;
ALTER TABLE webhook_attempts ALTER COLUMN account_id SET STATISTICS 0;
