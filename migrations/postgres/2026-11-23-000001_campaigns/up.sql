-- Every primary key and every foreign key leads with account_id, so that no row can reference
-- another account's. A database that distributes tables by account needs such keys, too.

-- A foreign key checks and locks row by row, which took four fifths of a rerun's insert. Where
-- rows come by the thousand, triggers check those of a statement together instead, as strictly:
-- rows refer to rows of their account, keep their place, and go before what they refer to.

-- Arguments: the table that is referred to by account_id and id, and the column that holds the id.
-- The look-ups are by primary key: SET keeps the planner from reading tables instead.
CREATE FUNCTION refer_to() RETURNS trigger LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE orphans boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (
        SELECT FROM (SELECT DISTINCT account_id, %I AS parent FROM added) a
        WHERE NOT EXISTS (SELECT FROM %I p WHERE p.account_id = a.account_id AND p.id = a.parent))',
        TG_ARGV[1], TG_ARGV[0]) INTO orphans;
    IF orphans THEN
        RAISE foreign_key_violation USING TABLE = TG_TABLE_NAME,
            MESSAGE = format('rows of %s violate the reference to %s of their account',
                TG_TABLE_NAME, TG_ARGV[0]);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION keep_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE foreign_key_violation USING TABLE = TG_TABLE_NAME,
        MESSAGE = format('rows of %s keep their place', TG_TABLE_NAME);
END $$;

-- Arguments: the tables that refer to this one.
CREATE FUNCTION go_last() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    referring text;
    remain boolean;
BEGIN
    FOREACH referring IN ARRAY TG_ARGV LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM (SELECT DISTINCT account_id FROM gone) g
            WHERE EXISTS (SELECT FROM %I r WHERE r.account_id = g.account_id))', referring)
            INTO remain;
        IF remain THEN
            RAISE foreign_key_violation USING TABLE = TG_TABLE_NAME,
                MESSAGE = format('rows of %s go before those of %s', referring, TG_TABLE_NAME);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

CREATE TABLE customer_groups (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    customer_count bigint NOT NULL DEFAULT 0 CHECK (customer_count >= 0),
    -- Grows with every import that changes the customers.
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, id)
);

CREATE INDEX customer_groups_by_creation ON customer_groups (account_id, created_at, id);

CREATE TABLE customers (
    account_id uuid NOT NULL,
    group_id uuid NOT NULL,
    customer_ref text COLLATE "C" NOT NULL,
    -- Normalised values by field name; fields without a value are not there.
    profile jsonb NOT NULL,
    PRIMARY KEY (account_id, group_id, customer_ref)
);

CREATE TRIGGER refer_to_customer_groups AFTER INSERT ON customers REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION refer_to(customer_groups, group_id);
CREATE TRIGGER keep_place BEFORE UPDATE OF account_id, group_id ON customers
    FOR EACH ROW EXECUTE FUNCTION keep_place();
CREATE TRIGGER go_last AFTER DELETE ON customer_groups REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION go_last(customers);

-- The segments of a group by a set of fields, counted once for each version of the group: kept
-- counts, which can be dropped and made anew at any time.
CREATE TABLE segmentations (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    group_id uuid NOT NULL,
    -- The field names, sorted, as a JSON array.
    fields text COLLATE "C" NOT NULL,
    group_version bigint NOT NULL,
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, group_id, fields),
    FOREIGN KEY (account_id, group_id) REFERENCES customer_groups (account_id, id)
);

CREATE TABLE group_segments (
    account_id uuid NOT NULL,
    segmentation_id uuid NOT NULL,
    key bytea NOT NULL CHECK (octet_length(key) = 32),
    attributes text NOT NULL,
    customer_count bigint NOT NULL CHECK (customer_count > 0),
    PRIMARY KEY (account_id, segmentation_id, key)
);

CREATE TRIGGER refer_to_segmentations AFTER INSERT ON group_segments REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION refer_to(segmentations, segmentation_id);
CREATE TRIGGER keep_place BEFORE UPDATE OF account_id, segmentation_id ON group_segments
    FOR EACH ROW EXECUTE FUNCTION keep_place();

CREATE FUNCTION drop_kept_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM group_segments
    WHERE account_id = OLD.account_id AND segmentation_id = OLD.id;
    RETURN NULL;
END $$;

