-- Statistics can be far from what a table holds: it was analysed while it was nearly empty, and then
-- a run of 100,000 messages came. The planner expects one row for an account then, and every index
-- that starts with the account costs the same to it. With a wrong index, each look-up of one row
-- reads all rows of the account.

-- A statement can use a partial index only if it implies the index's predicate. None of these
-- predicates leaves out a row that the index is for. But a look-up by the primary key does not
-- imply them, so that the primary key is the only index that it can use.
ALTER TABLE segments DROP CONSTRAINT segments_account_id_key_campaign_id_key;
CREATE UNIQUE INDEX segments_by_key ON segments (account_id, key, campaign_id)
    WHERE key IS NOT NULL;

DROP INDEX messages_one_per_segment;
CREATE UNIQUE INDEX messages_one_per_segment
    ON messages (account_id, campaign_id, run_number DESC, segment_no)
    WHERE campaign_id IS NOT NULL;

DROP INDEX runs_by_job;
CREATE UNIQUE INDEX runs_by_job ON runs (account_id, job_uid) WHERE job_uid IS NOT NULL;

DROP INDEX contents_by_campaign;
CREATE INDEX contents_by_campaign ON contents (account_id, campaign_id)
    WHERE campaign_id IS NOT NULL;

DROP INDEX generation_tasks_by_account;
DROP INDEX generation_tasks_by_setting;
DROP INDEX generation_tasks_by_run;
CREATE INDEX generation_tasks_by_account ON generation_tasks (account_id, due_at, message_id)
    WHERE due_at IS NOT NULL;
CREATE INDEX generation_tasks_by_setting ON generation_tasks (account_id, (coalesce(set_at, due_at)))
    WHERE coalesce(set_at, due_at) IS NOT NULL;
CREATE INDEX generation_tasks_by_run ON generation_tasks (account_id, campaign_id, run_number)
    WHERE campaign_id IS NOT NULL;

DROP INDEX audit_entries_by_campaign;
DROP INDEX audit_entries_by_action;
DROP INDEX audit_entries_by_campaign_and_action;
CREATE INDEX audit_entries_by_campaign ON audit_entries (account_id, campaign_id, seq)
    WHERE campaign_id IS NOT NULL;
CREATE INDEX audit_entries_by_action ON audit_entries (account_id, action, seq)
    WHERE action IS NOT NULL;
CREATE INDEX audit_entries_by_campaign_and_action
    ON audit_entries (account_id, campaign_id, action, seq) WHERE campaign_id IS NOT NULL;

DROP INDEX webhook_deliveries_by_state;
CREATE INDEX webhook_deliveries_by_state
    ON webhook_deliveries (account_id, webhook_id, state, seq) WHERE state IS NOT NULL;

-- A trigger looks rows up in a subquery that returns one value: it runs for each row, with an index.
-- The planner turns EXISTS into a join instead, and keeps the plan of a static statement: made for a
-- few rows, that join reads the whole table for each of 100,000.
CREATE OR REPLACE FUNCTION refer_to() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE orphans boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (
        SELECT FROM (SELECT DISTINCT account_id, %I AS parent FROM added) a
        WHERE (SELECT true FROM %I p WHERE p.account_id = a.account_id AND p.id = a.parent
            LIMIT 1) IS NULL)',
        TG_ARGV[1], TG_ARGV[0]) INTO orphans;
    IF orphans THEN
        RAISE foreign_key_violation USING TABLE = TG_TABLE_NAME,
            MESSAGE = format('rows of %s violate the reference to %s of their account',
                TG_TABLE_NAME, TG_ARGV[0]);
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION messages_refer() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT account_id, campaign_id, run_number FROM added) a
        WHERE (SELECT true FROM runs r WHERE r.account_id = a.account_id
            AND r.campaign_id = a.campaign_id AND r.number = a.run_number LIMIT 1) IS NULL)
    OR EXISTS (
        SELECT FROM added a WHERE a.reused_from_message_id IS NOT NULL
        -- Only the key leads to the message; the rest is compared.
        AND (SELECT m.campaign_id = a.campaign_id AND m.run_number = a.reused_from_run_number
                AND m.segment_no = a.segment_no AND m.content_id = a.content_id AND m.id <> a.id
            FROM messages m WHERE m.account_id = a.account_id
            AND m.id = a.reused_from_message_id LIMIT 1) IS NOT TRUE)
    OR EXISTS (
        SELECT FROM added a WHERE a.reused_from_message_id IS NULL
        AND (SELECT true FROM segments s WHERE s.account_id = a.account_id
            AND s.campaign_id = a.campaign_id AND s.no = a.segment_no LIMIT 1) IS NULL)
    OR EXISTS (
        SELECT FROM added a WHERE a.reused_from_message_id IS NULL AND a.content_id IS NOT NULL
        AND (SELECT true FROM contents t WHERE t.account_id = a.account_id
            AND t.id = a.content_id LIMIT 1) IS NULL)
    THEN
        RAISE foreign_key_violation USING TABLE = 'messages',
            MESSAGE = 'a message refers to a row that its account does not have';
    END IF;
    RETURN NULL;
