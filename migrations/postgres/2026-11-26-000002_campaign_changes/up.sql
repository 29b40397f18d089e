-- Campaigns can be deleted. Its row and those of its runs go at once, and what they had goes bit by
-- bit: the campaign is listed here until nothing of it is left.
CREATE TABLE deleted_campaigns (
    account_id uuid NOT NULL,
    campaign_id uuid NOT NULL,
    -- The highest run that may have messages left.
    run_number integer NOT NULL CHECK (run_number >= 0),
    deleted_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, campaign_id)
);

-- What is recorded of a campaign outlives it.
ALTER TABLE audit_entries DROP CONSTRAINT audit_entries_account_id_campaign_id_fkey;

-- A message names its content, but nothing named the content that an edit or a regeneration had
-- replaced.
ALTER TABLE contents ADD COLUMN campaign_id uuid;

DROP TRIGGER go_last ON campaigns;
DROP TRIGGER go_last ON runs;
DROP TRIGGER go_last ON segments;
DROP TRIGGER go_last ON contents;
DROP TRIGGER go_last ON messages;

DROP TRIGGER contents_never_change ON contents;
UPDATE contents t SET campaign_id = m.campaign_id
FROM messages m WHERE m.account_id = t.account_id AND m.content_id = t.id;
-- The audit log names what people wrote.
UPDATE contents t SET campaign_id = e.campaign_id
FROM (SELECT account_id, campaign_id, (details::jsonb ->> 'content_id')::uuid AS content_id
      FROM audit_entries WHERE action = 'message.edited') e
WHERE t.campaign_id IS NULL AND e.account_id = t.account_id AND e.content_id = t.id;
-- Of generated content that was replaced nobody knows whose it was, and nobody can read it.
DELETE FROM contents WHERE campaign_id IS NULL;
CREATE TRIGGER contents_never_change BEFORE UPDATE ON contents
    FOR EACH ROW EXECUTE FUNCTION contents_never_change();

CREATE INDEX contents_by_campaign ON contents (account_id, campaign_id);

-- Rows go before what they refer to, unless their campaign was deleted: then nobody can reach them.
CREATE FUNCTION go_before(referring text, referred text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE foreign_key_violation USING TABLE = referred,
        MESSAGE = format('rows of %s go before those of %s', referring, referred);
END $$;

CREATE FUNCTION campaigns_go() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER go_last AFTER DELETE ON campaigns REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION campaigns_go();

CREATE FUNCTION runs_go() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER go_last AFTER DELETE ON runs REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION runs_go();

-- Segments and contents go with their campaign, whose messages are gone by then.
CREATE FUNCTION parts_go() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT account_id, campaign_id FROM gone) g WHERE EXISTS (
            SELECT FROM messages m WHERE m.account_id = g.account_id
                AND (g.campaign_id IS NULL OR m.campaign_id = g.campaign_id)))
    THEN
        PERFORM go_before('messages', TG_TABLE_NAME);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER go_last AFTER DELETE ON segments REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION parts_go();
CREATE TRIGGER go_last AFTER DELETE ON contents REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION parts_go();

CREATE FUNCTION messages_go() RETURNS trigger LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM gone g JOIN generation_tasks t
        ON t.account_id = g.account_id AND t.message_id = g.id)
    THEN
        PERFORM go_before('generation_tasks', 'messages');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER go_last AFTER DELETE ON messages REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION messages_go();
