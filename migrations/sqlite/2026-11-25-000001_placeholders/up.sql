-- The first placeholder that is left in a content, so that approving and reusing messages reads no
-- texts: from `{{` to the next `}}`, of the subject or else of the body, at most 100 characters.
-- rerun-core finds it when content is written; this does the same for content that is there.
ALTER TABLE contents ADD COLUMN placeholder TEXT;

DROP TRIGGER contents_never_change;
UPDATE contents SET placeholder = substr(subject, instr(subject, '{{'),
    min(100, instr(substr(subject, instr(subject, '{{') + 2), '}}') + 3))
WHERE subject LIKE '%{{%}}%';
UPDATE contents SET placeholder = substr(body, instr(body, '{{'),
    min(100, instr(substr(body, instr(body, '{{') + 2), '}}') + 3))
WHERE placeholder IS NULL AND body LIKE '%{{%}}%';
CREATE TRIGGER contents_never_change BEFORE UPDATE ON contents
BEGIN
    SELECT RAISE(ABORT, 'contents never change');
END;

CREATE INDEX contents_unfilled ON contents (account_id, id) WHERE placeholder IS NOT NULL;
