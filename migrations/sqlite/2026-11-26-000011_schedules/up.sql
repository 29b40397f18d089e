-- A schedule starts reruns of a campaign. It stays when the campaign is deleted, and is refused then.
CREATE TABLE schedules (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    name TEXT NOT NULL,
    -- Either a pattern or a single time.
    cron TEXT,
    at INTEGER,
    time_zone TEXT NOT NULL,
    -- Null: the group of the current run.
    customer_group_id BLOB,
    reuse_from TEXT NOT NULL,
    condition TEXT NOT NULL CHECK (condition IN ('always', 'group_changed', 'new_segments')),
    overlap TEXT NOT NULL CHECK (overlap IN ('skip', 'wait', 'replace')),
    catch_up_seconds INTEGER NOT NULL CHECK (catch_up_seconds >= 0),
    jitter_seconds INTEGER NOT NULL CHECK (jitter_seconds >= 0),
    ends_at INTEGER,
    status TEXT NOT NULL CHECK (status IN ('active', 'paused', 'ended')),
    note TEXT,
    -- The first time without a firing, and when it is due with its delay.
    next_time INTEGER,
    due_at INTEGER,
    -- The firing that waits for the campaign to be published.
    waiting_for INTEGER,
    waiting_triggered INTEGER,
    refusals INTEGER NOT NULL DEFAULT 0 CHECK (refusals >= 0),
    -- A server that looks at it keeps others away until then.
    lease_until INTEGER,
    version INTEGER NOT NULL DEFAULT 1,
    -- The creator, for whom reruns are started.
    created_by BLOB NOT NULL,
    created_by_name TEXT,
    role_code TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, id),
    CHECK ((cron IS NULL) <> (at IS NULL)),
    CHECK ((waiting_for IS NULL) = (waiting_triggered IS NULL)),
    CHECK (due_at IS NULL OR (status = 'active' AND next_time IS NOT NULL)),
    FOREIGN KEY (account_id, customer_group_id) REFERENCES customer_groups (account_id, id)
) STRICT;

CREATE INDEX schedules_by_creation ON schedules (account_id, created_at, id);
CREATE INDEX schedules_due ON schedules (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX schedules_waiting ON schedules (waiting_for) WHERE waiting_for IS NOT NULL;
CREATE INDEX schedules_by_group ON schedules (account_id, customer_group_id)
    WHERE customer_group_id IS NOT NULL;

-- What became of each time. The key is what makes every time fire once, however many servers run.
CREATE TABLE schedule_firings (
    account_id BLOB NOT NULL,
    schedule_id BLOB NOT NULL,
    -- The time before its delay.
    scheduled_for INTEGER NOT NULL,
    -- Whether a person triggered it.
    triggered INTEGER NOT NULL,
    fired_at INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN
        ('started', 'skipped_unchanged', 'skipped_overlap', 'waiting', 'missed', 'refused')),
    run_number INTEGER,
    reason TEXT,
    PRIMARY KEY (account_id, schedule_id, scheduled_for, triggered),
    CHECK ((outcome = 'started') = (run_number IS NOT NULL)),
    FOREIGN KEY (account_id, schedule_id) REFERENCES schedules (account_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Lists of one outcome.
CREATE INDEX schedule_firings_by_outcome
    ON schedule_firings (account_id, schedule_id, outcome, scheduled_for, triggered);

-- The schedule that started a run.
ALTER TABLE runs ADD COLUMN schedule_id BLOB;
