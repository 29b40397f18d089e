-- The approved message that is nearest to a new segment, as a JSON object, and content that was
-- taken from such a message.
ALTER TABLE messages ADD COLUMN suggestion text;
ALTER TABLE runs ADD COLUMN suggested integer NOT NULL DEFAULT 0 CHECK (suggested >= 0);

-- The checks have names that the server chose.
DO $$
DECLARE
    old record;
BEGIN
    FOR old IN
        SELECT conrelid::regclass AS of, conname FROM pg_constraint
        WHERE contype = 'c' AND (
            conrelid = 'messages'::regclass AND pg_get_constraintdef(oid) LIKE '%source%'
            OR conrelid = 'runs'::regclass AND pg_get_constraintdef(oid) LIKE '%edited%'
                AND pg_get_constraintdef(oid) LIKE '%segments_total%')
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', old.of, old.conname);
    END LOOP;
END $$;
ALTER TABLE messages
    ADD CONSTRAINT messages_source
        CHECK (source IN ('generated', 'reused', 'edited', 'suggested')),
    ADD CONSTRAINT messages_source_of_reuse
        CHECK ((source IN ('reused', 'suggested')) = (reused_from_message_id IS NOT NULL));
ALTER TABLE runs ADD CONSTRAINT runs_sources
    CHECK (segments_total = reused + generated + edited + suggested);

-- A message may take the content of an approved one of its campaign.
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