CREATE TRIGGER drop_kept_counts AFTER DELETE ON segmentations
    FOR EACH ROW EXECUTE FUNCTION drop_kept_counts();

CREATE TABLE campaigns (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    customer_group_id uuid NOT NULL,
    -- JSON arrays, in the order that they were given in.
    segment_by text NOT NULL,
    approval_stages text NOT NULL,
    template_subject text NOT NULL,
    template_body text NOT NULL,
    brief text,
    status text NOT NULL CHECK (status IN (
        'Draft', 'Processing', 'Generation failed', 'Ready for review', 'Ready to publish',
        'Published')),
    current_run_number integer,
    last_run_number integer,
    -- The highest number of a row of segments.
    last_segment_no integer NOT NULL DEFAULT 0,
    version bigint NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, customer_group_id) REFERENCES customer_groups (account_id, id),
    CHECK ((status = 'Draft') = (current_run_number IS NULL)),
    CHECK (current_run_number <= last_run_number)
);

CREATE INDEX campaigns_by_creation ON campaigns (account_id, created_at, id);
CREATE INDEX campaigns_by_status ON campaigns (account_id, status, created_at, id);

CREATE TABLE runs (
    account_id uuid NOT NULL,
    campaign_id uuid NOT NULL,
    number integer NOT NULL CHECK (number >= 1),
    job_uid uuid,
    status text NOT NULL CHECK (status IN (
        'Queued', 'Processing', 'Completed', 'Failed', 'Cancelled')),
    synthesised boolean NOT NULL DEFAULT false,
    group_id uuid NOT NULL,
    -- As it was when the run was initiated.
    group_name text NOT NULL,
    customer_count bigint NOT NULL CHECK (customer_count >= 0),
    segments_total integer NOT NULL,
    segments_matched integer NOT NULL CHECK (segments_matched >= 0),
    segments_new integer NOT NULL CHECK (segments_new >= 0),
    -- Messages by source, then by review status; changed with the messages that they count.
    reused integer NOT NULL CHECK (reused >= 0),
    generated integer NOT NULL CHECK (generated >= 0),
    edited integer NOT NULL CHECK (edited >= 0),
    generating integer NOT NULL CHECK (generating >= 0),
    failed integer NOT NULL CHECK (failed >= 0),
    pending integer NOT NULL CHECK (pending >= 0),
    approved integer NOT NULL CHECK (approved >= 0),
    rejected integer NOT NULL CHECK (rejected >= 0),
    published integer NOT NULL CHECK (published >= 0),
    resulting_status text NOT NULL CHECK (resulting_status IN (
        'Ready for review', 'Ready to publish')),
    initiated_by uuid,
    initiated_ip text,
    previous_run_number integer,
    error text,
    cancel_reason text,
    started_at timestamptz NOT NULL,
    completed_at timestamptz,
    archived_at timestamptz,
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
);

-- At most one run of a campaign is current: the one that is not archived.
CREATE UNIQUE INDEX runs_one_current ON runs (account_id, campaign_id)
    WHERE archived_at IS NULL;
CREATE UNIQUE INDEX runs_by_job ON runs (account_id, job_uid);

ALTER TABLE campaigns ADD CONSTRAINT campaigns_current_run
    FOREIGN KEY (account_id, id, current_run_number)
    REFERENCES runs (account_id, campaign_id, number) DEFERRABLE INITIALLY DEFERRED;

-- What a segment is, shared by the runs of a campaign.
CREATE TABLE segments (
    account_id uuid NOT NULL,
    campaign_id uuid NOT NULL,
    no integer NOT NULL CHECK (no >= 1),
    key bytea NOT NULL CHECK (octet_length(key) = 32),
    attributes text NOT NULL,
    PRIMARY KEY (account_id, campaign_id, no),
    -- In this order, so that before there are statistics the planner cannot take it for as good a
    -- way to a segment's number as the primary key is.
    UNIQUE (account_id, key, campaign_id)
);

CREATE TRIGGER refer_to_campaigns AFTER INSERT ON segments REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION refer_to(campaigns, campaign_id);
CREATE TRIGGER keep_place BEFORE UPDATE OF account_id, campaign_id ON segments
    FOR EACH ROW EXECUTE FUNCTION keep_place();
CREATE TRIGGER go_last AFTER DELETE ON campaigns REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION go_last(segments);

