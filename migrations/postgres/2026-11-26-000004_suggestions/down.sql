-- What was taken from an approved message is what a person wrote, to a release without suggestions.
UPDATE messages SET source = 'edited', reused_from_message_id = NULL, reused_from_run_number = NULL
WHERE source = 'suggested';
UPDATE runs SET edited = edited + suggested, suggested = 0 WHERE suggested > 0;

ALTER TABLE runs DROP CONSTRAINT runs_sources;
ALTER TABLE runs ADD CHECK (segments_total = reused + generated + edited);
ALTER TABLE messages DROP CONSTRAINT messages_source_of_reuse;
ALTER TABLE messages ADD CHECK ((source = 'reused') = (reused_from_message_id IS NOT NULL));
ALTER TABLE messages DROP CONSTRAINT messages_source;
ALTER TABLE messages ADD CHECK (source IN ('generated', 'reused', 'edited'));

CREATE OR REPLACE FUNCTION messages_change() RETURNS trigger LANGUAGE plpgsql AS $$
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

ALTER TABLE runs DROP COLUMN suggested;
ALTER TABLE messages DROP COLUMN suggestion;
