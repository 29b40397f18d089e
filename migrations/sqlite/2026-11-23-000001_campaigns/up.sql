-- Every primary key and every foreign key leads with account_id, so that no row can reference
-- another account's. Ids are UUIDs of 16 bytes, times are milliseconds since 1970.
--
-- Tables of narrow rows are kept in the order of their primary key (WITHOUT ROWID), which saves
-- a second tree; those whose rows hold long texts are not.

CREATE TABLE customer_groups (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    name TEXT NOT NULL,
    customer_count INTEGER NOT NULL DEFAULT 0 CHECK (customer_count >= 0),
    -- Grows with every import that changes the customers.
    version INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX customer_groups_by_creation ON customer_groups (account_id, created_at, id);

CREATE TABLE customers (
    account_id BLOB NOT NULL,
    group_id BLOB NOT NULL,
    customer_ref TEXT NOT NULL,
    -- Normalised values by field name, as a JSON object; fields without a value are not there.
    profile TEXT NOT NULL,
    PRIMARY KEY (account_id, group_id, customer_ref),
    FOREIGN KEY (account_id, group_id) REFERENCES customer_groups (account_id, id)
) STRICT, WITHOUT ROWID;

-- The segments of a group by a set of fields, counted once for each version of the group: kept
-- counts, which can be dropped and made anew at any time.
CREATE TABLE segmentations (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL DEFAULT (randomblob(16)),
    group_id BLOB NOT NULL,
    -- The field names, sorted, as a JSON array.
    fields TEXT NOT NULL,
    group_version INTEGER NOT NULL,
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, group_id, fields),
    FOREIGN KEY (account_id, group_id) REFERENCES customer_groups (account_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_segments (
    account_id BLOB NOT NULL,
    segmentation_id BLOB NOT NULL,
    key BLOB NOT NULL CHECK (length(key) = 32),
    attributes TEXT NOT NULL,
    customer_count INTEGER NOT NULL CHECK (customer_count > 0),
    PRIMARY KEY (account_id, segmentation_id, key),
    FOREIGN KEY (account_id, segmentation_id) REFERENCES segmentations (account_id, id)
        ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE campaigns (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    name TEXT NOT NULL,
    customer_group_id BLOB NOT NULL,
    -- JSON arrays, in the order that they were given in.
    segment_by TEXT NOT NULL,
    approval_stages TEXT NOT NULL,
    template_subject TEXT NOT NULL,
    template_body TEXT NOT NULL,
    brief TEXT,
    status TEXT NOT NULL CHECK (status IN (
        'Draft', 'Processing', 'Generation failed', 'Ready for review', 'Ready to publish',
        'Published')),
    current_run_number INTEGER,
    last_run_number INTEGER,
    -- The highest number of a row of segments.
    last_segment_no INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL,
    created_by BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, customer_group_id) REFERENCES customer_groups (account_id, id),
    FOREIGN KEY (account_id, id, current_run_number)
        REFERENCES runs (account_id, campaign_id, number) DEFERRABLE INITIALLY DEFERRED,
    CHECK ((status = 'Draft') = (current_run_number IS NULL)),
    CHECK (current_run_number <= last_run_number)
) STRICT;

CREATE INDEX campaigns_by_creation ON campaigns (account_id, created_at, id);
CREATE INDEX campaigns_by_status ON campaigns (account_id, status, created_at, id);

CREATE TABLE runs (
    account_id BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    number INTEGER NOT NULL CHECK (number BETWEEN 1 AND 2147483647),
    job_uid BLOB,
    status TEXT NOT NULL CHECK (status IN (
        'Queued', 'Processing', 'Completed', 'Failed', 'Cancelled')),
    synthesised INTEGER NOT NULL DEFAULT 0 CHECK (synthesised IN (0, 1)),
    group_id BLOB NOT NULL,
    -- As it was when the run was initiated.
    group_name TEXT NOT NULL,
    customer_count INTEGER NOT NULL CHECK (customer_count >= 0),
    segments_total INTEGER NOT NULL,
    segments_matched INTEGER NOT NULL CHECK (segments_matched >= 0),
    segments_new INTEGER NOT NULL CHECK (segments_new >= 0),
    -- Messages by source, then by review status; changed with the messages that they count.
    reused INTEGER NOT NULL CHECK (reused >= 0),
    generated INTEGER NOT NULL CHECK (generated >= 0),
    edited INTEGER NOT NULL CHECK (edited >= 0),
    generating INTEGER NOT NULL CHECK (generating >= 0),
    failed INTEGER NOT NULL CHECK (failed >= 0),
    pending INTEGER NOT NULL CHECK (pending >= 0),
    approved INTEGER NOT NULL CHECK (approved >= 0),
    rejected INTEGER NOT NULL CHECK (rejected >= 0),
    published INTEGER NOT NULL CHECK (published >= 0),
    resulting_status TEXT NOT NULL CHECK (resulting_status IN (
        'Ready for review', 'Ready to publish')),
    initiated_by BLOB,
    initiated_ip TEXT,
    previous_run_number INTEGER,
    error TEXT,
    cancel_reason TEXT,
    started_at INTEGER NOT NULL,
    completed_at INTEGER,
    archived_at INTEGER,
    PRIMARY KEY (account_id, campaign_id, number),
    FOREIGN KEY (account_id, campaign_id) REFERENCES campaigns (account_id, id),
    FOREIGN KEY (account_id, group_id) REFERENCES customer_groups (account_id, id),
    FOREIGN KEY (account_id, campaign_id, previous_run_number)
        REFERENCES runs (account_id, campaign_id, number),
    CHECK (segments_total = segments_matched + segments_new),
    CHECK (segments_total = reused + generated + edited),
    CHECK (segments_total = generating + failed + pending + approved + rejected + published),
    CHECK ((completed_at IS NOT NULL) = (status IN ('Completed', 'Failed', 'Cancelled'))),
    CHECK (completed_at >= started_at),
    CHECK (archived_at IS NOT NULL OR status <> 'Cancelled'),
    CHECK ((job_uid IS NULL) = synthesised),
    CHECK (previous_run_number < number)
) STRICT, WITHOUT ROWID;

-- At most one run of a campaign is current: the one that is not archived.
CREATE UNIQUE INDEX runs_one_current ON runs (account_id, campaign_id)
    WHERE archived_at IS NULL;
CREATE UNIQUE INDEX runs_by_job ON runs (account_id, job_uid);

-- What a segment is, shared by the runs of a campaign.
CREATE TABLE segments (
    account_id BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    no INTEGER NOT NULL CHECK (no BETWEEN 1 AND 2147483647),
    key BLOB NOT NULL CHECK (length(key) = 32),
    attributes TEXT NOT NULL,
    PRIMARY KEY (account_id, campaign_id, no),
    UNIQUE (account_id, campaign_id, key),
    FOREIGN KEY (account_id, campaign_id) REFERENCES campaigns (account_id, id)
) STRICT, WITHOUT ROWID;

-- What a message says. Rows never change; messages point at them.
CREATE TABLE contents (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    -- The run in which it was made.
    run_number INTEGER NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    -- The person who wrote it; null when a generator did.
    created_by BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) STRICT;

CREATE TRIGGER contents_never_change BEFORE UPDATE ON contents
BEGIN
    SELECT RAISE(ABORT, 'contents never change');
END;

CREATE TABLE messages (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    campaign_id BLOB NOT NULL,
    run_number INTEGER NOT NULL,
    segment_no INTEGER NOT NULL,
    customer_count INTEGER NOT NULL CHECK (customer_count >= 0),
    content_id BLOB,
    review_status TEXT NOT NULL CHECK (review_status IN (
        'Generating', 'Generation failed', 'Pending review', 'Approved', 'Rejected',
        'Published')),
    approval_stage INTEGER CHECK (approval_stage BETWEEN 0 AND 255),
    source TEXT NOT NULL CHECK (source IN ('generated', 'reused', 'edited')),
    reused_from_message_id BLOB,
    reused_from_run_number INTEGER,
    -- The approvals of the content: a JSON array, oldest first.
    approvals TEXT NOT NULL DEFAULT '[]',
    -- The person who wrote the content, when one did.
    edited_by BLOB,
    rejection_reason TEXT,
    error TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, campaign_id, run_number)
        REFERENCES runs (account_id, campaign_id, number),
    FOREIGN KEY (account_id, campaign_id, segment_no)
        REFERENCES segments (account_id, campaign_id, no),
    FOREIGN KEY (account_id, content_id) REFERENCES contents (account_id, id),
    FOREIGN KEY (account_id, reused_from_message_id) REFERENCES messages (account_id, id),
    CHECK ((review_status = 'Pending review') = (approval_stage IS NOT NULL)),
    CHECK (content_id IS NOT NULL OR review_status IN ('Generating', 'Generation failed')),
    CHECK ((reused_from_message_id IS NULL) = (reused_from_run_number IS NULL)),
    CHECK ((source = 'reused') = (reused_from_message_id IS NOT NULL)),
    CHECK (error IS NULL OR review_status = 'Generation failed'),
    CHECK (rejection_reason IS NULL OR review_status = 'Rejected')
) STRICT, WITHOUT ROWID;

-- In one run no two messages have the same segment. Newest run first, as lists read it.
CREATE UNIQUE INDEX messages_one_per_segment
    ON messages (account_id, campaign_id, run_number DESC, segment_no);

-- Messages that are to be generated. A row that a lease holds is due again when the lease ends.
CREATE TABLE generation_tasks (
    account_id BLOB NOT NULL,
    message_id BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    run_number INTEGER NOT NULL,
    failed_attempts INTEGER NOT NULL DEFAULT 0 CHECK (failed_attempts >= 0),
    due_at INTEGER NOT NULL,
    lease_id BLOB,
    PRIMARY KEY (account_id, message_id),
    FOREIGN KEY (account_id, message_id) REFERENCES messages (account_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX generation_tasks_by_time ON generation_tasks (due_at, message_id);
CREATE INDEX generation_tasks_by_lease ON generation_tasks (lease_id) WHERE lease_id IS NOT NULL;
CREATE INDEX generation_tasks_by_run ON generation_tasks (account_id, campaign_id, run_number);

CREATE TABLE idempotency_keys (
    account_id BLOB NOT NULL,
    endpoint TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    response TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, endpoint, key)
) STRICT;

CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);

-- The audit log: entries are numbered without gaps for each account, and each has the hash of
-- itself and of the hash before it.
CREATE TABLE audit_entries (
    account_id BLOB NOT NULL,
    seq INTEGER NOT NULL CHECK (seq >= 1),
    id BLOB NOT NULL CHECK (length(id) = 16),
    action TEXT NOT NULL,
    campaign_id BLOB,
    run_number INTEGER,
    user_id BLOB,
    role_code TEXT,
    ip TEXT,
    request_id TEXT,
    details TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (account_id, seq),
    FOREIGN KEY (account_id, campaign_id) REFERENCES campaigns (account_id, id)
) STRICT;

CREATE INDEX audit_entries_by_campaign ON audit_entries (account_id, campaign_id, seq);
CREATE INDEX audit_entries_by_action ON audit_entries (account_id, action, seq);
CREATE INDEX audit_entries_by_campaign_and_action
    ON audit_entries (account_id, campaign_id, action, seq);

CREATE TABLE audit_heads (
    account_id BLOB NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT, WITHOUT ROWID;