-- What a message says. Rows never change; messages point at them.
CREATE TABLE contents (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    -- The run in which it was made.
    run_number integer NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    -- The person who wrote it; null when a generator did.
    created_by uuid,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, id)
);

CREATE FUNCTION contents_never_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'contents never change';
END $$;

CREATE TRIGGER contents_never_change BEFORE UPDATE ON contents
    FOR EACH ROW EXECUTE FUNCTION contents_never_change();

CREATE TABLE messages (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    campaign_id uuid NOT NULL,
    run_number integer NOT NULL,
    segment_no integer NOT NULL,
    customer_count bigint NOT NULL CHECK (customer_count >= 0),
    content_id uuid,
    review_status text NOT NULL CHECK (review_status IN (
        'Generating', 'Generation failed', 'Pending review', 'Approved', 'Rejected',
        'Published')),
    approval_stage smallint CHECK (approval_stage >= 0),
    source text NOT NULL CHECK (source IN ('generated', 'reused', 'edited')),
    reused_from_message_id uuid,
    reused_from_run_number integer,
    -- The approvals of the content: a JSON array, oldest first.
    approvals text NOT NULL DEFAULT '[]',
    -- The person who wrote the content, when one did.
    edited_by uuid,
    rejection_reason text,
    error text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- What it refers to is checked by triggers, see below.
    PRIMARY KEY (account_id, id),
    CHECK ((review_status = 'Pending review') = (approval_stage IS NOT NULL)),
    CHECK (content_id IS NOT NULL OR review_status IN ('Generating', 'Generation failed')),
    CHECK ((reused_from_message_id IS NULL) = (reused_from_run_number IS NULL)),
    CHECK ((source = 'reused') = (reused_from_message_id IS NOT NULL)),
    CHECK (error IS NULL OR review_status = 'Generation failed'),
    CHECK (rejection_reason IS NULL OR review_status = 'Rejected')
);

-- In one run no two messages have the same segment. Newest run first, as lists read it.
CREATE UNIQUE INDEX messages_one_per_segment
    ON messages (account_id, campaign_id, run_number DESC, segment_no);

-- A reused message has the segment and the content of the message that it reuses, so that this one
-- reference proves all of them.
CREATE FUNCTION messages_refer() RETURNS trigger LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT account_id, campaign_id, run_number FROM added) a
        WHERE NOT EXISTS (SELECT FROM runs r WHERE r.account_id = a.account_id
            AND r.campaign_id = a.campaign_id AND r.number = a.run_number))
    OR EXISTS (
        SELECT FROM added a WHERE a.reused_from_message_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM messages m WHERE m.account_id = a.account_id
            AND m.id = a.reused_from_message_id AND m.campaign_id = a.campaign_id
            AND m.run_number = a.reused_from_run_number AND m.segment_no = a.segment_no
            AND m.content_id = a.content_id AND m.id <> a.id))
    OR EXISTS (
        SELECT FROM added a WHERE a.reused_from_message_id IS NULL
        AND NOT EXISTS (SELECT FROM segments s WHERE s.account_id = a.account_id
            AND s.campaign_id = a.campaign_id AND s.no = a.segment_no))
    OR EXISTS (
        SELECT FROM added a WHERE a.reused_from_message_id IS NULL AND a.content_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM contents t WHERE t.account_id = a.account_id
            AND t.id = a.content_id))
    THEN
        RAISE foreign_key_violation USING TABLE = 'messages',
            MESSAGE = 'a message refers to a row that its account does not have';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER messages_refer AFTER INSERT ON messages REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION messages_refer();

