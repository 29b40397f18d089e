ALTER TABLE segments ADD UNIQUE (account_id, key, campaign_id);
DROP INDEX segments_by_key;

DROP INDEX messages_one_per_segment;
CREATE UNIQUE INDEX messages_one_per_segment
    ON messages (account_id, campaign_id, run_number DESC, segment_no);

DROP INDEX runs_by_job;
CREATE UNIQUE INDEX runs_by_job ON runs (account_id, job_uid);

DROP INDEX contents_by_campaign;
CREATE INDEX contents_by_campaign ON contents (account_id, campaign_id);

DROP INDEX generation_tasks_by_account;
DROP INDEX generation_tasks_by_setting;
DROP INDEX generation_tasks_by_run;
CREATE INDEX generation_tasks_by_account ON generation_tasks (account_id, due_at, message_id);
CREATE INDEX generation_tasks_by_setting
    ON generation_tasks (account_id, (coalesce(set_at, due_at)));
CREATE INDEX generation_tasks_by_run ON generation_tasks (account_id, campaign_id, run_number);

DROP INDEX audit_entries_by_campaign;
DROP INDEX audit_entries_by_action;
DROP INDEX audit_entries_by_campaign_and_action;
CREATE INDEX audit_entries_by_campaign ON audit_entries (account_id, campaign_id, seq);
CREATE INDEX audit_entries_by_action ON audit_entries (account_id, action, seq);
CREATE INDEX audit_entries_by_campaign_and_action
    ON audit_entries (account_id, campaign_id, action, seq);

DROP INDEX webhook_deliveries_by_state;
CREATE INDEX webhook_deliveries_by_state
    ON webhook_deliveries (account_id, webhook_id, state, seq);

CREATE OR REPLACE FUNCTION refer_to() RETURNS trigger LANGUAGE plpgsql
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

CREATE OR REPLACE FUNCTION messages_refer() RETURNS trigger LANGUAGE plpgsql
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
        PERFORM FROM messages m WHERE m.account_id = NEW.account_id
            AND m.id = NEW.reused_from_message_id AND m.campaign_id = NEW.campaign_id
            AND m.run_number = NEW.reused_from_run_number AND m.content_id = NEW.content_id
            AND m.id <> NEW.id;
        IF NOT FOUND THEN
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

CREATE OR REPLACE FUNCTION campaigns_go() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM gone g WHERE EXISTS (
            SELECT FROM segments s WHERE s.account_id = g.account_id AND s.campaign_id = g.id)
        AND NOT EXISTS (SELECT FROM deleted_campaigns d
            WHERE d.account_id = g.account_id AND d.campaign_id = g.id))
    THEN
        PERFORM go_before('segments', 'campaigns');
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION runs_go() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM gone g WHERE EXISTS (
            SELECT FROM messages m WHERE m.account_id = g.account_id
                AND m.campaign_id = g.campaign_id AND m.run_number = g.number)
        AND NOT EXISTS (SELECT FROM deleted_campaigns d
            WHERE d.account_id = g.account_id AND d.campaign_id = g.campaign_id))
    THEN
        PERFORM go_before('messages', 'runs');
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION parts_go() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT account_id, campaign_id FROM gone) g WHERE EXISTS (
            SELECT FROM messages m WHERE m.account_id = g.account_id
                AND (g.campaign_id IS NULL OR m.campaign_id = g.campaign_id)))
    THEN
        PERFORM go_before('messages', TG_TABLE_NAME);
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION messages_go() RETURNS trigger LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM gone g JOIN generation_tasks t
        ON t.account_id = g.account_id AND t.message_id = g.id)
    THEN
        PERFORM go_before('generation_tasks', 'messages');
    END IF;
    RETURN NULL;
END $$;
