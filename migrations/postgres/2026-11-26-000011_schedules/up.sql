-- A schedule starts reruns of a campaign. It stays when the campaign is deleted, and is refused then.
CREATE TABLE schedules (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    campaign_id uuid NOT NULL,
    name text NOT NULL,
    -- Either a pattern or a single time.
    cron text,
    at timestamptz,
    time_zone text NOT NULL,
    -- Null: the group of the current run.
    customer_group_id uuid,
    reuse_from text NOT NULL,
    condition text NOT NULL CHECK (condition IN ('always', 'group_changed', 'new_segments')),
    overlap text NOT NULL CHECK (overlap IN ('skip', 'wait', 'replace')),
    catch_up_seconds integer NOT NULL CHECK (catch_up_seconds >= 0),
    jitter_seconds integer NOT NULL CHECK (jitter_seconds >= 0),
    ends_at timestamptz,
    status text NOT NULL CHECK (status IN ('active', 'paused', 'ended')),
    note text,
    -- The first time without a firing, and when it is due with its delay.
    next_time timestamptz,
    due_at timestamptz,
    -- The firing that waits for the campaign to be published.
    waiting_for timestamptz,
    waiting_triggered boolean,
    refusals integer NOT NULL DEFAULT 0 CHECK (refusals >= 0),
    -- A server that looks at it keeps others away until then.
    lease_until timestamptz,
    version bigint NOT NULL DEFAULT 1,
    -- The creator, for whom reruns are started.
    created_by uuid NOT NULL,
    created_by_name text,
    role_code text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    CHECK ((cron IS NULL) <> (at IS NULL)),
    CHECK ((waiting_for IS NULL) = (waiting_triggered IS NULL)),
    CHECK (due_at IS NULL OR (status = 'active' AND next_time IS NOT NULL)),
    FOREIGN KEY (account_id, customer_group_id) REFERENCES customer_groups (account_id, id)
);

CREATE INDEX schedules_by_creation ON schedules (account_id, created_at, id);
CREATE INDEX schedules_due ON schedules (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX schedules_waiting ON schedules (waiting_for) WHERE waiting_for IS NOT NULL;
CREATE INDEX schedules_by_group ON schedules (account_id, customer_group_id)
    WHERE customer_group_id IS NOT NULL;

-- What became of each time. The key is what makes every time fire once, however many servers run.
CREATE TABLE schedule_firings (
    account_id uuid NOT NULL,
    schedule_id uuid NOT NULL,
    -- The time before its delay.
    scheduled_for timestamptz NOT NULL,
    -- Whether a person triggered it.
    triggered boolean NOT NULL,
    fired_at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN
        ('started', 'skipped_unchanged', 'skipped_overlap', 'waiting', 'missed', 'refused')),
    run_number integer,
    reason text,
    PRIMARY KEY (account_id, schedule_id, scheduled_for, triggered),
    CHECK ((outcome = 'started') = (run_number IS NOT NULL)),
    FOREIGN KEY (account_id, schedule_id) REFERENCES schedules (account_id, id) ON DELETE CASCADE
);

-- Lists of one outcome.
CREATE INDEX schedule_firings_by_outcome
    ON schedule_firings (account_id, schedule_id, outcome, scheduled_for, triggered);

-- The schedule that started a run.
ALTER TABLE runs ADD COLUMN schedule_id uuid;