END $$;

-- Without settings of its own, which take a third of the time of an update. The server's connections
-- have the same settings.
CREATE OR REPLACE FUNCTION messages_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.account_id, OLD.id, OLD.campaign_id, OLD.run_number, OLD.segment_no)
        IS DISTINCT FROM (NEW.account_id, NEW.id, NEW.campaign_id, NEW.run_number, NEW.segment_no)
        OR NEW.source = 'reused'
    THEN
        RAISE foreign_key_violation USING TABLE = 'messages',
            MESSAGE = 'a message keeps its place, and what it reuses';
    END IF;
    IF NEW.reused_from_message_id IS NOT NULL THEN
        IF (SELECT m.campaign_id = NEW.campaign_id AND m.run_number = NEW.reused_from_run_number
                AND m.content_id = NEW.content_id AND m.id <> NEW.id
            FROM messages m WHERE m.account_id = NEW.account_id
            AND m.id = NEW.reused_from_message_id LIMIT 1) IS NOT TRUE
        THEN
            RAISE foreign_key_violation USING TABLE = 'messages',
                MESSAGE = 'a message refers to a message that its campaign does not have';
        END IF;
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

CREATE OR REPLACE FUNCTION campaigns_go() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM gone g
        WHERE (SELECT true FROM segments s WHERE s.account_id = g.account_id
            AND s.campaign_id = g.id LIMIT 1)
        AND (SELECT true FROM deleted_campaigns d WHERE d.account_id = g.account_id
            AND d.campaign_id = g.id LIMIT 1) IS NULL)
    THEN
        PERFORM go_before('segments', 'campaigns');
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION runs_go() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM gone g
        WHERE (SELECT true FROM messages m WHERE m.account_id = g.account_id
            AND m.campaign_id = g.campaign_id AND m.run_number = g.number LIMIT 1)
        AND (SELECT true FROM deleted_campaigns d WHERE d.account_id = g.account_id
            AND d.campaign_id = g.campaign_id LIMIT 1) IS NULL)
    THEN
        PERFORM go_before('messages', 'runs');
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION parts_go() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT account_id, campaign_id FROM gone) g
        WHERE (SELECT true FROM messages m WHERE m.account_id = g.account_id
            AND m.campaign_id = g.campaign_id LIMIT 1)
        OR g.campaign_id IS NULL
        AND (SELECT true FROM messages m WHERE m.account_id = g.account_id LIMIT 1))
    THEN
        PERFORM go_before('messages', TG_TABLE_NAME);
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION messages_go() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM gone g
        WHERE (SELECT true FROM generation_tasks t WHERE t.account_id = g.account_id
            AND t.message_id = g.id LIMIT 1))
    THEN
        PERFORM go_before('generation_tasks', 'messages');
    END IF;
    RETURN NULL;
END $$;