-- What a message is never changes; what it says may, to content of its account, and then it reuses
-- nothing.
CREATE FUNCTION messages_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.account_id, OLD.id, OLD.campaign_id, OLD.run_number, OLD.segment_no)
        IS DISTINCT FROM (NEW.account_id, NEW.id, NEW.campaign_id, NEW.run_number, NEW.segment_no)
        OR NEW.reused_from_message_id IS NOT NULL
    THEN
        RAISE foreign_key_violation USING TABLE = 'messages',
            MESSAGE = 'a message keeps its place, and what it reuses';
    END IF;
    IF NEW.content_id IS NOT NULL THEN
        PERFORM FROM contents t WHERE t.account_id = NEW.account_id AND t.id = NEW.content_id;
        IF NOT FOUND THEN
            RAISE foreign_key_violation USING TABLE = 'messages',
                MESSAGE = 'a message refers to content that its account does not have';
        END IF;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER messages_change AFTER UPDATE ON messages FOR EACH ROW
    WHEN ((OLD.account_id, OLD.id, OLD.campaign_id, OLD.run_number, OLD.segment_no,
           OLD.content_id, OLD.reused_from_message_id, OLD.reused_from_run_number)
        IS DISTINCT FROM (NEW.account_id, NEW.id, NEW.campaign_id, NEW.run_number, NEW.segment_no,
           NEW.content_id, NEW.reused_from_message_id, NEW.reused_from_run_number))
    EXECUTE FUNCTION messages_change();

CREATE TRIGGER go_last AFTER DELETE ON runs REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION go_last(messages);
CREATE TRIGGER go_last AFTER DELETE ON segments REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION go_last(messages);
CREATE TRIGGER go_last AFTER DELETE ON contents REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION go_last(messages);

-- Messages that are to be generated. A row that a lease holds is due again when the lease ends.
CREATE TABLE generation_tasks (
    account_id uuid NOT NULL,
    message_id uuid NOT NULL,
    campaign_id uuid NOT NULL,
    run_number integer NOT NULL,
    failed_attempts integer NOT NULL DEFAULT 0 CHECK (failed_attempts >= 0),
    due_at timestamptz NOT NULL,
    lease_id uuid,
    PRIMARY KEY (account_id, message_id)
);

CREATE TRIGGER refer_to_messages AFTER INSERT ON generation_tasks REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION refer_to(messages, message_id);
CREATE TRIGGER keep_place BEFORE UPDATE OF account_id, message_id ON generation_tasks
    FOR EACH ROW EXECUTE FUNCTION keep_place();
CREATE TRIGGER go_last AFTER DELETE ON messages REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION go_last(generation_tasks);

CREATE INDEX generation_tasks_by_time ON generation_tasks (due_at, message_id);
CREATE INDEX generation_tasks_by_lease ON generation_tasks (lease_id) WHERE lease_id IS NOT NULL;
CREATE INDEX generation_tasks_by_run ON generation_tasks (account_id, campaign_id, run_number);

CREATE TABLE idempotency_keys (
    account_id uuid NOT NULL,
    endpoint text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    response text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, endpoint, key)
);

CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);

-- The audit log: entries are numbered without gaps for each account, and each has the hash of
-- itself and of the hash before it.
CREATE TABLE audit_entries (
    account_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 1),
    id uuid NOT NULL,
    action text COLLATE "C" NOT NULL,
    campaign_id uuid,
    run_number integer,
    user_id uuid,
    role_code text,
    ip text,
    request_id text,
    details text NOT NULL,
    created_at timestamptz NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (account_id, seq),
    FOREIGN KEY (account_id, campaign_id) REFERENCES campaigns (account_id, id)
);

CREATE INDEX audit_entries_by_campaign ON audit_entries (account_id, campaign_id, seq);
CREATE INDEX audit_entries_by_action ON audit_entries (account_id, action, seq);
CREATE INDEX audit_entries_by_campaign_and_action
    ON audit_entries (account_id, campaign_id, action, seq);

CREATE TABLE audit_heads (
    account_id uuid NOT NULL PRIMARY KEY,
    seq bigint NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32)
);

-- Statistics are of a moment, and tell the planner that an account which came after it has no rows:
-- every index that leads with the account then looks as good as the right one, and a big first run
-- is searched whole for each of its messages. Without statistics of the account, one that is new
-- and one that is known get the same plan. The same holds for a campaign in the audit log.
ALTER TABLE campaigns ALTER COLUMN account_id SET STATISTICS 0;
ALTER TABLE runs ALTER COLUMN account_id SET STATISTICS 0;
ALTER TABLE segments ALTER COLUMN account_id SET STATISTICS 0;
ALTER TABLE messages ALTER COLUMN account_id SET STATISTICS 0;
ALTER TABLE generation_tasks ALTER COLUMN account_id SET STATISTICS 0;
ALTER TABLE audit_entries ALTER COLUMN account_id SET STATISTICS 0,
    ALTER COLUMN campaign_id SET STATISTICS 0;
